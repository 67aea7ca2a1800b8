// Monitoring: alert rules of a space, what fires and what did.

import { path, putTagged, remove } from './http';

export const FIGURES = ['cpu', 'memory', 'storage', 'network', 'restarts'] as const;
export type Figure = (typeof FIGURES)[number];
export const COMPARISONS = ['above', 'below'] as const;
export const SEVERITIES = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];
export type AlertState = 'inactive' | 'pending' | 'firing' | 'resolved';

/** Set as a whole. */
export interface AlertSettings {
  app: string;
  workload?: string | null;
  figure: Figure;
  comparison: (typeof COMPARISONS)[number];
  threshold: number;
  for_seconds: number;
  severity: Severity;
}

export interface AlertRule extends AlertSettings {
  name: string;
  state: AlertState;
  since?: string | null;
  /** Of the instance that is nearest to an alarm. */
  value?: number | null;
  instance: string;
  version: number;
  changed_by: string;
  changed_at: string;
}

/** As it is now, or (with a number) a change of state. */
export interface Alert {
  number?: number | null;
  rule: string;
  severity: Severity;
  state: AlertState;
  at: string;
  value?: number | null;
  instance: string;
}

export const alerts = {
  now: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'alerts'),
  rules: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'alert-rules'),
  /** `before`: the rule as it was when the change was begun. */
  set: (rules: string, name: string, settings: AlertSettings, before: AlertRule | null) => putTagged<AlertRule>(`${rules}/${encodeURIComponent(name)}`, settings, before ? `"${before.version}"` : null),
  remove: (rules: string, name: string) => remove<void>(`${rules}/${encodeURIComponent(name)}`),
};
