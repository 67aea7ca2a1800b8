// What is looked at of a list that comes whole: words, order, page. It stands in the address, so that a reload, the back button and a
// link that is passed on show the same.

import { useCallback, useState } from 'react';
import { useSearchParams } from 'react-router';

export interface Listing {
  /** Words that a row must have. */
  q: string;
  /** From 1. */
  page: number;
  size: number;
  /** Key of a column; empty: as the service gives it. */
  sort: string;
  down: boolean;
}

export const PAGE = 20;
const SIZES = new Set([10, 20, 50, 100]);

const whole = (text: string | null, or: number): number => (text !== null && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : or);

/** What is not there or makes no sense is as at first. */
export function readListing(search: URLSearchParams): Listing {
  const sort = search.get('sort') ?? '';
  const size = whole(search.get('size'), PAGE);
  return { q: search.get('q') ?? '', page: whole(search.get('page'), 1), size: SIZES.has(size) ? size : PAGE, sort: sort.replace(/^-/, ''), down: sort.startsWith('-') };
}

/** Other parameters of the address stay; what is as at first is left out. */
export function writeListing(search: URLSearchParams, of: Listing): URLSearchParams {
  const next = new URLSearchParams(search);
  const put = (name: string, value: string) => (value === '' ? next.delete(name) : next.set(name, value));
  put('q', of.q);
  put('page', of.page === 1 ? '' : String(of.page));
  put('size', of.size === PAGE ? '' : String(of.size));
  put('sort', of.sort === '' ? '' : `${of.down ? '-' : ''}${of.sort}`);
  return next;
}

/** `inAddress`: one list of a page may stand there. What is typed is kept here too: the address lags behind. */
export function useListing(inAddress: boolean): [Listing, (change: Partial<Listing>) => void] {
  const [search, setSearch] = useSearchParams();
  const [listing, setListing] = useState(() => readListing(inAddress ? search : new URLSearchParams()));
  const change = useCallback(
    (part: Partial<Listing>) => {
      const next = { ...listing, ...part };
      setListing(next);
      if (inAddress) setSearch((old) => writeListing(old, next), { replace: true });
    },
    [listing, inAddress, setSearch],
  );
  return [listing, change];
}

/** Orders values of a column: numbers by size, texts as people do ("web-10" after "web-9"), what is not there last. */
export function compare(a: unknown, b: unknown): number {
  const [none, other] = [a === undefined || a === null || a === '', b === undefined || b === null || b === ''];
  if (none || other) return Number(none) - Number(other);
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b);
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

/** Rows that have all the words, whatever their case. */
export function matching<T>(rows: T[], text: string, of: (row: T) => string): T[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return rows;
  return rows.filter((row) => {
    const searched = of(row).toLowerCase();
    return words.every((word) => searched.includes(word));
  });
}

/** Filters that the service applies, in the address as well; one that is empty is not there. */
export function useFilters<K extends string>(names: readonly K[]): [Partial<Record<K, string>>, (part: Partial<Record<K, string | undefined>>) => void] {
  const [search, setSearch] = useSearchParams();
  const now = filtersOf(search, names);
  const change = (part: Partial<Record<K, string | undefined>>) =>
    setSearch(
      (old) => {
        const next = new URLSearchParams(old);
        for (const name of names) {
          const value = name in part ? part[name] : now[name];
          if (value === undefined || value === '') next.delete(name);
          else next.set(name, value);
        }
        return next;
      },
      { replace: true },
    );
  return [now, change];
}

export function filtersOf<K extends string>(search: URLSearchParams, names: readonly K[]): Partial<Record<K, string>> {
  return Object.fromEntries(names.flatMap((name) => (search.get(name) ? [[name, search.get(name)!]] : []))) as Partial<Record<K, string>>;
}
