// How questions and changes are sent: when again, and when not.

import { QueryClient } from '@tanstack/react-query';

import { ApiError } from '../api/http';

/** What the service refused it will refuse again. */
export const again = (count: number, error: unknown): boolean => count < 2 && (!(error instanceof ApiError) || error.status === 0 || error.status >= 502);

/**
 * `always`: the browser's opinion on whether there is a network is not asked. It knows nothing of a platform on the same machine or in a
 * closed network, and a change must not wait unseen until some network is there, and then be made.
 */
export const newClient = (): QueryClient =>
  new QueryClient({
    defaultOptions: {
      queries: { staleTime: 5_000, retry: again, networkMode: 'always' },
      mutations: { networkMode: 'always' },
    },
  });
