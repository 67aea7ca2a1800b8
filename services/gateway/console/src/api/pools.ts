// Scheduler: pools of public addresses, which services of applications are given addresses from.

import { path, put, remove } from './http';

export interface Claim {
  address: string;
  /** `<org>/<project>/<space>/<application>` */
  app: string;
  /** The node that has it now. */
  node?: string | null;
}

export interface PoolSettings {
  /** Networks, ranges and addresses. */
  addresses: string[];
  /** By name, one that is deleted by its id; empty: all. */
  orgs: string[];
}

export interface Pool extends PoolSettings {
  name: string;
  size: number;
  free: number;
  claims: Claim[];
}

export const pools = {
  all: path('address-pools'),
  set: (name: string, settings: PoolSettings) => put<Pool>(path('address-pools', name), settings),
  remove: (name: string) => remove(path('address-pools', name)),
};

/** The parts of where an application is; nothing for what is none. */
export function placeOfApp(app: string): [string, string, string, string] | null {
  const parts = app.split('/');
  return parts.length === 4 ? (parts as [string, string, string, string]) : null;
}

/** One or several in a line, parted by commas or spaces; a range may have spaces around its dash. */
export function addressesOf(text: string | undefined): string[] {
  return (text ?? '')
    .replaceAll(/\s*-\s*/g, '-')
    .split(/[\s,]+/)
    .filter((one) => one !== '');
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** An organisation that is deleted has no name any more, only its id. */
export const isDeleted = (org: string) => ID.test(org);
