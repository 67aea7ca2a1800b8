// A release under way, and workloads whose number of instances follows what is measured.

import { post } from './http';

export interface ReleaseNow {
  revision: number;
  /** The revision that is being replaced. */
  from: number | null;
  strategy: 'rolling' | 'blue-green' | 'canary' | 'rollback';
  /** Which step has begun, of how many; 0 of 0 for a rolling release. */
  step: number;
  steps: number;
  /** Of the requests, that go to the new revision. */
  percent: number;
  /** Requests with this header go to it, too. */
  header: string | null;
  paused: boolean;
  waits_for: 'instances' | 'time' | 'promotion' | 'resumption';
  /** One sentence for a person. */
  reason: string;
  /** When its step has begun. */
  since?: string | null;
}

export const release = {
  promote: (app: string, full: boolean) => post(`${app}/release/promote`, { full }),
  pause: (app: string) => post(`${app}/release/pause`, {}),
  resume: (app: string) => post(`${app}/release/resume`),
  abort: (app: string) => post(`${app}/release/abort`, {}),
};

export interface ScalingNow {
  workload: string;
  min: number;
  max: number;
  replicas: number;
  /** Why it follows nothing for now, if that is so. */
  paused: string | null;
  reason: string;
  at: string | null;
}

export interface Sizing {
  workload: string;
  cpu_millis: number;
  memory_bytes: number;
  recommended_cpu_millis: number | null;
  recommended_memory_bytes: number | null;
  reason: string;
}

export const scaling = {
  pause: (app: string, workload: string) => post(`${app}/scaling/pause`, { workload }),
  resume: (app: string, workload: string) => post(`${app}/scaling/resume`, { workload }),
};
