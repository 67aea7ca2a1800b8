// Scheduler: what can be called by a name in a space, and registering what runs elsewhere.

import { path, put, remove } from './http';

export interface Registration {
  /** A host name, which the nodes look up, or an address. */
  address: string;
  ports: number[];
  reason?: string;
}

const all = (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'services');

export const services = {
  all,
  register: (of: string, name: string, what: Registration) => put<unknown>(`${of}/${encodeURIComponent(name)}`, what),
  deregister: (of: string, name: string) => remove(`${of}/${encodeURIComponent(name)}`),
};

const isPort = (one: string) => /^\d{1,5}$/.test(one) && Number(one) > 0 && Number(one) < 65_536;

/** Whole numbers of 1 to 65535, parted by commas or spaces; nothing if one is none. */
export function portsOf(text: string | undefined): number[] | null {
  const ports = (text ?? '').split(/[\s,]+/).filter((one) => one !== '');
  return ports.every(isPort) ? [...new Set(ports.map(Number))].toSorted((a, b) => a - b) : null;
}
