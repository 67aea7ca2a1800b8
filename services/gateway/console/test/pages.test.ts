import { describe, expect, it } from 'vitest';

import { addressesOf, isDeleted, placeOfApp } from '../src/api/pools';
import { formOf, retentionOf } from '../src/pages/registry/keeping';
import { claimsOf } from '../src/pages/security/claims';
import { browserOf } from '../src/parts/browser';
import { changesOf } from '../src/parts/changes';
import { selected } from '../src/parts/selected';

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
    const untagged = { untagged_days: 14, rules: [] };
    expect(retentionOf(formOf(untagged))).toEqual(untagged);
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

describe('pools of public addresses', () => {
  it('have networks, ranges and addresses, however they are written', () => {
    expect(addressesOf('203.0.113.0/28\n198.51.100.10 - 198.51.100.20, 192.0.2.7\n\n')).toEqual(['203.0.113.0/28', '198.51.100.10-198.51.100.20', '192.0.2.7']);
    expect(addressesOf(undefined)).toEqual([]);
  });

  it('know where an application is, and an organisation that is deleted', () => {
    expect(placeOfApp('acme/shop/test/web')).toEqual(['acme', 'shop', 'test', 'web']);
    expect(placeOfApp('app-0198')).toBeNull();
    expect(['acme', '0198c5a1-7b6e-7cc3-98c4-dc0c0c07398f'].map(isDeleted)).toEqual([false, true]);
  });

  it('are an entry of the menu', () => {
    expect(['/address-pools', '/nodes/n1', '/orgs/acme/projects/shop/spaces/test/signs', '/orgs/acme/projects/shop/spaces/test/alerts'].map(selected)).toEqual(['addresses', 'nodes', 'signs', 'alerts']);
  });
});

describe('files', () => {
  it('differ by more than case where they are side by side: not all file systems tell them apart', () => {
    const stems = Object.keys(import.meta.glob('../src/**/*.{ts,tsx}')).map((file) => file.replace(/\.tsx?$/, '').toLowerCase());
    expect(stems.filter((stem, at) => stems.indexOf(stem) !== at)).toEqual([]);
  });
});
