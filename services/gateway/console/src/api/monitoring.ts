// Monitoring: measured series, log lines, the audit trail and the stream of events.

import { path } from './http';

export interface PromSeries {
  metric?: Record<string, string>;
  name?: string;
  labels?: Record<string, string>;
  values?: [number, string | number][];
  points?: [number | string, number | string][];
}

export interface AuditItem {
  id: string;
  at: string;
  actor: string;
  actor_name?: string | null;
  kind?: string;
  action?: string;
  service?: string;
  object?: string;
  result: string;
  reason?: string | null;
  from?: string | null;
  trace_id?: string | null;
}

export interface PlatformEvent {
  id?: string;
  kind?: string;
  type?: string;
  service?: string;
  source?: string;
  subject?: string;
  stream?: string;
  at?: string;
  time?: string;
  actor?: string;
  data?: unknown;
}

export const monitoring = {
  nodeMetrics: (node: string) => path('nodes', node, 'metrics'),
  events: path('events'),
  audit: path('audit'),
};
