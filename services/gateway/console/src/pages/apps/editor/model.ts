// The application in our own form (`gantry.io/v1`), as the picture reads and writes it. Comments and order of the text stay.

import { isMap, parseDocument, type Document } from 'yaml';

export interface Probe {
  purpose: 'startup' | 'live' | 'ready';
  check: { kind: 'http' | 'tcp' | 'grpc' | 'command'; path?: string; port?: number; service?: string; command?: string[] };
  /** Milliseconds, or with a unit such as `5s`. */
  period_ms?: number | string;
  timeout_ms?: number | string;
  failure_threshold?: number;
}

export interface Mount {
  kind: string;
  source?: string;
  target: string;
  read_only?: boolean;
}

/** Plain numbers, or with a unit such as `250m` and `512Mi`. */
export interface Resources {
  cpu_millis?: number | string;
  memory_bytes?: number | string;
}

export interface WorkloadForm {
  kind?: string;
  replicas?: number;
  image?: string;
  command?: string[];
  args?: string[];
  env?: Record<string, string>;
  ports?: number[];
  requests?: Resources;
  limits?: Resources;
  mounts?: Mount[];
  probes?: Probe[];
  restart?: string;
  /** Variables from configurations: `<config>/<entry>`. */
  env_sources?: Record<string, string>;
  files?: { path: string; source?: string }[];
  depends_on?: Record<string, string>;
  scaling?: { min?: number; max?: number; idle_seconds?: number | string };
}

export interface RouteForm {
  host: string;
  path?: string;
  weight?: number | null;
  /** `prefix` if absent. */
  path_kind?: string;
  headers?: { name: string; value: string }[];
  queries?: { name: string; value: string }[];
  method?: string;
  rewrite?: string;
  set_headers?: Record<string, string>;
  /** The secret with certificate and key. */
  tls_secret?: string;
  /** HTTPS also without a secret: with a certificate of the platform. */
  tls?: boolean;
  plain_http?: boolean;
  timeout_ms?: number | string;
}

export interface ServiceForm {
  name: string;
  workload: string;
  port: number;
  protocol: string;
  balance?: string;
  /** What others use, if not `port`. */
  service_port?: number;
  publish?: { wanted?: number; listen?: number } | null;
  routes?: RouteForm[];
  aliases?: string[];
  headless?: boolean;
  sticky_seconds?: number | string;
  /** Who may connect from outside, and how much. */
  access?: { allow?: string[]; deny?: string[]; requests_per_second?: number; concurrent?: number };
}

export interface VolumeForm {
  size_bytes?: number | string;
  class?: string;
}

export interface Model {
  workloads: Record<string, WorkloadForm>;
  services: ServiceForm[];
  volumes: Record<string, VolumeForm>;
  configs: Record<string, { secret?: boolean; entries?: Record<string, string>; binary?: Record<string, string> }>;
  /** Names for what runs elsewhere. */
  outside?: Record<string, { address?: string; ports?: number[] }>;
}

const record = (value: unknown): Record<string, never> => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, never>) : {});
const array = (value: unknown): never[] => (Array.isArray(value) ? (value as never[]) : []);

/** Reads the text; nothing if it is no such document (yet). */
export function readModel(text: string): Model | null {
  const document = parseDocument(text);
  if (document.errors.length > 0 || !isMap(document.contents)) return null;
  const spec = record(record(document.toJS()).spec) as Record<string, unknown>;
  const workloads: Record<string, WorkloadForm> = {};
  for (const [name, one] of Object.entries(record(spec.workloads))) workloads[name] = record(one);
  const volumes: Record<string, VolumeForm> = {};
  for (const [name, one] of Object.entries(record(spec.volumes))) volumes[name] = record(one);
  const services = (array(spec.services) as ServiceForm[]).filter((one) => typeof one === 'object' && one !== null);
  return { workloads, services, volumes, configs: record(spec.configs), outside: record(spec.outside) };
}

/** What an application has beside workloads, by name. */
export function partsOf(text: string): { volumes: string[]; configs: string[] } {
  const model = readModel(text);
  return { volumes: Object.keys(model?.volumes ?? {}), configs: Object.keys(model?.configs ?? {}) };
}

export type At = (string | number)[];

/** A change of the text, which keeps what it does not touch. */
export type Edit = (document: Document) => void;

export function changed(text: string, edit: Edit): string {
  const document = parseDocument(text);
  edit(document);
  return document.toString({ lineWidth: 0 });
}

/** Stands in a new route until its own is written. */
export const HOST = 'www.example.org';

export const EMPTY = 'apiVersion: gantry.io/v1\nkind: Application\nmetadata:\n  name: application\nspec:\n  workloads: {}\n';

const empty = (value: unknown) => value === undefined || value === '' || value === null || (Array.isArray(value) && value.length === 0) || (typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0);

/** Sets one value below `spec`; what is empty is left out. */
export const set =
  (at: At, value: unknown): Edit =>
  (document) => {
    if (empty(value)) {
      if (document.hasIn(['spec', ...at])) document.deleteIn(['spec', ...at]);
      return;
    }
    // A flow `{}` grows into lines of its own.
    for (let depth = 1; depth <= at.length; depth += 1) {
      const above = document.getIn(['spec', ...at.slice(0, depth)], true) as { flow?: boolean; items?: unknown[] } | undefined;
      if (above?.flow && above.items?.length === 0) above.flow = false;
    }
    document.setIn(['spec', ...at], document.createNode(value));
  };

export const both =
  (...edits: Edit[]): Edit =>
  (document) => {
    for (const edit of edits) edit(document);
  };

/** A name that is not taken yet: `web`, `web-2`, ... */
export function freeName(wanted: string, taken: string[]): string {
  let name = wanted;
  for (let number = 2; taken.includes(name); number += 1) name = `${wanted}-${number}`;
  return name;
}

export function addWorkload(model: Model): { edit: Edit; id: string } {
  const name = freeName('web', Object.keys(model.workloads));
  return { edit: set(['workloads', name], { image: 'nginx:stable', replicas: 1 }), id: `w:${name}` };
}

export function addVolume(model: Model): { edit: Edit; id: string } {
  const name = freeName('data', Object.keys(model.volumes));
  // An empty one is a volume, too.
  const edit: Edit = (document) => {
    set(['volumes', name], { size_bytes: '1Gi' })(document);
  };
  return { edit, id: `v:${name}` };
}

export function addService(model: Model): { edit: Edit; id: string } {
  const workload = Object.keys(model.workloads).find((one) => !model.services.some((service) => service.workload === one)) ?? Object.keys(model.workloads)[0] ?? 'web';
  const name = freeName(workload, model.services.map((one) => one.name));
  const port = model.workloads[workload]?.ports?.[0] ?? 8080;
  return { edit: set(['services'], [...model.services, { name, workload, port, protocol: 'http' }]), id: `s:${model.services.length}` };
}

export function addRoute(model: Model, service = 0): { edit: Edit; id: string } {
  const of = model.services[service];
  if (!of) {
    const added = addService(model);
    const index = model.services.length;
    return { edit: both(added.edit, set(['services', index, 'routes'], [{ host: HOST, path: '/' }])), id: `r:${index}:0` };
  }
  const routes = of.routes ?? [];
  return { edit: set(['services', service, 'routes'], [...routes, { host: HOST, path: '/' }]), id: `r:${service}:${routes.length}` };
}

/** A new name for a workload, also where others name it. */
export function renameWorkload(model: Model, from: string, to: string): Edit {
  return (document) => {
    const node = document.getIn(['spec', 'workloads', from], true);
    document.deleteIn(['spec', 'workloads', from]);
    document.setIn(['spec', 'workloads', to], node);
    model.services.forEach((service, index) => {
      if (service.workload === from) document.setIn(['spec', 'services', index, 'workload'], to);
    });
    for (const [name, other] of Object.entries(model.workloads)) {
      const condition = other.depends_on?.[from];
      if (condition === undefined) continue;
      const at = ['spec', 'workloads', name === from ? to : name, 'depends_on'];
      document.deleteIn([...at, from]);
      document.setIn([...at, to], condition);
    }
  };
}

export function renameVolume(model: Model, from: string, to: string): Edit {
  return (document) => {
    const node = document.getIn(['spec', 'volumes', from], true);
    document.deleteIn(['spec', 'volumes', from]);
    document.setIn(['spec', 'volumes', to], node);
    for (const [name, one] of Object.entries(model.workloads)) {
      one.mounts?.forEach((mount, index) => {
        if (mount.kind === 'volume' && mount.source === from) document.setIn(['spec', 'workloads', name, 'mounts', index, 'source'], to);
      });
    }
  };
}

/** Takes a box out, with whatever names it. */
export function without(model: Model, id: string): Edit {
  const [kind, ...rest] = id.split(':');
  const name = rest.join(':');
  if (kind === 'w') {
    return both(
      set(['workloads', name], undefined),
      ...Object.entries(model.workloads).flatMap(([other, one]) => (one.depends_on?.[name] === undefined ? [] : [set(['workloads', other, 'depends_on'], omit(one.depends_on, name))])),
      set(['services'], model.services.filter((one) => one.workload !== name)),
    );
  }
  if (kind === 'v') {
    return both(
      set(['volumes', name], undefined),
      ...Object.entries(model.workloads).flatMap(([other, one]) => {
        const mounts = (one.mounts ?? []).filter((mount) => !(mount.kind === 'volume' && mount.source === name));
        return mounts.length === (one.mounts ?? []).length ? [] : [set(['workloads', other, 'mounts'], mounts)];
      }),
    );
  }
  const service = Number(rest[0]);
  if (kind === 's') return set(['services'], model.services.filter((_, index) => index !== service));
  return set(['services', service, 'routes'], (model.services[service]?.routes ?? []).filter((_, index) => index !== Number(rest[1])));
}

export function omit<T>(map: Record<string, T>, key: string): Record<string, T> {
  return Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));
}

/** Draws an arrow; nothing where there can be none. */
export function connect(model: Model, from: string, to: string): Edit | null {
  if (from === to) return null;
  const [a, ...fromRest] = from.split(':');
  const [b, ...toRest] = to.split(':');
  const [source, target] = [fromRest.join(':'), toRest.join(':')];
  if (a === 'w' && b === 'w') return dependsOn(model, target, source) ? null : set(['workloads', source, 'depends_on', target], 'started');
  if ((a === 'w' && b === 'v') || (a === 'v' && b === 'w')) {
    const [workload, volume] = a === 'w' ? [source, target] : [target, source];
    const mounts = model.workloads[workload]?.mounts ?? [];
    if (mounts.some((mount) => mount.source === volume)) return null;
    return set(['workloads', workload, 'mounts'], [...mounts, { kind: 'volume', source: volume, target: `/${volume}` }]);
  }
  if (a === 's' && b === 'w') return set(['services', Number(source), 'workload'], target);
  if (a === 'r' && b === 's') {
    const [service, index] = fromRest.map(Number) as [number, number];
    const moved = model.services[service]?.routes?.[index];
    if (!moved || service === Number(target)) return null;
    return both(without(model, from), set(['services', Number(target), 'routes'], [...(model.services[Number(target)]?.routes ?? []), moved]));
  }
  return null;
}

/** Whether `one` waits for `other`, directly or through others: an arrow back would be a circle. */
function dependsOn(model: Model, one: string, other: string, seen = new Set<string>()): boolean {
  if (seen.has(one)) return false;
  seen.add(one);
  return Object.keys(model.workloads[one]?.depends_on ?? {}).some((next) => next === other || dependsOn(model, next, other, seen));
}
