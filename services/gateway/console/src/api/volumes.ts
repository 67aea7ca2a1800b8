// Volumes of a space, copies of them, and what one can reach inside of an instance.

import { path, post, remove, withQuery, type Query } from './http';

export interface Snapshot {
  name: string;
  /** Seconds since 1970. */
  at_unix: number;
  used_bytes: number;
}

export interface Volume {
  name: string;
  node: string;
  app: string;
  workload: string;
  /** 0: no limit. */
  size_bytes: number;
  used_bytes: number;
  in_use: boolean;
  /** Its application is gone. */
  orphaned: boolean;
  snapshots: Snapshot[];
}

export interface Volumes {
  items: Volume[];
  /** Nodes that did not answer: theirs are not listed. */
  unreachable: string[];
}

export interface Backup {
  id: string;
  volume: string;
  bytes: number;
  /** Seconds since 1970. */
  at_unix: number;
  by: string;
}

export interface CopyTo {
  app: string;
  /** As the application's document names it. */
  volume: string;
  /** Of a stateful workload: which instance's. */
  number?: number | null;
  /** Beside the other if there is none. */
  node?: string | null;
}

export interface Process {
  pid: number;
  parent: number;
  user: number;
  state: string;
  cpu_millis: number;
  memory_bytes: number;
  running_seconds: number;
  command: string;
}

const volumeAt = (base: string, one: Volume, ...rest: string[]) => withQuery([base, ...[one.name, ...rest].map(encodeURIComponent)].join('/'), { node: one.node });

export const volumes = {
  of: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'volumes'),
  remove: (base: string, one: Volume) => remove(volumeAt(base, one)),
  snapshot: (base: string, one: Volume, snapshot: string) => post(volumeAt(base, one, 'snapshots'), { snapshot }),
  removeSnapshot: (base: string, one: Volume, snapshot: string) => remove(volumeAt(base, one, 'snapshots', snapshot)),
  rollback: (base: string, one: Volume, snapshot: string) => post(volumeAt(base, one, 'rollback'), { snapshot }),
  /** Into a volume of another application, whose content is replaced. */
  copy: (base: string, one: Volume, to: CopyTo) => post<{ volume: string; node: string; bytes: number }>(volumeAt(base, one, 'copies'), to),
  backups: (base: string, one: Volume) => `${base}/${encodeURIComponent(one.name)}/backups`,
  backUp: (base: string, one: Volume) => post<Backup>(volumeAt(base, one, 'backups')),
  restore: (base: string, one: Volume, backup: string) => post(volumeAt(base, one, 'restore'), { backup }),
  removeBackup: (base: string, one: Volume, backup: string) => remove(`${volumes.backups(base, one)}/${encodeURIComponent(backup)}`),
};

/** A container of an instance; its main one if none is named. */
export interface Container {
  app: string;
  instance: string;
  container?: string;
}

const of = ({ app, instance }: Container, ...rest: string[]) => [app, 'instances', encodeURIComponent(instance), ...rest].join('/');
/** A WebSocket. */
const socket = (at: Container, what: string, query: Query) => withQuery(`${location.origin.replace(/^http/, 'ws')}${of(at, what)}`, { ...query, container: at.container });

export const inside = {
  processes: (at: Container) => withQuery(of(at, 'processes'), { container: at.container }),
  signal: (at: Container, pid: number, signal: string) => post(withQuery(of(at, 'processes', String(pid), 'signal'), { container: at.container }), { signal }),
  /** It goes on at the node as it is; gives the instance that does. */
  migrate: (at: Container, node: string) => post<{ instance: string }>(of(at, 'migrate'), { node }),
  /** Channels are numbered as `v5.channel.k8s.io` has them. */
  exec: (at: Container, command: string[], tty = false) => socket(at, 'exec', { command: JSON.stringify(command), stdin: true, ...(tty ? { tty } : {}) }),
  /** A file or folder out of it, or files below a folder of it. */
  file: (at: Container, way: 'download' | 'upload', where: string) => socket(at, way, { path: where }),
};
