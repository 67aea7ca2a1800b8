import { afterEach, describe, expect, it, vi } from 'vitest';

import { getAll, path, withQuery } from '../src/api/http';
import { readCharts } from '../src/api/series';
import { readEvents } from '../src/parts/events';
import { readAppLog } from '../src/parts/logs';
import { grouped, typeName, type Document } from '../src/parts/openapi';
import { joined, placeOf } from '../src/place';

describe('a place', () => {
  it('is read from the path', () => {
    expect(placeOf('/orgs/acme/projects/shop/spaces/test/apps/web')).toEqual({ org: 'acme', project: 'shop', space: 'test' });
    expect(placeOf('/orgs/acme/billing')).toEqual({ org: 'acme' });
    expect(placeOf('/nodes/orgs')).toEqual({});
  });

  it('is completed by the last choice only within what is open', () => {
    const last = { org: 'acme', project: 'shop', space: 'test' };
    expect(joined({}, last)).toEqual(last);
    expect(joined({ org: 'acme' }, last)).toEqual(last);
    expect(joined({ org: 'other' }, last)).toEqual({ org: 'other' });
    expect(joined({ org: 'acme', project: 'blog' }, last)).toEqual({ org: 'acme', project: 'blog' });
  });
});

describe('a list of several pages', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('is read as one', async () => {
    const asked: string[] = [];
    vi.stubGlobal('fetch', async (url: string) => {
      asked.push(url);
      return new Response(JSON.stringify(url.includes('cursor=b') ? { items: [3], next: null } : { items: [1, 2], next: 'b' }));
    });
    expect(await getAll<number>('/x', { limit: 500 })).toEqual({ items: [1, 2, 3], next: null });
    expect(asked).toEqual(['/x?limit=500', '/x?limit=500&cursor=b']);
  });
});

describe('addresses', () => {
  it('encode names and leave out what is empty', () => {
    expect(path('orgs', 'a/b', 'images')).toBe('/api/v1/orgs/a%2Fb/images');
    expect(withQuery('/x?a=1', { b: 2, c: undefined, d: '', e: true })).toBe('/x?a=1&b=2&e=true');
  });
});

describe('series', () => {
  it('show a capacity beside what it bounds, and leave out what was not measured', () => {
    const found = readCharts(
      {
        from: '', to: '', step_seconds: 15,
        charts: [
          { name: 'cpu', unit: 'cores', series: [{ labels: { workload: 'web', instance: '01900000-0000-7000-8000-000000abcdef' }, points: [[10, 0.5]] }] },
          { name: 'cpu_capacity', unit: 'cores', series: [{ labels: {}, points: [[10, 2]] }] },
          { name: 'disk', unit: 'bytes', series: [{ labels: {}, points: [] }] },
        ],
      },
      'capacity',
    );
    expect(found).toEqual([
      { name: 'cpu', unit: 'cores', series: [{ name: 'web abcdef', points: [[10_000, 0.5]] }, { name: 'capacity', points: [[10_000, 2]] }] },
    ]);
  });
});

describe('streams', () => {
  it('give log lines with their source, and plain text as it is', () => {
    const line = { at: '2026-11-22T12:00:00Z', stream: 'stderr', text: 'boom', instance: '0190-abcdef', workload: 'web', node: 'n', attempt: 0 };
    expect(readAppLog(JSON.stringify(line), 'line')).toEqual([{ at: line.at, text: 'boom', stream: 'stderr', source: 'web/abcdef', attempt: 0 }]);
    expect(readAppLog('plain', 'line')).toEqual([{ text: 'plain' }]);
  });

  it('give events of any of the forms', () => {
    expect(readEvents('{"id":"1","kind":"app.created","service":"scheduler","actor":"user:1","name":"web","at":"t"}')).toEqual([
      { key: '1', kind: 'app.created', service: 'scheduler', actor: 'user:1', object: 'web', at: 't' },
    ]);
    expect(readEvents('nonsense')).toEqual([]);
    // How a stream of a session that has ended says why it ends.
    expect(readEvents('{"type":"about:blank","title":"Unauthenticated","status":401}', 'problem')).toEqual([]);
  });
});

describe('the API document', () => {
  const document: Document = {
    paths: { '/a': { get: { tags: ['one'], summary: 'List' }, post: { tags: ['one'] } }, '/b': { delete: { tags: ['two'] } } },
  };

  it('is grouped by service and filtered by text', () => {
    expect(grouped(document, '').map((group) => [group.tag, group.operations.length])).toEqual([
      ['one', 2],
      ['two', 1],
    ]);
    expect(grouped(document, 'list').flatMap((group) => group.operations.map((operation) => operation.method))).toEqual(['get']);
  });

  it('names types shortly', () => {
    expect(typeName({ type: 'array', items: { $ref: '#/components/schemas/User' } })).toBe('User[]');
    expect(typeName({ type: ['string', 'null'] })).toBe('string | null');
  });
});
