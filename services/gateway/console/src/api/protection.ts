// Identity: security policies, signing keys, and the tokens by which programs and machines come in.

import { get, getTagged, path, post, putTagged, remove, withQuery, type Tagged } from './http';

export interface SecurityPolicy {
  email_domains?: string[];
  networks?: string[];
  password_history?: number | null;
  password_min_length?: number | null;
  password_min_score?: number | null;
  registration?: 'open' | 'approval' | 'closed';
  second_factor?: 'optional' | 'required' | 'passkey';
  session_hours?: number | null;
  session_idle_minutes?: number | null;
  sign_in_by?: string[];
}

export interface SigningKey {
  kid: string;
  alg: string;
  state: 'coming' | 'signing' | 'verifying';
  created_at: string;
  active_at: string;
}

export interface ProvisioningToken {
  id: string;
  name: string;
  hint: string;
  created_by: string;
  created_at: string;
  expires_at: string;
  last_used_at: string | null;
}

export interface RegistrationToken {
  id: string;
  uses_left: number;
  created_at: string;
  expires_at: string;
  token?: string | null;
}

export interface Issuer {
  id: string;
  name: string;
  settings: { issuer: string; audience?: string | null; jwks_uri?: string | null; jwks?: unknown; rules: IssuerRule[] };
  created_at: string;
}

export interface IssuerRule {
  claims: Record<string, string>;
  client?: string | null;
  service_account?: string | null;
}

export interface NodeToken {
  id: string;
  hint: string;
  /** The only node it is good for. */
  node: string | null;
  used_by: string | null;
  created_by: string;
  created_at: string;
  expires_at: string;
}

export interface NodeCertificate {
  node: string;
  serial: string;
  issued_at: string;
  expires_at: string;
  revoked_at: string | null;
  reason: string | null;
}

/** Whether the chain of hashes over the facts of security is whole. */
export interface RecordProof {
  records: number;
  whole: boolean;
  first_bad?: number | null;
}

/** What documents were applied under one name. */
export interface ConfigurationSet {
  name: string;
  items: { kind: string; name: string; org?: string | null }[];
  version: number;
  changed_by: string;
  changed_at: string;
}

const policy = (org?: string) => (org === undefined ? path('policies', 'security') : path('orgs', org, 'policies', 'security'));

export const protection = {
  readPolicy: (org?: string): Promise<Tagged<SecurityPolicy>> => getTagged<SecurityPolicy>(policy(org)),
  putPolicy: (org: string | undefined, body: SecurityPolicy, etag: string | null) => putTagged<SecurityPolicy>(policy(org), body, etag),
  verifyRecord: () => get<RecordProof>(path('security-record', 'verify')),
  sets: path('configuration-sets'),
  forgetSet: (name: string, org?: string) => remove(withQuery(path('configuration-sets', name), { org })),
  keys: path('signing-keys'),
  rotate: (body: { alg: string; after_seconds?: number; compromised?: boolean }) => post<SigningKey>(path('signing-keys'), body),
  scim: (org: string) => path('orgs', org, 'scim-tokens'),
  createScim: (org: string, body: { name: string; expires_in_days?: number }) => post<ProvisioningToken & { secret: string; base_url: string }>(path('orgs', org, 'scim-tokens'), body),
  removeScim: (org: string, id: string) => remove(path('orgs', org, 'scim-tokens', id)),
  registrations: path('client-registration-tokens'),
  createRegistration: (body: { org?: string; uses?: number; expires_in_hours?: number }) => post<RegistrationToken>(path('client-registration-tokens'), body),
  removeRegistration: (id: string, org?: string) => remove(withQuery(path('client-registration-tokens', id), { org })),
  issuers: path('trusted-issuers'),
  createIssuer: (body: { name: string; org?: string; settings: Issuer['settings'] }) => post<Issuer>(path('trusted-issuers'), body),
  removeIssuer: (id: string) => remove(path('trusted-issuers', id)),
  nodeTokens: path('node-join-tokens'),
  createNodeToken: (body: { node?: string; expires_in_minutes?: number }) => post<NodeToken & { secret: string }>(path('node-join-tokens'), body),
  removeNodeToken: (id: string) => remove(path('node-join-tokens', id)),
  certificates: path('node-certificates'),
  revokeNode: (node: string, reason: string) => remove(withQuery(path('node-certificates', node), { reason })),
};
