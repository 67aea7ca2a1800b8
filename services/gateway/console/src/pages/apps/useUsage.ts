// What each instance of an application uses now, as it was measured last.

import { useQuery } from '@tanstack/react-query';

import { get } from '../../api/http';
import { usageOf, type Charts, type Usage } from '../../api/series';

const WINDOW_MS = 5 * 60_000;

/** By the instance's id; those that were not measured lately are not in it. */
export function useUsage(url: string): Map<string, Usage> {
  const query = useQuery({
    queryKey: ['usage', url],
    queryFn: async ({ signal }) => {
      const now = Date.now();
      return usageOf(await get<Charts>(`${url}/metrics`, { from: new Date(now - WINDOW_MS).toISOString(), to: new Date(now).toISOString() }, signal));
    },
    refetchInterval: 15_000,
    // Without measurements the list is still one.
    retry: false,
  });
  return query.data ?? new Map();
}
