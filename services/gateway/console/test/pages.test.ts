import { describe, expect, it } from 'vitest';

import { formOf, retentionOf } from '../src/pages/registry/keeping';
import { claimsOf } from '../src/pages/security/claims';
import { browserOf } from '../src/parts/browser';
import { changesOf } from '../src/parts/changes';

describe('what changed', () => {
  it('is the fields that differ, also inside others', () => {
    const before = { limits: { cpu: 1, memory: 2 }, tags: ['a'] };
    const content = { name: 'web', limits: { cpu: 3, memory: 2 }, tags: ['a', 'b'] };
    expect(changesOf({ kind: 'app.changed', before, content })).toEqual([
      { field: 'limits.cpu', before: '1', after: '3' },
      { field: 'tags', before: '["a"]', after: '["a","b"]' },
    ]);
  });

  it('is everything of what is gone, and nothing where nothing was before', () => {
    expect(changesOf({ kind: 'org.member-removed', before: { role: 'viewer' }, content: { role: 'viewer' } })).toEqual([{ field: 'role', before: 'viewer', after: '–' }]);
    expect(changesOf({ kind: 'org.created', content: { name: 'acme' } })).toEqual([]);
    expect(changesOf({ kind: 'org.created', content: null, before: null })).toEqual([]);
  });
});

describe('retention rules', () => {
  it('are the same after the form', () => {
    const rules = { every_hours: 24, rules: [{ repositories: 'web', tags: 'v*', keep: { newest: 10 } }, { repositories: '*', tags: '*', keep: 'all' as const, label: 'keep=true' }] };
    expect(retentionOf(formOf(rules))).toEqual(rules);
    expect(retentionOf({ rules: [{ kind: 'pulled_within_days', amount: 30 }] })).toEqual({ rules: [{ repositories: '*', tags: '*', keep: { pulled_within_days: 30 } }] });
  });
});

describe('small texts', () => {
  it('name a browser in a few words', () => {
    expect(browserOf('Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36 Edg/128.0.0.0')).toBe('Edge 128 · Linux');
    expect(browserOf('curl/8.0')).toBe('curl/8.0');
    expect(browserOf('')).toBe('–');
  });

  it('hold claims one a line', () => {
    expect(claimsOf('sub=repo:acme/shop:ref=main\n\n aud = gantry ')).toEqual({ sub: 'repo:acme/shop:ref=main', aud: 'gantry' });
  });
});
