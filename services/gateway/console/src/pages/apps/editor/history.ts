// What can be taken back: the file as it was before each change, whether it was written or drawn.

import type { Format } from '../../../api/scheduler';

export interface Step {
  text: string;
  format: Format;
}

export interface History {
  past: Step[];
  future: Step[];
  /** When the last one was written by hand; 0: it was not. */
  typedAt: number;
}

export const NO_HISTORY: History = { past: [], future: [], typedAt: 0 };

/** Letters typed in one go are one step. */
const GO = 1_500;
const LONGEST = 100;

/** With what was there before a change that is made now. */
export function kept(history: History, before: Step, now: number, typed: boolean): History {
  const goesOn = typed && history.typedAt > 0 && now - history.typedAt < GO;
  // An empty sheet is where one begins, not what one goes back to.
  const past = goesOn || before.text === '' ? history.past : [...history.past, before].slice(-LONGEST);
  return { past, future: [], typedAt: typed ? now : 0 };
}

/** Back, or forth again, from `here`; nothing where there is nothing. */
export function turned(history: History, here: Step, which: 'back' | 'forth'): { history: History; step: Step } | null {
  const { past, future } = history;
  const step = which === 'back' ? past.at(-1) : future.at(-1);
  if (!step) return null;
  const left = which === 'back' ? { past: past.slice(0, -1), future: [...future, here] } : { past: [...past, here], future: future.slice(0, -1) };
  return { history: { ...left, typedAt: 0 }, step };
}

/** Which of both a key asks for: Ctrl+Z (or Command), with Shift or as Ctrl+Y forth again. */
export function turnOf(event: { key: string; ctrlKey: boolean; metaKey: boolean; shiftKey: boolean; altKey: boolean }): 'back' | 'forth' | null {
  if (event.altKey || !(event.ctrlKey || event.metaKey)) return null;
  const key = event.key.toLowerCase();
  if (key === 'z') return event.shiftKey ? 'forth' : 'back';
  return key === 'y' ? 'forth' : null;
}
