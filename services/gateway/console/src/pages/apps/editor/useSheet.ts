// The file and the picture of one application, kept the same: a change of either is brought into the other by the service,
// which reads and writes every format.

import { useCallback, useEffect, useMemo, useRef, useState } from 'react';

import { ApiError } from '../../../api/http';
import { scheduler, type Checked, type Format, type Remark } from '../../../api/scheduler';
import { kept, NO_HISTORY, turned } from './history';
import { means, merged } from './merging';
import { changed, EMPTY, readModel, type Edit, type Model } from './model';

const NOTHING: Remark[] = [];
const PAUSE = 500;

export interface Sheet {
  format: Format;
  text: string;
  /** What the picture shows: the last text that could be read. */
  model: Model;
  remarks: Remark[];
  /** The text cannot be read just now, so the picture is of an earlier one. */
  stale: boolean;
  /** What was drawn has faults, so the file is still without it. */
  unwritten: boolean;
  checking: boolean;
  problem: ApiError | null;
  write: (text: string, format?: Format) => void;
  /** Turns the file into another format. */
  convert: (format: Format) => void;
  edit: (edit: Edit) => void;
  /** Takes the last change back, or makes it again. */
  turn: (which: 'back' | 'forth') => void;
  /** How many changes can be taken back, and made again. */
  steps: { back: number; forth: number };
}

/** What a text is, if it says so. */
export function formatOf(text: string): Format | null {
  if (/^apiVersion:\s*["']?gantry\.io\//m.test(text)) return 'gantry';
  if (/^apiVersion:/m.test(text) && /^kind:/m.test(text)) return 'kubernetes';
  return /^(services|include):/m.test(text) ? 'compose' : null;
}

interface Place {
  org: string;
  project: string;
  space: string;
}

export function useSheet({ org, project, space }: Place, name: string, values: Record<string, string>): Sheet {
  const [format, setFormat] = useState<Format>('compose');
  const [text, setText] = useState('');
  const [own, setOwn] = useState(EMPTY);
  const [checked, setChecked] = useState<Checked | null>(null);
  const [problem, setProblem] = useState<ApiError | null>(null);
  const [checking, setChecking] = useState(false);
  const [unwritten, setUnwritten] = useState(false);
  // Each change of text or picture gets a number; answers to earlier ones are dropped.
  const turn = useRef(0);
  // Whether the text was written and is not read yet, and when it will be.
  const unread = useRef(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  // What both are now, for changes that wait for the one before them.
  const now = useRef({ text, own, format });
  now.current = { text, own, format };
  const queue = useRef(Promise.resolve());
  const history = useRef(NO_HISTORY);
  const [steps, setSteps] = useState({ back: 0, forth: 0 });
  const valuesText = JSON.stringify(values);
  const given = useRef(valuesText);

  const ask = useCallback(
    async (document: string, from: Format, to: Format): Promise<Checked | null> => {
      turn.current += 1;
      const mine = turn.current;
      setChecking(true);
      try {
        const found = await scheduler.check(org, project, space, { name: name || 'application', format: from, document, to, values: JSON.parse(valuesText) as Record<string, string> });
        if (mine !== turn.current) return null;
        setProblem(null);
        return found;
      } catch (error) {
        if (mine === turn.current && error instanceof ApiError) setProblem(error);
        return null;
      } finally {
        if (mine === turn.current) setChecking(false);
      }
    },
    [org, project, space, name, valuesText],
  );

  useEffect(() => {
    if (text.trim() === '') {
      setChecked(null);
      setProblem(null);
      return undefined;
    }
    if (given.current !== valuesText) unread.current = true;
    given.current = valuesText;
    // What the picture has written was read with it.
    if (!unread.current) return undefined;
    timer.current = setTimeout(async () => {
      const found = await ask(text, format, 'gantry');
      if (!found) return;
      setChecked(found);
      if (found.document) setOwn(found.document);
      unread.current = !found.document;
    }, PAUSE);
    return () => clearTimeout(timer.current);
  }, [text, format, valuesText, ask]);

  // Our own form is read as it is written; its comments and units stay.
  const written = useMemo(() => (format === 'gantry' ? readModel(text) : null), [format, text]);
  const model = useMemo(() => written ?? readModel(own) ?? readModel(EMPTY)!, [written, own]);

  const remember = useCallback((typed: boolean) => {
    history.current = kept(history.current, { text: now.current.text, format: now.current.format }, Date.now(), typed);
    setSteps({ back: history.current.past.length, forth: 0 });
  }, []);

  const put = useCallback((next: string, as?: Format) => {
    turn.current += 1;
    unread.current = true;
    setUnwritten(false);
    now.current.text = next;
    setText(next);
    const found = as ?? formatOf(next);
    if (found) setFormat(found);
    if (next.trim() === '') setOwn(EMPTY);
  }, []);

  const write = useCallback(
    (next: string, as?: Format) => {
      remember(true);
      put(next, as);
    },
    [remember, put],
  );

  const goTo = useCallback(
    (which: 'back' | 'forth') => {
      const found = turned(history.current, { text: now.current.text, format: now.current.format }, which);
      if (!found) return;
      history.current = found.history;
      setSteps({ back: found.history.past.length, forth: found.history.future.length });
      put(found.step.text, found.step.format);
    },
    [put],
  );

  const convert = useCallback(
    async (to: Format) => {
      if (text.trim() === '') return setFormat(to);
      const found = await ask(text, format, to);
      if (!found) return undefined;
      // What cannot be read cannot be turned into anything: it stays, with its faults.
      if (!found.document) return setChecked(found);
      remember(false);
      unread.current = true;
      setText(found.document);
      return setFormat(to);
    },
    [ask, remember, text, format],
  );

  const apply = useCallback(
    async (change: Edit) => {
      const { text: before, format: as } = now.current;
      if (as === 'gantry') {
        remember(false);
        return put(changed(before.trim() === '' ? EMPTY : before, change), 'gantry');
      }
      clearTimeout(timer.current);
      let base = now.current.own;
      if (unread.current && before.trim() !== '') {
        const read = await ask(before, as, 'gantry');
        if (read) setChecked(read);
        // What was just written has faults: it is not written over.
        if (!read?.document) return undefined;
        base = read.document;
      }
      const next = changed(base, change);
      setOwn(next);
      now.current.own = next;
      const found = await ask(next, 'gantry', as);
      if (!found) return undefined;
      setUnwritten(!found.document);
      // The lines are of another text than the one that is shown.
      if (!found.document) return setChecked({ ...found, remarks: found.remarks.map((remark) => ({ ...remark, line: 0 })) });
      let whole = found.document;
      let read = await ask(whole, as, 'gantry');
      if (!read) return undefined;
      // What people wrote stays as they wrote it, as far as it then says the same.
      const was = before.trim() === '' ? null : await ask(before, as, as);
      const mine = was?.document ? merged(before, was.document, whole) : null;
      const reread = mine === null ? null : await ask(mine, as, 'gantry');
      if (mine !== null && reread?.document && read.document && means(reread.document, read.document)) {
        whole = mine;
        read = reread;
      }
      // Something was written meanwhile, and that counts.
      if (now.current.text !== before) return undefined;
      remember(false);
      unread.current = false;
      now.current.text = whole;
      setText(whole);
      setChecked(read);
      if (!read.document) return undefined;
      now.current.own = read.document;
      return setOwn(read.document);
    },
    [ask, put, remember],
  );
  // One after the other: each begins with what the one before has made.
  const edit = useCallback(
    (change: Edit) => {
      queue.current = queue.current.then(() => apply(change));
    },
    [apply],
  );

  const stale = format === 'gantry' ? text.trim() !== '' && written === null : checked !== null && !checked.valid && !unwritten;
  return { format, text, model, remarks: checked?.remarks ?? NOTHING, stale, unwritten, checking, problem, write, convert: (to) => void convert(to), edit, turn: goTo, steps };
}
