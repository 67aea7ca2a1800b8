// The lines of a log as they are kept and shown: many are kept, of which the last are drawn.

export interface Line {
  at?: string;
  text: string;
  stream?: string;
  source?: string;
  /** Which start of its instance wrote it: 0, 1, ... */
  attempt?: number;
}

/** `no` counts the lines of the open log from 0, so that each keeps its place on the screen when the oldest go. */
export interface Numbered extends Line {
  no: number;
}

/** Lines that are kept: to be searched, looked back at and downloaded. */
export const KEPT = 100_000;
/** Lines that are drawn at first; a browser is slow with many more. */
export const DRAWN = 2_000;

export function appended(old: Numbered[], more: Line[], kept = KEPT): Numbered[] {
  const begin = old.length === 0 ? 0 : old.at(-1)!.no + 1;
  const all = [...old, ...more.map((line, index) => ({ ...line, no: begin + index }))];
  return all.length > kept ? all.slice(-kept) : all;
}

export interface Wanted {
  /** Part of the text, whatever its case. */
  text: string;
  /** Of one instance: only what its last start wrote, or the one before it. */
  run: 'all' | 'last' | 'before';
}

export function selectedLines(lines: Numbered[], { text, run }: Wanted): Numbered[] {
  const wanted = text.toLowerCase();
  if (wanted === '' && run === 'all') return lines;
  const attempts = [...new Set(lines.map((line) => line.attempt ?? 0))].toSorted((a, b) => b - a);
  const attempt = run === 'all' ? null : run === 'last' ? attempts[0] : (attempts[1] ?? -1);
  return lines.filter((line) => (attempt === null || (line.attempt ?? 0) === attempt) && (wanted === '' || line.text.toLowerCase().includes(wanted)));
}

/**
 * What is drawn of the chosen lines: the last `most`. `until`: the reader has stopped at this number; what came later waits, so that
 * nothing moves under the eyes.
 */
export function drawn(lines: Numbered[], most: number, until: number | null): { shown: Numbered[]; earlier: number; waiting: number } {
  // The numbers have gaps where lines are left out.
  const end = until === null ? lines.length : lines.findLastIndex((line) => line.no <= until) + 1;
  const begin = Math.max(0, end - most);
  return { shown: lines.slice(begin, end), earlier: begin, waiting: lines.length - end };
}
