import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { MemoryRouter } from 'react-router';
import { describe, expect, it } from 'vitest';

import { ApiError } from '../src/api/http';
import { Answer, DataTable } from '../src/parts/basics';
import { Boundary } from '../src/parts/Boundary';

const unavailable = new ApiError(503, 'x', 'the gateway starts anew');
const gone = new ApiError(404, 'x', 'no such application');
const refetch = () => undefined;

const answer = (query: { isPending: boolean; error: unknown; data?: unknown }) => renderToStaticMarkup(createElement(() => Answer({ query: { ...query, refetch }, children: () => createElement('form', null, 'half filled') })));

describe('an answer', () => {
  it('that was read stays on the page while asking again fails for a time', () => {
    const page = answer({ isPending: false, error: unavailable, data: {} });
    expect(page).toContain('half filled');
    expect(page).toContain('stale.title');
  });

  it('that never came, or that is gone, is not shown', () => {
    expect(answer({ isPending: false, error: unavailable })).not.toContain('half filled');
    expect(answer({ isPending: false, error: gone, data: {} })).not.toContain('half filled');
    expect(answer({ isPending: true, error: null })).not.toContain('half filled');
  });
});

interface Row {
  name: string;
  size: number;
  tags: string[];
}

const rows = (count: number): Row[] => Array.from({ length: count }, (_, index) => ({ name: `web-${index}`, size: count - index, tags: [] }));

function table(address: string, items: Row[], more: { data?: unknown; error?: unknown } = {}): string {
  const list = createElement(DataTable<Row>, {
    label: 'list',
    empty: 'nothing yet',
    rowKey: 'name',
    inAddress: true,
    search: (row: Row) => row.name,
    query: { isPending: false, error: null, refetch, items, ...more },
    columns: [{ title: 'Name', dataIndex: 'name' }, { title: 'Size', dataIndex: 'size' }, { title: 'Tags', dataIndex: 'tags' }, { title: 'Length', sorter: (a: Row, b: Row) => a.name.length - b.name.length || b.size - a.size }],
  });
  return renderToStaticMarkup(createElement(MemoryRouter, { initialEntries: [address] }, list));
}

const shown = (page: string) => [...page.matchAll(/data-row-key="([^"]+)"/g)].map((match) => match[1]);

describe('a list', () => {
  it('of thousands shows the page, the order and the words that the address says', () => {
    expect(shown(table('/x', rows(3_000))).length).toBe(20);
    expect(shown(table('/x?page=2&size=10', rows(3_000)))[0]).toBe('web-10');
    expect(shown(table('/x?sort=size&size=10', rows(3_000)))[0]).toBe('web-2999');
    expect(shown(table('/x?sort=-name&size=10', rows(3_000)))[0]).toBe('web-2999');
    expect(shown(table('/x?sort=-column-3&size=10', rows(3_000)))[0]).toBe('web-2999');
    expect(shown(table('/x?q=WEB-299', rows(3_000)))).toEqual(['web-299', ...Array.from({ length: 10 }, (_, index) => `web-299${index}`)]);
  });

  it('whose page is not there any more shows its last', () => {
    expect(shown(table('/x?page=9', rows(30))).length).toBe(10);
  });

  it('says when there is more than it lists, and when it is not fresh', () => {
    expect(table('/x', rows(30), { data: { next: 'c' } })).toContain('parts.first');
    expect(table('/x', rows(30))).not.toContain('parts.first');
    expect(table('/x', rows(3), { error: unavailable })).toContain('stale.title');
  });

  it('shows what people wrote as text', () => {
    expect(table('/x', [{ name: '<img src=x onerror=alert(1)>', size: 1, tags: [] }])).not.toContain('<img');
  });
});

describe('a page that fails while it is drawn', () => {
  it('is tried anew at another address', () => {
    const failed = { error: new Error('x'), at: '/a' };
    expect(Boundary.getDerivedStateFromProps({ at: '/a' }, failed)).toBeNull();
    expect(Boundary.getDerivedStateFromProps({ at: '/b' }, failed)).toEqual({ error: null, at: '/b' });
  });
});
