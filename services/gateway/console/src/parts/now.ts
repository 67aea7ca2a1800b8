// A clock that all relative times share: "2 minutes ago" must not still be there after an hour.

import { useSyncExternalStore } from 'react';

/** Milliseconds between two looks at the clock. */
const STEP = 20_000;

const readers = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let ticks = 0;

function subscribe(reader: () => void): () => void {
  readers.add(reader);
  timer ??= setInterval(() => {
    ticks += 1;
    for (const one of readers) one();
  }, STEP);
  return () => {
    readers.delete(reader);
    if (readers.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** Milliseconds since 1970, looked at again now and then. */
export function useNow(): number {
  useSyncExternalStore(subscribe, () => ticks, () => ticks);
  return Date.now();
}
