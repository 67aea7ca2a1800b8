// Monitoring: measured series, log lines, the audit trail and the stream of events.

import { path } from './http';

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
  result: 'ok' | 'denied' | 'failed';
  reason: string;
  from?: string;
  trace: string | null;
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
};
