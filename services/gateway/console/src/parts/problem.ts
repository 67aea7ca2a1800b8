// Turns an error into words: what went wrong, and what to do about it.

import type { TFunction } from 'i18next';

import { ApiError } from '../api/http';

export interface Explained {
  title: string;
  detail: string;
  faults: string[];
  advice: string;
  requestId: string | null;
}

const KINDS: Record<number, string> = {
  0: 'unreachable',
  400: 'invalid',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'notFound',
  409: 'conflict',
  412: 'stale',
  413: 'tooLarge',
  422: 'quota',
  429: 'tooMany',
  503: 'unavailable',
};

export function explain(error: unknown, t: TFunction): Explained {
  if (!(error instanceof ApiError)) {
    return { title: t('problem.internal.title'), detail: error instanceof Error ? error.message : String(error), faults: [], advice: t('problem.internal.advice'), requestId: null };
  }
  const kind = KINDS[error.status] ?? 'internal';
  const faults = error.faults.map((fault) => `${fault.field}: ${fault.detail}`);
  return {
    title: t(`problem.${kind}.title`),
    // The detail of a faulty request repeats its faults.
    detail: faults.length > 0 ? '' : error.detail,
    faults,
    advice: error.retryAfter !== null ? t('problem.retryAfter', { seconds: error.retryAfter }) : t(`problem.${kind}.advice`),
    requestId: error.requestId,
  };
}

/** Whether it may pass by itself: what was read before still holds, for all one knows. A refusal, or that it is gone, is final. */
export function passing(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 0 || error.status === 401 || error.status === 408 || error.status === 429 || error.status >= 500);
}
