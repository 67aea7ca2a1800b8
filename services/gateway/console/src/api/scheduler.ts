// Scheduler: applications, their revisions and instances, and the nodes they run on.

import type { Guard } from './signs';
import type { Fleet, OnCluster, Prospect, Share } from './clusters';
import type { ChangePreview } from './preview';
import type { ReleaseNow } from './release';
import { get, getTagged, path, post, putTagged, remove, withQuery } from './http';

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
  /** The release that is under way. */
  release?: ReleaseNow | null;
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
  /** Besides the main one. */
  containers?: string[];
  restarts: number;
  exit_code: number | null;
  reason: string;
  /** Why it has to leave its node, if it has to. */
  displaced?: string | null;
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
  /** On a Kubernetes cluster. */
  cluster?: OnCluster | null;
  /** Of a space on several clusters: what each has, and why. */
  clusters?: Share[];
  /** Network policies that select its instances. */
  policies?: Selecting[];
}

/** A network policy of the space, with the application that brought it. */
export interface Selecting {
  workload: string;
  app: string;
  name: string;
  ingress: boolean;
  egress: boolean;
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
  /** `not_yet`: kept, but the engine here does not do it yet. */
  level: 'wrong' | 'unsupported' | 'not_yet' | 'note';
  /** The file if it is not the document itself. */
  file?: string;
}

export interface Deployed {
  app_id: string;
  revision: number;
  changed: boolean;
  diff: string[];
  remarks: Remark[];
  /** Why it waits for room in the quota, if it does. */
  queued?: string | null;
  /** What each cluster would have, if there are several. */
  clusters?: Prospect[];
  /** Of a dry run: what would happen to the instances. */
  preview?: ChangePreview | null;
}

export type Format = 'compose' | 'kubernetes' | 'gantry';

/** What a document is found to be. */
export interface Checked {
  valid: boolean;
  deployable: boolean;
  remarks: Remark[];
  /** Files that it names and that did not come with it. */
  needs: string[];
  /** The same application in the format asked for; not there if something is wrong. */
  document?: string | null;
}

export interface Taint {
  key: string;
  value?: string;
  effect: string;
}

export interface Amounts {
  cpu_millis?: number;
  memory_bytes?: number;
  storage_bytes?: number;
  pids?: number;
}

/** What operators say of a node; everything absent is as its agent tells it. */
export interface NodeSettings {
  labels?: Record<string, string>;
  taints?: Taint[];
  overcommit_cpu_percent?: number | null;
  overcommit_memory_percent?: number | null;
  /** Kept from placement, for the system itself. */
  system?: Amounts;
  /** 0: no limit. */
  max_instances?: number;
  /** 0: not counted. */
  bandwidth_kbps?: number;
  /** Room that only one space may use. */
  reserved?: { space: string; amounts: Amounts }[];
  /** Always to be there; pinned by digest. */
  images?: string[];
}

/** A condition on a node's attribute: `node.name`, `node.arch`, `node.os`, `node.zone`, `node.labels.<label>`. */
export interface Part {
  attribute: string;
  operator: string;
  values?: string[];
  /** 1 to 100, for what is preferred. */
  weight?: number;
}

export const WEIGHTS = ['spread', 'pack', 'load', 'even', 'image', 'prefer'] as const;

/** What counts for all workloads of a space beside their own rules; absent weights are the platform's. */
export type SpaceRules = { [weight in (typeof WEIGHTS)[number]]?: number | null } & {
  most_priority?: number | null;
  required?: Part[];
  preferred?: Part[];
  /** Rules in CEL. */
  expressions?: { where?: string; score?: string }[];
  tolerated?: string[];
  external?: { url: string; deadline_ms?: number; required?: boolean } | null;
  /** The Kubernetes cluster that its workloads run on; the nodes with agents if none. */
  cluster?: string | null;
  /** Several of them, instead. */
  clusters?: Fleet | null;
  /** Every node fetches the images of its applications ahead. */
  prepull?: boolean;
  /** What is watched for in its instances, and what follows. */
  guard?: Guard | null;
};

/** Shown this once. */
export interface JoinToken {
  id: string;
  node?: string | null;
  secret: string;
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
  settings?: NodeSettings;
  /** Of what cannot be read of it. */
  problem?: string | null;
  instances: number;
  reserved_cpu_millis: number;
  reserved_memory_bytes: number;
  joined_at: string;
  /** How the images stand that it fetches ahead, by name: waiting, pulling, present, failed. */
  images?: Record<string, { state: string; reason: string }>;
}

export interface DeployBody {
  name: string;
  format: Format;
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
  /** What going back would do; nothing is changed. */
  tryRollback: (app: string, revision: number) => post<ChangePreview>(`${app}/rollback`, { revision }, { dry_run: true }),
  remove: (app: string) => remove(app),
  tryRemove: (app: string) => remove<ChangePreview>(withQuery(app, { dry_run: true })),
  /** From one revision to another, one line each. */
  diff: (app: string, from: number, to: number) => get<{ diff: string[] }>(`${app}/diff`, { from, to }),
  exported: (app: string, format: Format, revision?: number) => get<{ format: Format; document: string }>(`${app}/export`, { format, revision }),
  /** Whether a document can be deployed, and the same application in another format. */
  check: (org: string, project: string, space: string, body: { name: string; format: Format; document: string; to?: Format; values?: Record<string, string> }) =>
    post<Checked>(`${path('orgs', org, 'projects', project, 'spaces', space)}/documents`, body),
  rules: (org: string, project: string, space: string) => `${path('orgs', org, 'projects', project, 'spaces', space)}/placement`,
  /** As they are now, changed; refused if somebody was faster. */
  changeRules: async (url: string, change: (rules: SpaceRules) => SpaceRules) => {
    const { value, etag } = await getTagged<SpaceRules>(url);
    return putTagged<SpaceRules>(url, change(value), etag);
  },
  nodeSettings: (node: string) => getTagged<NodeSettings>(`${path('nodes', node)}/settings`),
  setNode: (node: string, settings: NodeSettings, etag: string | null) => putTagged<NodeSettings>(`${path('nodes', node)}/settings`, settings, etag),
  /** With `force` also one that has instances. The platform revokes its certificates by itself. */
  removeNode: (node: string, force: boolean) => remove(withQuery(path('nodes', node), { force })),
  joinToken: (node: string | null, expires_in_minutes: number) => post<JoinToken>(path('node-join-tokens'), { node, expires_in_minutes }),
  /** One that was removed may attach again. */
  admitNode: (node: string) => post(`${path('nodes', node)}/admit`, {}),
  nodeAct: (node: string, verb: 'cordon' | 'uncordon' | 'drain') => post(`${path('nodes', node)}/${verb}`, {}),
};
