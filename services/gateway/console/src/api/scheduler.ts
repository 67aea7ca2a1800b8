// Scheduler: applications, their revisions and instances, and the nodes they run on.

import { path, post, remove } from './http';

export interface Workload {
  name: string;
  kind: string;
  image: string;
  replicas: number;
  ready: number;
  cpu_millis: number;
  memory_bytes: number;
}

export interface Endpoint {
  service: string;
  host: string;
  port: number;
  protocol: 'http' | 'tcp' | 'udp';
  url: string;
}

export interface AppItem {
  id: string;
  name: string;
  state: string;
  /** One sentence for a person. */
  reason: string;
  revision: number;
  finished_revision: number | null;
  workloads: Workload[];
  endpoints: Endpoint[];
  created_at: string;
  updated_at: string;
}

export interface Instance {
  id: string;
  name: string;
  workload: string;
  index: number;
  revision: number;
  node: string;
  state: string;
  available: boolean;
  address: string;
  restarts: number;
  exit_code: number | null;
  reason: string;
  placed_at: string;
  running_at: string | null;
  ended_at: string | null;
}

export interface Revision {
  revision: number;
  format: string;
  images: string[];
  reason: string;
  author: string;
  current: boolean;
  diff: string[];
  at: string;
}

export interface Finding {
  node: string;
  reasons: string[];
  score: number;
}

export interface Why {
  state: string;
  reason: string;
  waiting: {
    workload: string;
    instances: number;
    reason: string;
    /** Those with the fewest reasons first. */
    nodes: Finding[];
    nodes_seen: number;
    against: Against[];
    remedies: { change: string; nodes: number; node: string }[];
    since: string;
  }[];
  instances: Instance[];
  placed: { instance: string; name: string; workload: string; chosen: Chosen }[];
}

/** A rule, and on how many nodes it is in the way. */
export interface Against {
  rule: string;
  nodes: number;
  example: string;
}

export interface Chosen {
  node: string;
  by: 'planner' | 'volumes' | 'external';
  score: number;
  next: { node: string; score: number } | null;
  nodes: number;
  fit: number;
  against: Against[];
  note: string;
}

export interface Remark {
  path: string;
  line: number;
  detail: string;
  level: 'wrong' | 'unsupported' | 'note';
}

export interface Deployed {
  app_id: string;
  revision: number;
  changed: boolean;
  diff: string[];
  remarks: Remark[];
}

export interface NodeItem {
  name: string;
  state: string;
  cordoned: boolean;
  draining: boolean;
  facts: {
    architecture: string;
    os: string;
    kernel: string;
    virtual_machine: boolean;
    cpu_millis: number;
    memory_bytes: number;
    storage_bytes: number;
    runtime: string;
    runtime_classes: string[];
    zone: string;
    labels: Record<string, string>;
  };
  /** As operators set them. */
  settings: {
    labels: Record<string, string>;
    taints: { key: string; value: string; effect: string }[];
    overcommit_cpu_percent: number | null;
    overcommit_memory_percent: number | null;
  };
  instances: number;
  reserved_cpu_millis: number;
  reserved_memory_bytes: number;
  joined_at: string;
}

export interface DeployBody {
  name: string;
  format: 'compose';
  document: string;
  values: Record<string, string>;
  reason: string;
  /** Leave out what the platform does not do instead of refusing the document. */
  allow_unsupported: boolean;
}

export const scheduler = {
  apps: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'apps'),
  app: (org: string, project: string, space: string, app: string) => path('orgs', org, 'projects', project, 'spaces', space, 'apps', app),
  nodes: path('nodes'),
  node: (node: string) => path('nodes', node),
  deploy: (org: string, project: string, space: string, body: DeployBody, dryRun: boolean) =>
    post<Deployed>(scheduler.apps(org, project, space), body, dryRun ? { dry_run: true } : undefined),
  act: (app: string, verb: 'restart' | 'stop' | 'start') => post(`${app}/${verb}`, {}),
  scale: (app: string, workload: string, replicas: number) => post(`${app}/scale`, { workload, replicas }),
  rollback: (app: string, revision: number) => post(`${app}/rollback`, { revision }),
  remove: (app: string) => remove(app),
  nodeAct: (node: string, verb: 'cordon' | 'uncordon' | 'drain') => post(`${path('nodes', node)}/${verb}`, {}),
};
