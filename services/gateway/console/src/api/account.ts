// Identity: what people look after themselves: profile, sessions, tokens, applications, factors.

import { patch, path, post, put, remove, withQuery } from './http';

export interface Me {
  id: string;
  subject: string;
  username: string;
  email: string;
  display_name: string;
  state: string;
  created_at: string;
  groups: string[];
  platform_admin: boolean;
}

export interface BrowserSession {
  id: string;
  /** This browser's own. */
  current: boolean;
  from: string;
  user_agent: string;
  created_at: string;
  last_seen_at: string;
  expires_at: string;
}

export interface Token {
  id: string;
  name: string;
  /** Its first letters. */
  hint: string;
  scope: string;
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
}

export interface NewToken {
  name: string;
  scopes: string[];
  expires_in_days?: number;
}

export interface Factor {
  id: string;
  kind: 'totp' | 'passkey';
  label: string;
  created_at: string;
  last_used_at: string | null;
}

export interface TotpOffer {
  pending: string;
  secret: string;
  /** `otpauth://`, for the picture. */
  uri: string;
}

export interface ConnectedApp {
  client_id: string;
  name: string;
  scope: string;
  since: string;
}

export interface Link {
  id: string;
  upstream: string;
  subject: string;
  display_name: string;
  created_at: string;
}

/** What was allowed to an application of others. */
export interface Consent {
  client: string;
  client_name: string;
  scopes: string[];
  granted_at: string;
}

export const SCOPES = ['api', 'api:read', 'registry:pull', 'registry:push'] as const;

export const account = {
  me: path('me'),
  exported: path('me', 'export'),
  change: (body: { display_name?: string; email?: string; password?: string; current_password?: string }) => patch<Me>(path('me'), body),
  erase: (username: string) => remove(withQuery(path('me'), { confirm: username })),
  sessions: path('sessions'),
  endSession: (id: string) => remove(path('sessions', id)),
  endOthers: () => remove(path('sessions')),
  tokens: path('tokens'),
  createToken: (body: NewToken) => post<Token & { secret: string }>(path('tokens'), body),
  revokeToken: (id: string) => remove(path('tokens', id)),
  applications: path('me', 'applications'),
  disconnect: (client: string) => remove(path('me', 'applications', client)),
  consents: path('me', 'consents'),
  withdraw: (client: string) => remove(path('me', 'consents', client)),
  factors: path('me', 'factors'),
  offerTotp: () => post<TotpOffer>(path('me', 'factors', 'totp')),
  addTotp: (body: { pending: string; code: string; label?: string }) => post<{ codes: string[] }>(path('me', 'factors'), body),
  removeFactor: (id: string) => remove(path('me', 'factors', id)),
  newCodes: () => post<{ codes: string[] }>(path('me', 'recovery-codes')),
  links: path('me', 'links'),
  unlink: (id: string) => remove(path('me', 'links', id)),
  lend: (user: string, minutes: number) => put(path('me', 'impersonators', user), { minutes }),
  takeBack: (user: string) => remove(path('me', 'impersonators', user)),
};
