// Registry: images of a project with their tags and scans.

import { path, remove } from './http';

export interface Scan {
  critical: number;
  high: number;
  medium: number;
  low: number;
  unknown?: number;
  packages?: number;
  database?: string;
  scanned_at?: string;
}

export interface Tag {
  tag: string;
  digest: string;
  size_bytes: number;
  platforms: string[];
  media_type?: string;
  pushed_by?: string | null;
  pushed_at?: string | null;
  scan?: Scan | null;
}

export interface ImageRepository {
  name: string;
  repository?: string;
  tags: Tag[];
  size_bytes?: number;
  updated_at?: string;
}

export const registry = {
  images: (org: string, project: string) => path('orgs', org, 'projects', project, 'images'),
  scan: (org: string, project: string, repository: string, digest: string) => `${registry.images(org, project)}/${encodeURIComponent(repository)}/${encodeURIComponent(digest)}/scan`,
  removeTag: (org: string, project: string, repository: string, tag: string) => remove(`${registry.images(org, project)}/${encodeURIComponent(repository)}/tags/${encodeURIComponent(tag)}`),
};
