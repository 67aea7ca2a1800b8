// Rows of a space's services and configurations, from what its applications are made of.

import type { SpaceApp } from '../nodes/useSpaceApps';

export interface ServiceRow {
  app: string;
  name: string;
  /** How other applications of the space reach it; nothing where it has no port. */
  inside: string;
  protocol: string;
  balance: string;
  workload: string;
  ready: number;
  replicas: number;
  /** From outside: published ports and routes. */
  addresses: string[];
}

export interface ConfigRow {
  app: string;
  name: string;
  secret: boolean;
  /** Names only. */
  entries: string[];
  readers: string[];
  revision: number;
}

export function servicesOf(apps: SpaceApp[]): ServiceRow[] {
  return apps.flatMap(({ app, model }) =>
    (model?.services ?? []).map((service) => {
      const workload = app.workloads.find((one) => one.name === service.workload);
      const port = service.service_port || service.port;
      return {
        app: app.name,
        name: service.name,
        inside: port > 0 ? `${service.name}.${app.name}:${port}` : '–',
        protocol: service.protocol,
        balance: service.balance ?? 'roundrobin',
        workload: service.workload,
        ready: workload?.ready ?? 0,
        replicas: workload?.replicas ?? 0,
        addresses: [...new Set(app.endpoints.filter((one) => one.service === service.name).map((one) => one.url))],
      };
    }),
  );
}

export function configsOf(apps: SpaceApp[]): ConfigRow[] {
  return apps.flatMap(({ app, model }) =>
    Object.entries(model?.configs ?? {}).map(([name, config]) => {
      const reads = (source: string | undefined) => source === name || source?.startsWith(`${name}/`) === true;
      const readers = Object.entries(model!.workloads).filter(([, one]) => Object.values(one.env_sources ?? {}).some(reads) || (one.files ?? []).some((file) => reads(file.source)));
      return { app: app.name, name, secret: config.secret ?? false, entries: [...Object.keys(config.entries ?? {}), ...Object.keys(config.binary ?? {})], readers: readers.map(([workload]) => workload), revision: app.revision };
    }),
  );
}
