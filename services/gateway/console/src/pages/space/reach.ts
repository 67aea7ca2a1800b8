// What can be reached in a space, from what its applications are made of: services, routes, names for what runs elsewhere.

import type { Instance } from '../../api/scheduler';
import type { RouteForm, ServiceForm } from '../apps/editor/model';
import type { SpaceApp } from '../nodes/useSpaceApps';

/** `awake`: it sleeps when nobody asks; `asleep`: the next request wakes it. */
export type Sleep = 'never' | 'awake' | 'asleep';

export interface NetService {
  key: string;
  app: string;
  name: string;
  /** Names within the space; nothing where it has no port. */
  inside: string[];
  port: number;
  protocol: string;
  balance: string;
  sticky: string;
  workload: string;
  ready: number;
  wanted: number;
  sleep: Sleep;
  /** Seconds without a request until it sleeps. */
  idle: number | string;
  stopped: boolean;
  /** From outside. */
  addresses: { url: string; link: boolean }[];
  instances: Instance[];
}

export interface NetRoute {
  key: string;
  app: string;
  service: string;
  host: string;
  path: string;
  weight: number | null;
  tls: string;
  /** HTTPS with a certificate of the platform. */
  own: boolean;
  /** What else it asks for or sets: name of the field, value. */
  rules: [string, string][];
}

export interface NetOutside {
  key: string;
  app: string;
  name: string;
  address: string;
  ports: number[];
  /** Registered by itself: its application is nothing but the name. */
  registered: boolean;
}

const DEFAULT_IDLE = 300;

function sleepOf({ app, model }: SpaceApp, workload: string): { sleep: Sleep; idle: number | string } {
  const scaling = model?.workloads[workload]?.scaling;
  const idle = scaling?.idle_seconds || DEFAULT_IDLE;
  if (scaling?.min !== 0) return { sleep: 'never', idle };
  const wanted = app.workloads.find((one) => one.name === workload)?.replicas ?? 0;
  return { sleep: wanted === 0 && app.state !== 'stopped' ? 'asleep' : 'awake', idle };
}

function insideOf(app: string, service: ServiceForm): string[] {
  const port = service.service_port || service.port;
  if (!(port > 0)) return [];
  return [`${service.name}.${app}:${port}`, ...(service.aliases ?? []).map((alias) => `${alias}:${port}`)];
}

export function netServices(apps: SpaceApp[]): NetService[] {
  return apps.flatMap((of) => {
    const { app, instances, model } = of;
    // Without a port it has no name, and nothing reaches it.
    return (model?.services ?? []).flatMap((service, index) => {
      if (!(service.port > 0) && !service.headless) return [];
      const workload = app.workloads.find((one) => one.name === service.workload);
      const urls = new Map(app.endpoints.filter((one) => one.service === service.name).map((one) => [one.url, { url: one.url, link: one.protocol === 'http' }]));
      return [{
        key: `${app.name}/${index}`,
        app: app.name,
        name: service.name,
        inside: insideOf(app.name, service),
        port: service.port,
        protocol: service.protocol,
        balance: service.headless ? 'headless' : (service.balance ?? 'roundrobin'),
        sticky: service.sticky_seconds ? String(service.sticky_seconds) : '',
        workload: service.workload,
        ready: workload?.ready ?? 0,
        wanted: workload?.replicas ?? 0,
        ...sleepOf(of, service.workload),
        stopped: app.state === 'stopped',
        addresses: [...urls.values()],
        instances: instances.filter((one) => one.workload === service.workload && !one.ended_at),
      }];
    });
  });
}

const SHOWN = new Set(['host', 'path', 'weight', 'tls_secret', 'tls']);

/** Everything else that a route says, also what this console does not know yet. */
function rulesOf(route: RouteForm): [string, string][] {
  return Object.entries(route)
    .filter(([field, value]) => !SHOWN.has(field) && value !== null && value !== '' && value !== 0 && value !== false && !(field === 'path_kind' && value === 'prefix'))
    .map(([field, value]): [string, string] => {
      if (Array.isArray(value)) return [field, value.map((one) => (typeof one === 'object' && one !== null ? Object.values(one as object).join('=') : String(one))).join(', ')];
      if (typeof value === 'object') return [field, Object.entries(value as object).map(([name, each]) => `${name}=${String(each)}`).join(', ')];
      return [field, String(value)];
    })
    .filter(([, value]) => value !== '');
}

export function netRoutes(apps: SpaceApp[]): NetRoute[] {
  return apps.flatMap(({ app, model }) =>
    (model?.services ?? []).flatMap((service, at) =>
      (service.routes ?? []).map((route, index) => ({ key: `${app.name}/${at}/${index}`, app: app.name, service: service.name, host: route.host || '*', path: route.path ?? '/', weight: route.weight ?? null, tls: route.tls_secret ?? '', own: Boolean(route.tls) && !route.tls_secret, rules: rulesOf(route) })),
    ),
  );
}

/** Of the requests that several services' routes match; none where a route is alone. */
export function shareOf(route: NetRoute, all: NetRoute[]): number | null {
  const same = all.filter((one) => one.host === route.host && one.path === route.path);
  if (same.length < 2) return null;
  const weight = (one: NetRoute) => one.weight ?? 1;
  const sum = same.reduce((total, one) => total + weight(one), 0);
  return sum === 0 ? 0 : Math.round((weight(route) / sum) * 100);
}

export function netOutside(apps: SpaceApp[]): NetOutside[] {
  return apps.flatMap(({ app, model }) => Object.entries(model?.outside ?? {}).map(([name, one], _, all) => ({ key: `${app.name}/${name}`, app: app.name, name, address: one.address ?? '', ports: one.ports ?? [], registered: name === app.name && all.length === 1 && app.workloads.length === 0 })));
}
