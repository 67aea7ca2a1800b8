// Identity: users of the platform, teams, roles, service accounts, and who may do what.

import { patch, path, post, put, remove, send, withQuery } from './http';

export interface Account {
  id: string;
  username: string;
  email: string;
  display_name: string;
  state: 'active' | 'suspended';
  must_change_password: boolean;
  created_at: string;
}

export interface Invitation {
  id: string;
  email: string;
  role: string;
  invited_by: string;
  created_at: string;
  expires_at: string;
  /** Only in the answer that makes it. */
  link?: string | null;
}

export interface Because {
  role: string;
  scope: string;
  /** From the subject's own team to the one that is bound. */
  teams: string[];
  condition: string | null;
}

export interface Holder {
  subject: string;
  name: string;
  reasons: Because[];
}

export interface Verdict {
  allowed: boolean;
  explanation: string;
  reasons: Because[];
}

export interface ImportReport {
  dry_run: boolean;
  created: number;
  unchanged: number;
  failed: number;
  lines: { line: number; username: string; result: 'created' | 'unchanged' | 'failed'; errors: string[] }[];
}

/** What deleting an organisation takes along. */
export interface Deletion {
  projects: string[];
  spaces: number;
  members: number;
  teams: number;
  roles: number;
  service_accounts: number;
  bindings: number;
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
  /** "robot:<id>": what roles are bound to. */
  subject: string;
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

/** What still names a person, erased or not. */
export interface Remains {
  state: 'erased' | 'here';
  key: { made_at: string; destroyed_at?: string | null };
  sealed_values: number;
  readable_values: number;
  tried_values: number;
  addressed_records: number;
  log: { kind: string; events: number; sealed_values: number; readable_values: number }[];
  /** `purpose` is empty where nothing says what they are kept for. */
  tables: { table: string; column: string; rows: number; purpose: string }[];
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
  /** `parent: ''`: below none. */
  changeTeam: (org: string, team: string, body: { display_name: string; parent: string }) => patch<Team>(path('orgs', org, 'teams', team), body),
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
  createKey: (org: string, name: string, body: { name?: string; expires_in_days?: number }) => post<Key & { secret: string }>(path('orgs', org, 'service-accounts', name, 'keys'), body),
  revokeKey: (org: string, name: string, id: string) => remove(path('orgs', org, 'service-accounts', name, 'keys', id)),
  matrix: path('rights', 'matrix'),
  whoCan: path('rights', 'who-can'),
  check: (body: Record<string, string | undefined>) => post<Verdict>(path('rights', 'check'), body),
  user: (id: string) => path('users', id),
  userLinks: (id: string) => path('users', id, 'links'),
  sessions: (id: string) => path('users', id, 'sessions'),
  endSession: (id: string, session: string) => remove(path('users', id, 'sessions', session)),
  userQuota: (id: string) => path('users', id, 'quota'),
  changeUser: (id: string, body: { display_name?: string; email?: string }) => patch<Account>(path('users', id), body),
  remains: (id: string) => path('users', id, 'remains'),
  erase: (id: string) => remove(path('users', id)),
  merge: (id: string, from: string) => post(path('users', id, 'merge'), { from, confirm: from }),
  exported: (format: 'csv' | 'json') => withQuery(path('users', 'export'), { format }),
  importUsers: async (csv: string, dryRun: boolean) => {
    const answer = await send('POST', path('users', 'import'), { query: { dry_run: dryRun }, text: csv, headers: { 'content-type': 'text/csv' } });
    return (await answer.json()) as ImportReport;
  },
  deletion: (org: string) => path('orgs', org, 'deletion'),
  invitations: (org: string) => path('orgs', org, 'invitations'),
  invite: (org: string, body: { email: string; role?: string; expires_in_days?: number }) => post<Invitation>(path('orgs', org, 'invitations'), body),
  uninvite: (org: string, id: string) => remove(path('orgs', org, 'invitations', id)),
  changeRole: (id: string, body: { description?: string; permissions: string[] }) => patch<RoleView>(path('roles', id), body),
  changeAccount: (org: string, name: string, body: { suspended?: boolean; reason?: string }) => patch<ServiceAccount>(path('orgs', org, 'service-accounts', name), body),
};
