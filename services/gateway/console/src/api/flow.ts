// Registry: what comes into a project from other registries and goes out to them, and who is told.

import { post, put, remove } from './http';

export interface Endpoint {
  url: string;
  username?: string;
  allow_private?: boolean;
}

export interface Cache {
  upstream: { name: string; endpoint: Endpoint; prefix?: string; remote_prefix?: string; enabled?: boolean };
  has_password: boolean;
  ok_at: string | null;
  error_at: string | null;
  /** What is wrong now. */
  error: string | null;
}

export interface Target {
  target: { name: string; endpoint: Endpoint };
  has_password: boolean;
}

export interface Replication {
  name: string;
  direction: 'push' | 'pull';
  target: string;
  repositories?: string;
  tags?: string;
  schedule?: string | null;
  on_event?: boolean;
  enabled?: boolean;
}

export interface Run {
  id: string;
  cause: string;
  dry_run: boolean;
  state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  error: string | null;
  same: number;
  waiting: number;
  done: number;
  failed: number;
  skipped: number;
  bytes: number;
  created_at: string;
}

export interface Webhook {
  webhook: { name: string; url: string; happenings?: string[]; enabled?: boolean };
  secrets: number;
  paused_at: string | null;
  why: string | null;
  waiting: number;
  delivered: number;
  dead: number;
}

export interface Delivery {
  id: string;
  kind: string;
  state: 'waiting' | 'delivered' | 'dead';
  tries: number;
  status: number | null;
  error: string | null;
  created_at: string;
}

export interface Trial {
  ok: boolean;
  error: string | null;
  took_ms: number;
}

export const HAPPENINGS = ['pushed', 'attached', 'pulled', 'deleted', 'scanned', 'quota', 'replication'];

const part = encodeURIComponent;
type Kind = 'upstreams' | 'targets' | 'replications' | 'webhooks';

/** `base`: the registry part of a project. */
export const flow = {
  list: (base: string, kind: Kind) => `${base}/${kind}`,
  one: (base: string, kind: Kind, name: string) => `${base}/${kind}/${part(name)}`,
  set: <T>(base: string, kind: Kind, name: string, body: unknown) => put<T>(flow.one(base, kind, name), body),
  remove: (base: string, kind: Kind, name: string) => remove(flow.one(base, kind, name)),
  test: (base: string, kind: 'upstreams' | 'targets', name: string) => post<Trial>(`${flow.one(base, kind, name)}/test`, {}),
  ping: (base: string, name: string) => post<Delivery>(`${flow.one(base, 'webhooks', name)}/test`, {}),
  resume: (base: string, name: string) => post(`${flow.one(base, 'webhooks', name)}/resume`, {}),
  runs: (base: string, name: string) => `${flow.one(base, 'replications', name)}/runs`,
  run: (base: string, name: string, dryRun: boolean) => post<Run>(flow.runs(base, name), { dry_run: dryRun }),
  deliveries: (base: string, name: string) => `${flow.one(base, 'webhooks', name)}/deliveries`,
  again: (base: string, id: string) => post(`${base}/webhook-deliveries/${part(id)}/replay`, {}),
};
