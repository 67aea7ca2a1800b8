// Directories and providers that people sign in by.

import { path, post, putTagged, remove } from './http';

export interface Connection {
  ldap?: { flavour?: 'open_ldap' | 'active_directory'; servers: string[]; bind_dn: string; user_base: string; group_base?: string };
  oidc?: { issuer: string; client_id: string; scopes?: string[] };
  oauth2?: { preset: string; client_id: string; agent_id?: string };
}

export interface Settings {
  display_name?: string;
  enabled?: boolean;
  domains?: string[];
  allow_private?: boolean;
  ca_pem?: string;
  sync_minutes?: number;
  connection: Connection;
}

export interface Upstream {
  id: string;
  name: string;
  org: string | null;
  settings: Settings;
  has_secret: boolean;
  version: number;
  changed_at: string;
}

export interface NewUpstream {
  name: string;
  /** Whose it is; the platform's if not said. */
  org?: string;
  settings: Settings;
  secret?: string;
}

export interface Step {
  step: string;
  server: string;
  ok: boolean;
  detail: string;
}

export interface Trial {
  ok: boolean;
  steps: Step[];
}

export interface Sync {
  id: string;
  extent: string;
  result: 'running' | 'ok' | 'failed';
  started_at: string;
  report: { seen: number; created: number; changed: number; suspended: number; skipped: number; milliseconds: number; remarks: string[]; fault: string | null };
}

export const upstreams = {
  all: path('upstreams'),
  syncs: (name: string) => path('upstreams', name, 'syncs'),
  create: (body: NewUpstream) => post<Upstream>(path('upstreams'), body),
  /** Without keeping them. */
  tryOut: (body: { org?: string; settings: Settings; secret?: string }) => post<Trial>(path('upstream-trials'), body),
  /** Refused when somebody else changed it since it was read. */
  change: (of: Upstream, settings: Settings) => putTagged(path('upstreams', of.name), { settings }, `"${of.version}"`),
  remove: (name: string) => remove(path('upstreams', name)),
  test: (name: string) => post<Trial>(path('upstreams', name, 'trials'), {}),
  sync: (name: string) => post<Sync>(path('upstreams', name, 'syncs'), {}),
};

export function kindOf(upstream: Upstream): 'ldap' | 'oidc' | 'oauth2' {
  const { connection } = upstream.settings;
  if (connection.ldap) return 'ldap';
  return connection.oidc ? 'oidc' : 'oauth2';
}

/** Networks that people sign in by; the platform knows their addresses. */
export const presets = ['github', 'gitlab', 'google', 'wecom', 'dingtalk', 'feishu'];

/** Directories are read, and providers that may be asked later. */
export function canSync(upstream: Upstream): boolean {
  const { ldap, oidc } = upstream.settings.connection;
  return ldap !== undefined || (oidc?.scopes ?? []).includes('offline_access');
}

/** One entry per line or comma. */
export function lines(text?: string): string[] {
  return (text ?? '').split(/[\n,]/).map((line) => line.trim()).filter(Boolean);
}
