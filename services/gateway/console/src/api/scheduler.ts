// Scheduler: applications, their revisions and instances, and the nodes they run on.

import { path, post, remove } from './http';

export interface Workload {
  name: string;
  kind?: string;
  image?: string;
  replicas: number;
  ready?: number;
  running?: number;
}

export interface Endpoint {
  service?: string;
  name?: string;
  url?: string;
  address?: string;
  port?: number;
  protocol?: string;
  host?: string;
}

export interface AppItem {
  id: string;
  name: string;
  state: string;
  reason?: string | null;
  revision: number;
  workloads?: Workload[];
  endpoints?: Endpoint[];
  images?: string[];
  updated_at?: string;
  created_at?: string;
}

export interface Instance {
  id: string;
  workload: string;
  index: number;
  revision: number;
  node?: string | null;
  state: string;
  address?: string | null;
  restarts?: number;
  reason?: string | null;
  since?: string | null;
  cpu_millis?: number;
  memory_bytes?: number;
}

export interface Revision {
  revision: number;
  format?: string;
  state?: string;
  images?: string[];
  reason?: string;
  actor?: string;
  created_at?: string;
  at?: string;
}

export interface NodeItem {
  name: string;
  state: string;
  schedulable?: boolean;
  cordoned?: boolean;
  facts?: Record<string, unknown>;
  capacity?: { cpu_millis?: number; memory_bytes?: number; storage_bytes?: number };
  allocated?: { cpu_millis?: number; memory_bytes?: number; storage_bytes?: number };
  instances?: number;
  last_seen?: string | null;
}

export interface DeployBody {
  name: string;
  format: 'compose' | 'kubernetes' | 'gantry';
  document: string;
  values: Record<string, string>;
  reason: string;
}

export const scheduler = {
  apps: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'apps'),
  app: (org: string, project: string, space: string, app: string) => path('orgs', org, 'projects', project, 'spaces', space, 'apps', app),
  nodes: path('nodes'),
  node: (node: string) => path('nodes', node),
  deploy: (org: string, project: string, space: string, body: DeployBody, dryRun: boolean) =>
    post<Record<string, unknown>>(scheduler.apps(org, project, space), body, dryRun ? { dry_run: true } : undefined),
  act: (app: string, verb: 'restart' | 'stop' | 'start') => post(`${app}/${verb}`, {}),
  scale: (app: string, workload: string, replicas: number) => post(`${app}/scale`, { workload, replicas }),
  rollback: (app: string, revision: number) => post(`${app}/rollback`, { revision }),
  remove: (app: string) => remove(app),
  nodeAct: (node: string, verb: 'cordon' | 'uncordon' | 'drain') => post(`${path('nodes', node)}/${verb}`, {}),
};
