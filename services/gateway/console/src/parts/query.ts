// Reading lists that stay live, and doing things with a message at the end.

import { useMutation, useQuery, useQueryClient, type QueryKey } from '@tanstack/react-query';
import { App } from 'antd';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';

import { get, getAll, withQuery, type ApiError, type Page, type Query } from '../api/http';
import { follow } from '../api/sse';
import { explain } from './problem';

/** Whether a live list follows its changes now. */
export type Live = 'off' | 'connecting' | 'live' | 'lost';

/** An answer that a stream keeps current: `state` and `change` each bring the whole of it. */
export function useLive<T>(key: QueryKey, url: string, options: { enabled?: boolean; watch?: boolean; query?: Query } = {}) {
  const { enabled = true, watch = true, query } = options;
  const client = useQueryClient();
  const [live, setLive] = useState<Live>('off');
  const address = withQuery(url, query);
  const queryKey = [...key, query ?? null];
  const result = useQuery({
    queryKey,
    queryFn: ({ signal }) => get<T>(address, undefined, signal),
    enabled,
    // What cannot be watched now is asked for now and then.
    refetchInterval: live === 'live' ? false : 15_000,
  });
  const keyText = JSON.stringify(queryKey);
  const ready = result.isSuccess;
  useEffect(() => {
    if (!enabled || !watch || !ready) return undefined;
    setLive('connecting');
    const stop = follow(withQuery(address, { watch: true }), {
      onOpen: () => setLive('live'),
      onLost: () => setLive('lost'),
      onRefused: () => setLive('off'),
      onEvent: (event) => {
        if (event.event === 'state' || event.event === 'change') client.setQueryData<T>(JSON.parse(keyText) as QueryKey, JSON.parse(event.data) as T);
      },
    });
    return stop;
  }, [enabled, watch, ready, address, keyText, client]);
  return { ...result, live };
}

/** A list that a stream keeps current. */
export function useLiveList<T>(key: QueryKey, url: string, options: { enabled?: boolean; watch?: boolean; query?: Query } = {}) {
  const result = useLive<Page<T>>(key, url, options);
  return { ...result, items: result.data?.items ?? [] };
}

/** A page of this size is not the first of several, but all that is looked at. */
const WHOLE = 500;

/** A list without a stream: the whole of it, unless it is asked for a few. */
export function useList<T>(key: QueryKey, url: string, options: { enabled?: boolean; query?: Query; interval?: number } = {}) {
  const result = useQuery({
    queryKey: [...key, options.query ?? null],
    queryFn: ({ signal }) => (Number(options.query?.limit ?? WHOLE) < WHOLE ? get<Page<T>>(url, options.query, signal) : getAll<T>(url, options.query, signal)),
    enabled: options.enabled ?? true,
    refetchInterval: options.interval ?? false,
  });
  return { ...result, items: result.data?.items ?? [] };
}

/** Does something, says how it went, and makes what it changed be read again. */
export function useAction<V = void, R = unknown>(run: (input: V) => Promise<R>, options: { done?: string; refresh?: QueryKey[]; onDone?: (result: R, input: V) => void } = {}) {
  const client = useQueryClient();
  const { message, notification } = App.useApp();
  const { t } = useTranslation();
  return useMutation<R, ApiError, V>({
    mutationFn: run,
    onSuccess: async (result, input) => {
      if (options.done) void message.success(options.done);
      await Promise.all((options.refresh ?? []).map((queryKey) => client.invalidateQueries({ queryKey })));
      options.onDone?.(result, input);
    },
    onError: (error) => {
      const text = explain(error, t);
      notification.error({ title: text.title, description: [text.detail, ...text.faults, text.advice].filter(Boolean).join(' '), duration: 10 });
    },
  });
}
