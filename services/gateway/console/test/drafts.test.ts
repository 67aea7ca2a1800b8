import { describe, expect, it } from 'vitest';

import { dropDraft, keepDraft, readDraft } from '../src/parts/drafts';
import { clockOf, formatTime } from '../src/parts/format';

function store(): Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> {
  const kept = new Map<string, string>();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value), removeItem: (key) => void kept.delete(key) };
}

describe('a draft', () => {
  const draft = { text: 'services: {}', format: 'compose', at: '2026-12-01T10:00:00Z' };

  it('is there until it is sent, each for its place', () => {
    const own = store();
    keepDraft(own, 'acme/shop/test/web', draft);
    expect(readDraft(own, 'acme/shop/test/web')).toEqual(draft);
    expect(readDraft(own, 'acme/shop/test/')).toBeNull();
    dropDraft(own, 'acme/shop/test/web');
    expect(readDraft(own, 'acme/shop/test/web')).toBeNull();
  });

  it('that is empty, too long or not readable is none, and a full store harms nothing', () => {
    const own = store();
    keepDraft(own, 'a', draft);
    keepDraft(own, 'a', { ...draft, text: '  \n' });
    expect(readDraft(own, 'a')).toBeNull();
    keepDraft(own, 'a', { ...draft, text: 'x'.repeat(1_000_001) });
    expect(readDraft(own, 'a')).toBeNull();
    own.setItem('gantry.draft.a', '{"text":');
    expect(readDraft(own, 'a')).toBeNull();
    const full = { ...store(), setItem: () => { throw new DOMException('full', 'QuotaExceededError'); } };
    expect(() => keepDraft(full, 'a', draft)).not.toThrow();
  });
});

describe('times', () => {
  it('of a log are those of where the reader is, as all others on the page', () => {
    const at = '2026-11-22T23:05:07.042Z';
    const local = new Date(at);
    expect(clockOf(at)).toBe(`${String(local.getHours()).padStart(2, '0')}:${String(local.getMinutes()).padStart(2, '0')}:07.042`);
    expect(clockOf('yesterday')).toBe('yesterday');
  });

  it('in full name their zone', () => {
    expect(formatTime('2026-11-22T23:05:07Z', 'en-US')).toMatch(/2026.*07.*(UTC|GMT|[A-Z]{3,4})/);
  });
});
