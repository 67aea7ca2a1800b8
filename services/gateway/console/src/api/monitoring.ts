// Monitoring: measured series, log lines, the audit trail and the stream of events.

import { get, path } from './http';

export interface PromSeries {
  metric?: Record<string, string>;
  name?: string;
  labels?: Record<string, string>;
  values?: [number, string | number][];
  points?: [number | string, number | string][];
}

export interface AuditRecord {
  seq: number;
  id: string;
  at: string;
  service: string;
  kind: string;
  /** "user:<uuid>", "service:<name>", "system", "anonymous". */
  actor: string;
  object: string;
  name: string | null;
  content: unknown;
  /** What it was and is, where the service says it. */
  before?: unknown;
  after?: unknown;
  result: 'ok' | 'denied' | 'failed';
  reason: string;
  from?: string;
  trace: string | null;
}

/** Whether the trail's chain of hashes is whole. */
export interface Proof {
  records: number;
  whole: boolean;
  first_bad: number | null;
}

export interface LogLine {
  at: string;
  stream: string;
  text: string;
  instance: string;
  workload: string;
  node: string;
  attempt: number;
}

export const monitoring = {
  nodeMetrics: (node: string) => path('nodes', node, 'metrics'),
  events: path('events'),
  audit: path('audit'),
  verify: () => get<Proof>(path('audit', 'verify')),
};
