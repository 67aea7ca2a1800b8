// Configs and secrets that a space keeps for its applications.

import { getTagged, path, post, putTagged, remove, withQuery } from './http';

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

/** Which one is meant: a config may have the same name as a secret. */
type Which = Pick<Kept, 'name' | 'secret'>;

const at = (base: string, { name, secret }: Which, ...rest: string[]) => withQuery([base, ...[name, ...rest].map(encodeURIComponent)].join('/'), { secret });

export const kept = {
  of: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'configs'),
  versions: (base: string, one: Which) => at(base, one, 'versions'),
  /** The ETag of what is there. */
  tag: async (base: string, one: Which) => (await getTagged<Kept>(at(base, one))).etag,
  /** Its content says which it is. */
  set: (base: string, name: string, content: NewContent, etag: string | null) => putTagged<{ version: number; restart_needed: string[] }>(`${base}/${encodeURIComponent(name)}`, content, etag),
  rollBack: (base: string, one: Which, version: number) => post(at(base, one, 'rollback'), { version }),
  rollOut: (base: string, one: Which) => post<{ items: RolledOut[] }>(at(base, one, 'rollout'), {}),
  reveal: (base: string, one: Which, version: number, reason: string) => post<Revealed>(at(base, one, 'reveal'), { version, reason }),
  remove: (base: string, one: Which) => remove(at(base, one)),
};
