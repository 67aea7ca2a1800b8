// Monitoring: measured series, log lines, the audit trail and the stream of events.

import { get, path } from './http';

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
  /** The fields that are different now, as they were; all of what is gone. */
  before?: unknown;
  /** Whether what it tells of is over; deployments and runs take their time. */
  state?: 'running' | 'ended';
  ended_at?: string | null;
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
