// Identity: applications that sign people in here or act by themselves (OAuth clients).

import { getTagged, path, post, putTagged, remove, type Tagged } from './http';

export interface ClientSettings {
  client_name?: string;
  enabled?: boolean;
  application_type?: string;
  grant_types?: string[];
  redirect_uris?: string[];
  post_logout_redirect_uris?: string[];
  backchannel_logout_uri?: string | null;
  scopes?: string[];
  token_endpoint_auth_method?: string;
  consent_required?: boolean;
  require_pushed_authorization_requests?: boolean;
  pkce_optional?: boolean;
  dpop_bound_access_tokens?: boolean;
  audience?: string | null;
  access_token_seconds?: number | null;
  id_token_signed_response_alg?: string;
  [more: string]: unknown;
}

export interface ClientSecret {
  id: string;
  /** Its first letters. */
  hint: string;
  created_at: string;
  expires_at: string | null;
}

export interface Client {
  id: string;
  /** None: the platform's. */
  org: string | null;
  /** It registered itself. */
  dynamic: boolean;
  /** Subject of its own tokens. */
  robot: string;
  secrets: ClientSecret[];
  settings: ClientSettings;
  created_at: string;
  changed_at: string;
}

export interface NewClient {
  id?: string;
  org?: string;
  settings: ClientSettings;
}

export const GRANTS = ['authorization_code', 'refresh_token', 'client_credentials', 'urn:ietf:params:oauth:grant-type:device_code', 'urn:ietf:params:oauth:grant-type:token-exchange'];
export const METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none'];

export const clients = {
  all: path('clients'),
  one: (id: string) => path('clients', id),
  read: (id: string): Promise<Tagged<Client>> => getTagged<Client>(path('clients', id)),
  create: (body: NewClient) => post<Client & { secret: string | null }>(path('clients'), body),
  change: (id: string, settings: ClientSettings, etag: string | null) => putTagged<Client>(path('clients', id), settings, etag),
  remove: (id: string) => remove(path('clients', id)),
  createSecret: (id: string, days?: number) => post<{ id: string; secret: string | null }>(path('clients', id, 'secrets'), { expires_in_days: days }),
  removeSecret: (id: string, secret: string) => remove(path('clients', id, 'secrets', secret)),
};
