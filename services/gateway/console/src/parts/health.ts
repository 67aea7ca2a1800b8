// Whether the suite's parts are ready, as the gateway sees it.

import { useQuery } from '@tanstack/react-query';

import { ApiError } from '../api/http';

export interface PartReady {
  name: string;
  ready: boolean;
  detail: string;
  duration_ms: number;
  parts?: { name: string; ok: boolean; error?: string }[];
}

export interface Ready {
  ready: boolean;
  parts: PartReady[];
}

/** `/readyz` answers 503 with the same body when a part is not ready: that is an answer, too. */
async function ready(): Promise<Ready> {
  const response = await fetch('/readyz', { headers: { accept: 'application/json' } }).catch(() => null);
  if (response === null) throw new ApiError(0, 'console.unreachable', '');
  if (response.status !== 200 && response.status !== 503) throw new ApiError(response.status, 'console.readyz', '');
  return (await response.json()) as Ready;
}

export const useHealth = () => useQuery({ queryKey: ['health'], queryFn: ready, refetchInterval: 15_000 });
