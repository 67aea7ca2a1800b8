// Scheduler: Kubernetes clusters that applications can run on.

import { parse } from 'yaml';

import { path, post, put, remove, send, withQuery } from './http';
import type { Instance } from './scheduler';

export interface ClusterSettings {
  drift: 'show' | 'correct';
  namespace_prefix: string;
  pod_security: 'privileged' | 'baseline' | 'restricted';
  /** `<namespace>/<name>` of a Gateway; empty: routes become Ingresses. */
  gateway: string;
  ingress_class: string;
  storage_class: string;
  isolate: boolean;
  /** Namespaces that reach all pods all the same. */
  open_to?: string[];
  /** As a ResourceQuota says it: `{"requests.cpu": "20"}`. */
  space_quota: Record<string, string>;
  /** Where it is, for spaces on several clusters. */
  region?: string;
  zone?: string;
  /** Roles of people are bound in the namespaces. */
  roles?: boolean;
  /** What the cluster puts before the names of groups. */
  groups_prefix?: string;
  /** Not reached for so long it is lost. */
  grace_seconds?: number;
}

/** By looks at it again and again. */
export interface ClusterHealth {
  state: 'reached' | 'unreachable' | 'lost' | 'missing' | 'unknown';
  since?: string | null;
  problem?: string | null;
}

export const FLEET_POLICIES = ['spread', 'failover', 'duplicate'] as const;
export type FleetPolicy = (typeof FLEET_POLICIES)[number];

/** The clusters of a space, in the order in which they are preferred. */
export interface Fleet {
  policy?: FleetPolicy;
  clusters: { cluster: string; weight?: number; overrides?: Record<string, unknown> }[];
}

/** What one of several clusters is asked for. */
export interface Share {
  workload: string;
  cluster: string;
  replicas: number;
  /** When all that moves has moved. */
  target: number;
  ready: number;
  reason: string;
}

/** What one cluster would have: replicas and reasons by workload. */
export interface Prospect {
  cluster: string;
  replicas: Record<string, number>;
  reasons: Record<string, string>;
  overrides: string[];
}

export interface Cluster {
  id: string;
  name: string;
  /** None: the platform's. */
  org?: string | null;
  server: string;
  credential: string;
  credential_expires_at?: string | null;
  settings: ClusterSettings;
  health?: ClusterHealth;
  added_at: string;
  changed_at: string;
}

export const CAPABILITIES = ['gateway', 'route_timeouts', 'metrics', 'snapshots', 'autoscaling', 'default_storage_class', 'default_ingress_class', 'role_bindings', 'service_accounts'] as const;

/** What a test of the connection has found. */
export interface Tested {
  usable: boolean;
  /** What is in the way, and what to do. */
  problem?: string | null;
  version: string;
  platform: string;
  capabilities: { [one in (typeof CAPABILITIES)[number]]?: boolean };
  missing_rights: string[];
  remarks: string[];
  took_ms: number;
}

/** One of a kubeconfig, a server with a token, or the cluster that the platform itself runs on. */
export interface Access {
  kubeconfig?: string;
  context?: string;
  server?: string;
  ca_pem?: string;
  token?: string;
  in_cluster?: boolean;
}

export interface NewCluster {
  name: string;
  org?: string;
  access: Access;
  settings: Partial<ClusterSettings>;
  unchecked: boolean;
}

/** How an application stands on the cluster that it is on. */
export interface OnCluster {
  name: string;
  applied: boolean;
  problem?: string | null;
  drift: { object: string; fields: string[]; managers: string[] }[];
  /** What the cluster has said beside its answers to the last applies. */
  warnings?: string[];
}

export const clusters = {
  all: path('clusters'),
  one: (name: string) => path('clusters', name),
  add: (body: NewCluster) => post<Cluster>(clusters.all, body),
  test: (name: string) => post<Tested>(`${clusters.one(name)}/test`, {}),
  access: (name: string, access: Access) => put<Cluster>(`${clusters.one(name)}/access`, access),
  settings: (name: string, settings: ClusterSettings) => put<Cluster>(`${clusters.one(name)}/settings`, settings),
  remove: (name: string) => remove(clusters.one(name)),
  /** A service account with the least rights, for `kubectl apply`. */
  manifest: async (more: { scheduler?: boolean; roles?: boolean }) => (await send('GET', withQuery(path('cluster-manifest'), { scheduler: more.scheduler || undefined, roles: more.roles || undefined }), { headers: { accept: 'application/yaml' } })).text(),
};

/** The clusters that a space's rules name. */
export const clustersOf = (rules: { cluster?: string | null; clusters?: Fleet | null } | null): string[] => (rules?.clusters ? rules.clusters.clusters.map((one) => one.cluster) : rules?.cluster ? [rules.cluster] : []);

/** Between the name of a cluster and that of its node. */
const PARTED = '--';

/** The cluster of an instance's node; nothing for a node with an agent. */
export function clusterOf(node: string): string | null {
  const at = node.indexOf(PARTED);
  return at > 0 ? node.slice(0, at) : null;
}

export interface Kubeconfig {
  contexts: { name: string; cluster: string; server: string; user: string }[];
  current: string;
  /** Files that it names: they are on the machine it comes from. */
  files: string[];
}

const list = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter((one) => typeof one === 'object' && one !== null) : []);
const text = (value: unknown) => (typeof value === 'string' ? value : '');
const inner = (one: Record<string, unknown>, field: string) => (one[field] ?? {}) as Record<string, unknown>;
const NAMES_FILES = ['certificate-authority', 'client-certificate', 'client-key', 'tokenFile'];

/** What can be chosen in a kubeconfig; nothing if it is none. */
export function readKubeconfig(document: string): Kubeconfig | null {
  let read: unknown;
  try {
    read = parse(document);
  } catch {
    return null;
  }
  if (typeof read !== 'object' || read === null) return null;
  const config = read as Record<string, unknown>;
  const servers = new Map(list(config.clusters).map((one) => [text(one.name), text(inner(one, 'cluster').server)]));
  const contexts = list(config.contexts).map((one) => {
    const of = inner(one, 'context');
    return { name: text(one.name), cluster: text(of.cluster), server: servers.get(text(of.cluster)) ?? '', user: text(of.user) };
  });
  if (contexts.length === 0) return null;
  const parts = [...list(config.clusters).map((one) => inner(one, 'cluster')), ...list(config.users).map((one) => inner(one, 'user'))];
  const files = parts.flatMap((part) => NAMES_FILES.map((field) => text(part[field])).filter((name) => name !== ''));
  return { contexts, current: text(config['current-context']), files };
}

export interface ClusterNode {
  node: string;
  pods: number;
  running: number;
  troubled: number;
}

/** The nodes of a cluster, by what runs there. */
export function nodesOf(cluster: string, instances: Pick<Instance, 'node' | 'state' | 'ended_at'>[]): ClusterNode[] {
  const found = new Map<string, ClusterNode>();
  for (const one of instances) {
    if (one.ended_at || clusterOf(one.node) !== cluster) continue;
    const node = one.node.slice(cluster.length + PARTED.length);
    const row = found.get(node) ?? { node, pods: 0, running: 0, troubled: 0 };
    row.pods += 1;
    if (one.state === 'running') row.running += 1;
    if (one.state === 'unhealthy' || one.state === 'lost') row.troubled += 1;
    found.set(node, row);
  }
  return [...found.values()].toSorted((a, b) => a.node.localeCompare(b.node));
}
