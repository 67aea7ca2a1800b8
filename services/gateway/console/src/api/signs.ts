// Scheduler: signs of an intrusion in instances, and what a space says of them.

import { path, post } from './http';

/** What is looked for: programs that are not of the image, rights that were not given, connections that the space does not allow. */
export const SIGN_KINDS = ['program', 'privilege', 'connection'] as const;

/** What follows from one. */
export const SIGN_ACTIONS = ['report', 'restart', 'stop', 'quarantine', 'none'] as const;
export type SignAction = (typeof SIGN_ACTIONS)[number];

/** That somebody has looked into one. */
export interface Acknowledged {
  at: string;
  /** `user:<id>` */
  by: string;
  reason: string;
}

export interface Sign {
  number: number;
  at: string;
  app: string;
  instance: string;
  node: string;
  /** `main`, or a further container's name. */
  container: string;
  sign: string;
  /** One sentence for a person. */
  detail: string;
  action: string;
  /** Not there while it is open. */
  acknowledged?: Acknowledged | null;
}

/** Part of a space's placement rules. */
export interface Guard {
  /** Reported if empty. */
  action?: string;
  /** Only `egress` can be reached, beside the services of the space. */
  closed?: boolean;
  egress?: { network: string; port?: number }[];
  /** Expected though they are not of the image; a folder ends with a slash. */
  programs?: string[];
}

export const signs = {
  ofSpace: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'signs'),
  ofApp: (app: string) => `${app}/signs`,
  acknowledge: (org: string, project: string, space: string, number: number, reason: string) => post<Sign>(path('orgs', org, 'projects', project, 'spaces', space, 'signs', number, 'acknowledge'), { reason }),
};
