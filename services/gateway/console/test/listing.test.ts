import { describe, expect, it } from 'vitest';

import { compare, matching, readListing, writeListing } from '../src/parts/listing';
import { appended, drawn, selectedLines, type Numbered } from '../src/parts/lines';

const many = (count: number, from = 0) => Array.from({ length: count }, (_, index) => ({ text: `line ${from + index}` }));

describe('what is looked at of a list', () => {
  it('is the same after the address', () => {
    const listing = { q: 'a b&c=#', page: 3, size: 50, sort: 'created_at', down: true };
    const address = writeListing(new URLSearchParams('tab=x'), listing);
    expect(address.get('tab')).toBe('x');
    expect(readListing(new URLSearchParams(address.toString()))).toEqual(listing);
  });

  it('leaves nothing in the address as at first, and reads nonsense as that', () => {
    const first = readListing(new URLSearchParams('page=-1&size=7&sort='));
    expect(first).toEqual({ q: '', page: 1, size: 20, sort: '', down: false });
    expect(writeListing(new URLSearchParams('q=x&page=2'), first).toString()).toBe('');
  });

  it('orders as people do', () => {
    expect(['web-10', 'web-9', '', 'Alpha'].toSorted(compare)).toEqual(['Alpha', 'web-9', 'web-10', '']);
    expect([10, 9, null, 100].toSorted(compare)).toEqual([9, 10, 100, null]);
  });

  it('finds rows that have all words', () => {
    expect(matching(['Web shop', 'web', 'shop'], ' SHOP web ', (row) => row)).toEqual(['Web shop']);
  });
});

describe('a long log', () => {
  it('keeps its last lines, each with its number', () => {
    const kept = appended(appended([], many(8)), many(5, 8), 10);
    expect([kept.length, kept[0]!.no, kept.at(-1)!.no, kept.at(-1)!.text]).toEqual([10, 3, 12, 'line 12']);
  });

  it('of 100,000 lines draws the last, and earlier ones when asked', () => {
    const lines = appended([], many(100_000));
    const { shown, earlier, waiting } = drawn(lines, 2_000, null);
    expect([shown.length, shown[0]!.no, earlier, waiting]).toEqual([2_000, 98_000, 98_000, 0]);
    expect(drawn(lines, 4_000, null).shown[0]!.no).toBe(96_000);
  });

  it('does not move under the eyes of who has stopped', () => {
    const before = drawn(appended([], many(50)), 20, 49).shown;
    const after = drawn(appended(appended([], many(50)), many(30, 50)), 20, 49);
    expect(after.shown.map((line) => line.no)).toEqual(before.map((line) => line.no));
    expect(after.waiting).toBe(30);
  });

  it('is searched whole, and by start', () => {
    const lines: Numbered[] = [{ no: 0, text: 'Error: x', attempt: 0 }, { no: 1, text: 'ok', attempt: 1 }, { no: 2, text: 'error', attempt: 1 }];
    expect(selectedLines(lines, { text: 'ERROR', run: 'all' }).map((line) => line.no)).toEqual([0, 2]);
    expect(selectedLines(lines, { text: '', run: 'last' }).map((line) => line.no)).toEqual([1, 2]);
    expect(selectedLines(lines, { text: '', run: 'before' }).map((line) => line.no)).toEqual([0]);
  });
});
