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
export function readEvents(data: string): Happened[] {
  let read: unknown;
  try {
    read = JSON.parse(data);
  } catch {
    return [];
  }
  const body = read as { items?: unknown[] };
  const list = Array.isArray(read) ? read : (body.items ?? [read]);
  return (list as Record<string, unknown>[])
    .map((event) => ({
      key: String(event.id ?? event.seq ?? `${event.kind ?? event.type}@${event.at ?? event.time}`),
      kind: String(event.kind ?? event.type ?? ''),
      service: String(event.service ?? event.source ?? ''),
      actor: String(event.actor ?? ''),
      object: String(event.name ?? event.object ?? event.subject ?? event.stream ?? ''),
      at: String(event.at ?? event.time ?? ''),
    }))
    .filter((event) => event.kind !== '');
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
          const more = readEvents(event.data);
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
