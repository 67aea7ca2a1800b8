// Identity: certificates that people sign in with, and the authorities that an organisation trusts for them.

import { path, post, remove } from './http';

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
}

export const certificates = {
  mine: path('me', 'certificates'),
  remove: (id: string) => remove(path('me', 'certificates', id)),
  authorities: (org: string) => path('orgs', org, 'certificate-authorities'),
  trust: (org: string, body: { name: string; pem: string }) => post<Authority>(path('orgs', org, 'certificate-authorities'), body),
  distrust: (org: string, id: string) => remove(path('orgs', org, 'certificate-authorities', id)),
};
