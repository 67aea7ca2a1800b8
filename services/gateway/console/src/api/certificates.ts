// Identity: certificates that people sign in with, and the authorities that an organisation trusts for them.

import { path, post, put, remove } from './http';

export interface Certificate {
  id: string;
  label: string;
  subject: string;
  issuer: string;
  sha256: string;
  /** `name`: its successors count as well. */
  by: 'certificate' | 'name';
  bound_at: string;
  expires_at: string;
}

export interface Authority {
  id: string;
  name: string;
  pem: string;
  trusted_at: string;
  /** None where nobody looks at its list of revoked certificates. */
  revocation?: Revocation | null;
}

export interface Revocation {
  /** None if the list is given by hand. */
  url?: string | null;
  when_stale: 'refuse' | 'accept';
  fresh: boolean;
  next_update?: string | null;
  revoked?: number | null;
  fault?: string | null;
}

export interface NewRevocation {
  url?: string;
  list?: string;
  when_stale: 'refuse' | 'accept';
}

export const certificates = {
  mine: path('me', 'certificates'),
  remove: (id: string) => remove(path('me', 'certificates', id)),
  authorities: (org: string) => path('orgs', org, 'certificate-authorities'),
  trust: (org: string, body: { name: string; pem: string }) => post<Authority>(path('orgs', org, 'certificate-authorities'), body),
  setRevocation: (org: string, id: string, body: NewRevocation) => put<Authority>(path('orgs', org, 'certificate-authorities', id, 'revocation'), body),
  fetchRevocation: (org: string, id: string) => post<Authority>(path('orgs', org, 'certificate-authorities', id, 'revocation', 'fetches'), {}),
  removeRevocation: (org: string, id: string) => remove(path('orgs', org, 'certificate-authorities', id, 'revocation')),
  distrust: (org: string, id: string) => remove(path('orgs', org, 'certificate-authorities', id)),
};
