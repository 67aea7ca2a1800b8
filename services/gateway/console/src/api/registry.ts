// Registry: images of a project with their tags and scans.

import { path, remove } from './http';

export interface ScanSummary {
  packages: number;
  critical: number;
  high: number;
  medium: number;
  low: number;
  unknown: number;
  /** `none`: no advisories are loaded. */
  database: string;
  at: string;
}

export interface Tag {
  tag: string;
  digest: string;
  media_type: string | null;
  size_bytes: number;
  platforms: string[];
  scan: ScanSummary | null;
  pushed_by: string;
  pushed_at: string;
}

export interface Image {
  /** "<org>/<project>/<repository>". */
  name: string;
  repository: string;
  /** What to give to `docker pull`, without a tag. */
  reference: string;
  tags: Tag[];
  digest: string | null;
  size_bytes: number;
  platforms: string[];
  scan: ScanSummary | null;
  pushed_by: string | null;
  pushed_at: string | null;
  images: number;
  stored_bytes: number;
}

export interface Finding {
  id: string;
  aliases: string[];
  severity: string;
  score: number | null;
  package: string;
  installed_version: string;
  fixed_version: string | null;
  summary: string;
}

export interface ScanReport {
  name: string;
  digest: string;
  system: string;
  summary: ScanSummary;
  findings: Finding[];
  notes: string[];
}

export const registry = {
  images: (org: string, project: string) => path('orgs', org, 'projects', project, 'images'),
  scan: (org: string, project: string, repository: string, digest: string) => `${registry.images(org, project)}/${encodeURIComponent(repository)}/${encodeURIComponent(digest)}/scan`,
  removeTag: (org: string, project: string, repository: string, tag: string) => remove(`${registry.images(org, project)}/${encodeURIComponent(repository)}/tags/${encodeURIComponent(tag)}`),
};
