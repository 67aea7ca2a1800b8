// Volumes of a space, copies of them, and what one can reach inside of an instance.

import { path, post, remove, withQuery } from './http';

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

const at = (base: string, one: Volume, ...rest: string[]) => withQuery([base, ...[one.name, ...rest].map(encodeURIComponent)].join('/'), { node: one.node });

export const volumes = {
  of: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'volumes'),
  remove: (base: string, one: Volume) => remove(at(base, one)),
  snapshot: (base: string, one: Volume, snapshot: string) => post(at(base, one, 'snapshots'), { snapshot }),
  removeSnapshot: (base: string, one: Volume, snapshot: string) => remove(at(base, one, 'snapshots', snapshot)),
  rollback: (base: string, one: Volume, snapshot: string) => post(at(base, one, 'rollback'), { snapshot }),
  backups: (base: string, one: Volume) => `${base}/${encodeURIComponent(one.name)}/backups`,
  backUp: (base: string, one: Volume) => post<Backup>(at(base, one, 'backups')),
  restore: (base: string, one: Volume, backup: string) => post(at(base, one, 'restore'), { backup }),
  removeBackup: (base: string, one: Volume, backup: string) => remove(`${volumes.backups(base, one)}/${encodeURIComponent(backup)}`),
};

const socket = (app: string, instance: string, what: string) => `${location.origin.replace(/^http/, 'ws')}${app}/instances/${encodeURIComponent(instance)}/${what}`;

export const inside = {
  processes: (app: string, instance: string) => `${app}/instances/${encodeURIComponent(instance)}/processes`,
  signal: (app: string, instance: string, pid: number, signal: string) => post(`${inside.processes(app, instance)}/${pid}/signal`, { signal }),
  /** The address of a WebSocket; channels are numbered as `v5.channel.k8s.io` has them. */
  exec: (app: string, instance: string, command: string[], tty = false) => withQuery(socket(app, instance, 'exec'), { command: JSON.stringify(command), stdin: true, ...(tty ? { tty } : {}) }),
  /** A file or folder out of it, or files below a folder of it. */
  file: (app: string, instance: string, way: 'download' | 'upload', where: string) => withQuery(socket(app, instance, way), { path: where }),
};
