// Identity: how an organisation's sign-in pages look.

import { getTagged, path, put, putTagged, remove, type Tagged } from './http';

export interface Look {
  title?: string;
  accent?: string;
  accent_dark?: string;
  support?: string;
  notice_en?: string;
  notice_zh?: string;
  privacy_url?: string;
  terms_url?: string;
}

export interface Logo {
  media_type: string;
  width: number;
  height: number;
  size_bytes: number;
  /** Where browsers get it. */
  url: string;
}

export interface Branding extends Look {
  logo?: Logo;
}

const at = (org: string) => path('orgs', org, 'branding');
const logo = (org: string) => path('orgs', org, 'branding', 'logo');

export const branding = {
  read: (org: string): Promise<Tagged<Branding>> => getTagged<Branding>(at(org)),
  put: (org: string, body: Look, etag: string | null) => putTagged<Branding>(at(org), body, etag),
  reset: (org: string) => remove(at(org)),
  putLogo: (org: string, content: string) => put<Branding>(logo(org), { content }),
  removeLogo: (org: string) => remove(logo(org)),
};

/** A file in base64, as the API takes it. */
export async function base64(file: Blob): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
