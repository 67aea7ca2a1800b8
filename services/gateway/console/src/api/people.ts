// Identity: users of the platform, teams, roles, service accounts, and who may do what.

import { patch, path, post, put, remove } from './http';

export interface Account {
  id: string;
  username: string;
  email: string;
  display_name: string;
  state: 'active' | 'suspended';
  must_change_password: boolean;
  created_at: string;
}

export interface Team {
  id: string;
  name: string;
  display_name: string;
  /** The team above it. */
  parent: string | null;
  created_at: string;
}

export interface TeamMember {
  subject: string;
  name: string;
  added_at: string;
}

export interface RoleView {
  id: string;
  name: string;
  built_in: boolean;
  description: string;
  permissions: string[];
}

export interface Permission {
  name: string;
  area: string;
  description: string;
}

export interface ServiceAccount {
  id: string;
  name: string;
  description: string;
  state: 'active' | 'suspended';
  created_at: string;
}

export interface Key {
  id: string;
  name: string;
  hint: string;
  expires_at: string;
  last_used_at: string | null;
}

export interface MatrixRow {
  subject: string;
  name: string;
  permissions: string[];
}

export const people = {
  users: path('users'),
  createUser: (body: { username: string; email: string; display_name?: string }) => post<Account>(path('users'), body),
  suspend: (id: string, reason: string) => patch<Account>(path('users', id), { suspended: true, reason }),
  resume: (id: string) => patch<Account>(path('users', id), { suspended: false }),
  requireReset: (id: string) => post(path('users', id, 'require-password-reset'), {}),
  teams: (org: string) => path('orgs', org, 'teams'),
  members: (org: string, team: string) => path('orgs', org, 'teams', team, 'members'),
  createTeam: (org: string, body: { name: string; parent?: string }) => post<Team>(path('orgs', org, 'teams'), body),
  deleteTeam: (org: string, team: string) => remove(path('orgs', org, 'teams', team)),
  putMember: (org: string, team: string, subject: string) => put(path('orgs', org, 'teams', team, 'members', subject), {}),
  removeMember: (org: string, team: string, subject: string) => remove(path('orgs', org, 'teams', team, 'members', subject)),
  roles: path('roles'),
  permissions: path('permissions'),
  createRole: (body: { name: string; org: string; description?: string; permissions: string[] }) => post<RoleView>(path('roles'), body),
  deleteRole: (id: string) => remove(path('roles', id)),
  accounts: (org: string) => path('orgs', org, 'service-accounts'),
  createAccount: (org: string, body: { name: string; description?: string }) => post<ServiceAccount>(path('orgs', org, 'service-accounts'), body),
  deleteAccount: (org: string, name: string) => remove(path('orgs', org, 'service-accounts', name)),
  keys: (org: string, name: string) => path('orgs', org, 'service-accounts', name, 'keys'),
  createKey: (org: string, name: string) => post<Key & { secret: string }>(path('orgs', org, 'service-accounts', name, 'keys'), {}),
  revokeKey: (org: string, name: string, id: string) => remove(path('orgs', org, 'service-accounts', name, 'keys', id)),
  matrix: path('rights', 'matrix'),
};
