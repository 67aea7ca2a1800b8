// Identity: people, organisations, projects, spaces and who may do what in them.

import { getAll, patch, path, post, put, remove, withQuery, type Page } from './http';

export interface User {
  id: string;
  username: string;
  email?: string;
  display_name?: string;
  state?: string;
}

/** Mails that are written and not sent yet. */
export interface MailState {
  configured: boolean;
  waiting: number;
  /** Of the one that was tried most often. */
  tries: number;
  next_try_at?: string | null;
  fault?: string | null;
}

export const mails = path('mails');

export type Role = 'viewer' | 'editor' | 'admin';

export interface Org {
  id: string;
  name: string;
  display_name: string;
  owner: string;
  role: Role | null;
  created_at: string;
}

export interface Project {
  id: string;
  name: string;
  public: boolean;
  role: Role | null;
  created_at: string;
}

export interface SpaceOf {
  id: string;
  name: string;
  role: Role | null;
  created_at: string;
}

export interface Member {
  user: string;
  username: string;
  display_name: string;
  role: Role | null;
  added_at: string;
}

/** When a binding counts; every part that is given must hold. */
export interface Condition {
  networks?: string[];
  factors?: string[];
  not_before?: string | null;
  not_after?: string | null;
  weekdays?: number[];
  hours?: { from: string; to: string; utc_offset_minutes?: number } | null;
}

export interface Binding {
  id: string;
  /** "user:<id>", "team:<id>" or "robot:<id>". */
  subject: string;
  name: string | null;
  /** A built-in role, or "role:<id>". */
  role: string;
  role_name: string;
  condition: Condition | null;
  scope: string;
  /** "platform", "acme", "acme/shop" or "acme/shop/test". */
  scope_name: string;
  created_at: string;
}

export interface NewBinding {
  subject: string;
  role: string;
  condition?: Condition;
  org?: string;
  project?: string;
  space?: string;
}

export const identity = {
  me: path('me'),
  orgs: path('orgs'),
  org: (org: string) => path('orgs', org),
  members: (org: string) => path('orgs', org, 'members'),
  projects: (org: string) => path('orgs', org, 'projects'),
  project: (org: string, project: string) => path('orgs', org, 'projects', project),
  spaces: (org: string, project: string) => path('orgs', org, 'projects', project, 'spaces'),
  bindings: path('bindings'),
  createOrg: (body: { name: string; display_name: string }) => post<Org>(path('orgs'), body),
  renameOrg: (org: string, displayName: string) => patch<Org>(path('orgs', org), { display_name: displayName }),
  deleteOrg: (org: string) => remove(withQuery(path('orgs', org), { confirm: org })),
  createProject: (org: string, body: { name: string; public: boolean }) => post<Project>(path('orgs', org, 'projects'), body),
  deleteProject: (org: string, project: string) => remove(path('orgs', org, 'projects', project)),
  createSpace: (org: string, project: string, body: { name: string }) => post<SpaceOf>(path('orgs', org, 'projects', project, 'spaces'), body),
  deleteSpace: (org: string, project: string, space: string) => remove(path('orgs', org, 'projects', project, 'spaces', space)),
  putMember: (org: string, user: string, role: Role) => put(path('orgs', org, 'members', user), { role }),
  removeMember: (org: string, user: string) => remove(path('orgs', org, 'members', user)),
  grant: (body: NewBinding) => post<Binding>(path('bindings'), body),
  revoke: (id: string) => remove(path('bindings', id)),
  names: async (ids: string[]): Promise<Record<string, string>> => {
    if (ids.length === 0) return {};
    const found = await post<Page<{ id: string; name: string }>>(path('principals', 'resolve'), { ids });
    return Object.fromEntries(found.items.map((item) => [item.id, item.name]));
  },
  listOrgs: () => getAll<Org>(path('orgs')),
  listProjects: (org: string) => getAll<Project>(path('orgs', org, 'projects')),
  listSpaces: (org: string, project: string) => getAll<SpaceOf>(path('orgs', org, 'projects', project, 'spaces')),
};
