// Configs and secrets that a space keeps for its applications.

import { getTagged, path, post, putTagged, remove } from './http';

export interface Use {
  app: string;
  revision: number;
  /** The version that its revision is tied to. */
  version: number;
  variables: boolean;
  files: boolean;
  /** The version that its files have. */
  files_version: number;
  /** It has the newest version only with a new revision. */
  restart_needed: boolean;
}

export interface Kept {
  name: string;
  secret: boolean;
  immutable: boolean;
  version: number;
  fingerprint: string;
  keys: string[];
  bytes: number;
  used_by: Use[];
  created_at: string;
  changed_at: string;
  changed_by: string;
}

export interface KeptVersion {
  version: number;
  fingerprint: string;
  keys: string[];
  bytes: number;
  reason: string;
  /** The version whose content came back. */
  from?: number | null;
  author: string;
  at: string;
}

export interface Revealed {
  name: string;
  version: number;
  entries: Record<string, string>;
  /** Base64 of what is no text. */
  binary: Record<string, string>;
}

export interface RolledOut {
  app: string;
  revision: number;
  changed: boolean;
  problem?: string | null;
}

export interface NewContent {
  secret: boolean;
  entries: Record<string, string>;
  merge: boolean;
  remove: string[];
  immutable: boolean;
  reason: string;
}

const at = (base: string, name: string, ...rest: string[]) => [base, ...[name, ...rest].map(encodeURIComponent)].join('/');

export const kept = {
  of: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'configs'),
  versions: (base: string, name: string) => at(base, name, 'versions'),
  /** The ETag of what is there. */
  tag: async (base: string, name: string) => (await getTagged<Kept>(at(base, name))).etag,
  set: (base: string, name: string, content: NewContent, etag: string | null) => putTagged<{ version: number; restart_needed: string[] }>(at(base, name), content, etag),
  rollBack: (base: string, name: string, version: number) => post(at(base, name, 'rollback'), { version }),
  rollOut: (base: string, name: string) => post<{ items: RolledOut[] }>(at(base, name, 'rollout'), {}),
  reveal: (base: string, name: string, version: number, reason: string) => post<Revealed>(at(base, name, 'reveal'), { version, reason }),
  remove: (base: string, name: string) => remove(at(base, name)),
};
