// What stands in a field while it is written: an answer about an edit before it changes what the file says, never what is being typed.

import { useEffect, useRef, useState } from 'react';

export interface Draft<T> {
  /** What the field shows. */
  now: T;
  /** Something was typed that was not handed on yet. */
  typing: boolean;
  /** What the file says, or will say as soon as what was handed on last is in it. */
  handed: T;
}

export function begun<T>(value: T): Draft<T> {
  return { now: value, typing: false, handed: value };
}

export function typed<T>(draft: Draft<T>, now: T): Draft<T> {
  return { ...draft, now, typing: true };
}

/** The file says something else now. */
export function told<T>(draft: Draft<T>, value: T): Draft<T> {
  if (draft.typing || (draft.now === value && draft.handed === value)) return draft;
  return begun(value);
}

/** The field is left, or Enter is pressed. */
export function handedOn<T>(draft: Draft<T>): Draft<T> {
  return { now: draft.now, typing: false, handed: draft.now };
}

/** Whether this is news. The file alone does not tell: it is without what was handed on and is still on its way. */
export function news<T>(draft: Draft<T>, value: T): boolean {
  return draft.now !== value || draft.now !== draft.handed;
}

export function useDraft<T>(value: T, onValue: (value: T) => void): { now: T; type: (now: T) => void; done: () => void } {
  const [draft, setDraft] = useState(() => begun(value));
  // A field of numbers brings its last change and its end in one go: the end has to know of the change.
  const latest = useRef(draft);
  const put = (next: Draft<T>) => {
    latest.current = next;
    setDraft(next);
  };
  useEffect(() => put(told(latest.current, value)), [value]);
  const done = () => {
    const before = latest.current;
    put(handedOn(before));
    if (news(before, value)) onValue(before.now);
  };
  return { now: draft.now, type: (now) => put(typed(latest.current, now)), done };
}
