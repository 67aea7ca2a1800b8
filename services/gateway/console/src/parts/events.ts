// The platform's events as they happen.

import { useEffect, useState } from 'react';

import type { ApiError } from '../api/http';
import { monitoring } from '../api/monitoring';
import { follow } from '../api/sse';
import type { Live } from './query';

export interface Happened {
  key: string;
  kind: string;
  service: string;
  actor: string;
  object: string;
  at: string;
}

/** Reads one event of `/api/v1/events`: an audit record, a CloudEvent, or a list of either. */
export function readEvents(data: string, event = 'event'): Happened[] {
  // Why the stream ends; it is no event of the platform.
  if (event === 'problem') return [];
  let read: unknown;
  try {
    read = JSON.parse(data);
  } catch {
    return [];
  }
  const body = read as { items?: unknown[] };
  const list = Array.isArray(read) ? read : (body.items ?? [read]);
  return (list as Record<string, unknown>[])
    .map((one) => ({
      key: String(one.id ?? one.seq ?? `${one.kind ?? one.type}@${one.at ?? one.time}`),
      kind: String(one.kind ?? one.type ?? ''),
      service: String(one.service ?? one.source ?? ''),
      actor: String(one.actor ?? ''),
      object: String(one.name ?? one.object ?? one.subject ?? one.stream ?? ''),
      at: String(one.at ?? one.time ?? ''),
    }))
    .filter((one) => one.kind !== '');
}

const KEPT = 60;

export function useEvents(): { events: Happened[]; live: Live; refused: ApiError | null } {
  const [events, setEvents] = useState<Happened[]>([]);
  const [live, setLive] = useState<Live>('connecting');
  const [refused, setRefused] = useState<ApiError | null>(null);
  useEffect(
    () =>
      follow(monitoring.events, {
        onOpen: () => setLive('live'),
        onLost: () => setLive('lost'),
        onRefused: (error) => {
          setLive('off');
          setRefused(error);
        },
        onEvent: (event) => {
          const more = readEvents(event.data, event.event);
          setEvents((old) => {
            const known = new Set(old.map((one) => one.key));
            return [...more.filter((one) => !known.has(one.key)).toReversed(), ...old].slice(0, KEPT);
          });
        },
      }),
    [],
  );
  return { events, live, refused };
}
