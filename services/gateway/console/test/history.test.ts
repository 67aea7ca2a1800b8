import { describe, expect, it } from 'vitest';

import { kept, NO_HISTORY, turned, turnOf, type Step } from '../src/pages/apps/editor/history';

const step = (text: string): Step => ({ text, format: 'compose' });

const press = (key: string, more: object = {}) => turnOf({ key, ctrlKey: true, metaKey: false, shiftKey: false, altKey: false, ...more });

describe('what can be taken back', () => {
  it('is one step for what is typed in one go, and one for each that is drawn', () => {
    let history = kept(NO_HISTORY, step('a'), 1_000, true);
    history = kept(history, step('ab'), 1_500, true);
    history = kept(history, step('abc'), 9_000, true);
    history = kept(history, step('abcd'), 9_100, false);
    expect(history.past.map((one) => one.text)).toEqual(['a', 'abc', 'abcd']);
    expect(kept(NO_HISTORY, step(''), 1, false).past).toEqual([]);
  });

  it('comes back and goes again until something else is changed', () => {
    const history = kept(kept(NO_HISTORY, step('one'), 1, false), step('two'), 2, false);
    const back = turned(history, step('three'), 'back')!;
    expect(back.step.text).toBe('two');
    const forth = turned(back.history, back.step, 'forth')!;
    expect(forth.step.text).toBe('three');
    expect(turned(forth.history, forth.step, 'forth')).toBeNull();
    expect(turned(NO_HISTORY, step('x'), 'back')).toBeNull();
    expect(kept(back.history, back.step, 3, false).future).toEqual([]);
  });

  it('is asked for by the keys that people know', () => {
    expect([press('z'), press('Z', { shiftKey: true }), press('y'), press('z', { ctrlKey: false, metaKey: true })]).toEqual(['back', 'forth', 'forth', 'back']);
    expect([press('z', { ctrlKey: false }), press('z', { altKey: true }), press('c')]).toEqual([null, null, null]);
  });
});
