// Registry: images of a project with their tags, scans and signatures, and what holds for them.

import { path, post, put, remove, withQuery } from './http';

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
  /** The newest twenty. */
  tags: Tag[];
  tag_count: number;
  digest: string | null;
  size_bytes: number;
  platforms: string[];
  scan: ScanSummary | null;
  pushed_by: string | null;
  pushed_at: string | null;
  images: number;
  /** Everything in the repository, shared content once. */
  stored_bytes: number;
}

/** One thing that happened to a tag. */
export interface Change {
  tag: string;
  action: 'moved' | 'deleted';
  digest: string;
  previous: string | null;
  by: string;
  at: string;
}

export interface Finding {
  id: string;
  aliases: string[];
  severity: string;
  score: number | null;
  package: string;
  installed_version: string;
  fixed_version: string | null;
  /** Digest of the layer that brought the package. */
  layer: string;
  path: string | null;
  kind?: string;
  summary: string;
  /** Who found it; the own scanner alone if not given. */
  scanners?: string[];
  /** Why the project accepts it, if it does. */
  accepted?: string | null;
}

export interface ScanReport {
  name: string;
  digest: string;
  system: string;
  summary: ScanSummary;
  findings: Finding[];
  notes: string[];
}

export interface Signature {
  artifact: string;
  form: 'cosign' | 'sigstore_bundle' | 'attestation' | 'notation';
  valid: boolean;
  key: string | null;
  signer: string | null;
  predicate_type: string | null;
  builder: string | null;
  materials: string[];
  fault: string | null;
}

export interface Trust {
  name: string;
  digest: string;
  /** SLSA build level: 0 none, 1 there, 2 signed, 3 and by a named builder. */
  provenance_level: number;
  signatures: Signature[];
  pull_refused: string[];
  deploy_refused: string[];
}

/** What an image claims to be for, and what its programs are. */
export interface PlatformCheck {
  claimed: string;
  /** Null: nothing in it tells. */
  agrees: boolean | null;
  machines: Record<string, number>;
  entry: { path: string; machine: string } | null;
  fault: string | null;
}

export interface PlatformImage {
  platform: string | null;
  digest: string;
  present: boolean;
  size_bytes: number;
  /** Where that is another platform than the index says. */
  config_says: string | null;
  check: PlatformCheck | null;
}

export interface TagPlatforms {
  reference: string;
  digest: string;
  images: PlatformImage[];
  wanted: string[];
  missing: string[];
}

/** An image that was found, in any project. */
export interface FoundImage {
  name: string;
  org: string;
  project: string;
  repository: string;
  reference: string;
  digest: string;
  kind: 'image' | 'index' | 'artifact';
  tags: string[];
  index_tags: string[];
  platforms: string[];
  size_bytes: number;
  pushed_at: string;
  scan: ScanSummary | null;
  matches: { what: string; name: string; detail: string }[];
}

export interface ImageBase {
  name: string;
  digest: string;
  tags: string[];
  by: 'both' | 'layers' | 'annotation';
  layers: number;
  signed: boolean;
  signed_by: string[];
  tag_moves: { tag: string; now: string | null; at: string | null; same: boolean }[];
  others: { name: string; digest: string; tags: string[] }[];
}

export interface ImageOrigin {
  digest: string;
  platform: string | null;
  claim: { name: string | null; digest: string | null } | null;
  base: ImageBase | null;
  claim_holds: boolean | null;
  rebuild_needed: boolean;
  reason: string;
}

export interface Origins {
  digest: string;
  images: ImageOrigin[];
}

export interface Derived {
  name: string;
  digest: string;
  tags: string[];
  layers: number;
}

/** A scanner outside. */
export interface Scanner {
  scanner: { name: string; url: string; username?: string; allow_private?: boolean; auth: 'none' | 'basic' | 'bearer' | 'api_key'; repositories: string; sbom: boolean; enabled: boolean; rescan_hours?: number | null; ca_pem?: string | null };
  has_secret: boolean;
  platform: boolean;
}

export interface ScannerTrial {
  ok: boolean;
  identity: { name: string; vendor: string; version: string } | null;
  error: string | null;
}

/** One layer, and the step that made it. */
export interface Layer {
  digest: string;
  media_type: string;
  size_bytes: number;
  created_by: string;
  /** How many images of the project have it, this one included. */
  images: number;
}

/** What an image is made of. */
export interface Parts {
  digest: string;
  media_type: string;
  config: { created: string | null; author: string | null; user: string; working_dir: string; entrypoint: string[]; command: string[]; ports: string[]; volumes: string[] };
  layers: Layer[];
  own_bytes: number;
  shared_bytes: number;
}

export interface TagRule {
  repositories?: string;
  tags?: string;
}

export type Keep = 'all' | { newest: number } | { pushed_within_days: number } | { pulled_within_days: number };

export interface RetentionRule extends TagRule {
  keep: Keep;
  label?: string | null;
}

export interface Retention {
  rules: RetentionRule[];
  every_hours?: number | null;
  untagged_days?: number | null;
}

export interface RetentionPlan {
  kept: number;
  removed: number;
  tags: { repository: string; tag: string; digest: string; keep: boolean; reason: string }[];
}

export interface Policy {
  name: string;
  repositories?: string;
  at?: ('pull' | 'deploy')[];
  block_severity?: string | null;
  only_fixable?: boolean;
  must_be_scanned?: boolean;
  signed_by?: string[];
  provenance_level?: number;
  builders?: string[];
  denied_licences?: string[];
}

export interface Allowance {
  id: string;
  package?: string | null;
  reason: string;
  until?: string | null;
}

export interface TrustedKey {
  name: string;
  pem: string;
  subject?: string[];
  kind: string;
  fingerprint: string;
}

export interface Settings {
  allowances: Allowance[];
  immutability: TagRule[];
  keys: TrustedKey[];
  policies: Policy[];
  quota_bytes: number | null;
  retention: Retention;
  scanning: { attach_sbom?: string | null };
  wanted_platforms: string[];
}

export interface StorageUsage {
  images: number;
  /** The sum over all images, shared content each time. */
  image_bytes: number;
  /** Everything once; this counts for the quota. */
  unique_bytes: number;
  quota_bytes: number | null;
}

export interface Collection {
  at: string;
  by: string;
  dry_run: boolean;
  blobs: number;
  bytes: number;
  uploads: number;
  took_ms: number;
}

export interface Damage {
  waiting: number;
  items: { digest: string; repository: string | null; image: string | null; tags: string[]; size_bytes: number; found_at: string }[];
}

const part = encodeURIComponent;

export const registry = {
  images: (org: string, project: string) => path('orgs', org, 'projects', project, 'images'),
  repository: (org: string, project: string, repository: string) => `${registry.images(org, project)}/${part(repository)}`,
  tags: (org: string, project: string, repository: string) => `${registry.repository(org, project, repository)}/tags`,
  history: (org: string, project: string, repository: string) => `${registry.repository(org, project, repository)}/history`,
  image: (org: string, project: string, repository: string, digest: string) => `${registry.repository(org, project, repository)}/${part(digest)}`,
  scan: (image: string) => `${image}/scan`,
  sbom: (image: string, format: 'cyclonedx' | 'spdx') => withQuery(`${image}/sbom`, { format }),
  layers: (image: string) => `${image}/layers`,
  search: path('images'),
  platforms: (image: string) => `${image}/platforms`,
  export: (image: string, format: 'oci' | 'docker') => withQuery(`${image}/export`, { format }),
  origin: (image: string) => `${image}/origin`,
  derived: (image: string) => `${image}/derived`,
  signatures: (image: string) => `${image}/signatures`,
  /** With every tag that points at it. */
  removeImage: (image: string) => remove(image),
  removeTag: (org: string, project: string, repository: string, tag: string) => remove(`${registry.tags(org, project, repository)}/${part(tag)}`),
  restoreTag: (org: string, project: string, repository: string, tag: string, digest: string) => post(`${registry.tags(org, project, repository)}/${part(tag)}/restore`, { digest }),
  of: (org: string, project: string) => path('orgs', org, 'projects', project, 'registry'),
  settings: (base: string) => `${base}/settings`,
  usage: (base: string) => `${base}/usage`,
  setQuota: (base: string, bytes: number | null) => put<Settings>(`${base}/quota`, { bytes }),
  setImmutability: (base: string, rules: TagRule[]) => put<Settings>(`${base}/immutability`, { rules }),
  setRetention: (base: string, body: Retention) => put<Settings>(`${base}/retention`, body),
  simulate: (base: string, body: Retention) => post<RetentionPlan>(`${base}/retention/simulate`, body),
  runRetention: (base: string) => post<RetentionPlan>(`${base}/retention/run`, {}),
  setScanning: (base: string, attach: string | null) => put<Settings>(`${base}/scanning`, { attach_sbom: attach }),
  setPlatforms: (base: string, wanted: string[]) => put<Settings>(`${base}/platforms`, { wanted }),
  allow: (base: string, body: Allowance) => put<Settings>(`${base}/allowances/${part(body.id)}`, body),
  disallow: (base: string, id: string) => remove<Settings>(`${base}/allowances/${part(id)}`),
  trust: (base: string, body: { name: string; pem: string; subject?: string[] }) => put<Settings>(`${base}/keys/${part(body.name)}`, body),
  distrust: (base: string, name: string) => remove<Settings>(`${base}/keys/${part(name)}`),
  setPolicy: (base: string, body: Policy) => put<Settings>(`${base}/policies/${part(body.name)}`, body),
  removePolicy: (base: string, name: string) => remove<Settings>(`${base}/policies/${part(name)}`),
  scanners: (base: string) => `${base}/scanners`,
  setScanner: (base: string, name: string, body: object) => put<Settings>(`${base}/scanners/${part(name)}`, body),
  removeScanner: (base: string, name: string) => remove<Settings>(`${base}/scanners/${part(name)}`),
  testScanner: (base: string, name: string) => post<ScannerTrial>(`${base}/scanners/${part(name)}/test`, {}),
  scanAgain: (image: string) => post<{ scanners: number }>(`${image}/scan`, {}),
  collections: path('registry', 'collections'),
  collect: (dryRun: boolean) => post<Collection>(path('registry', 'collections'), { dry_run: dryRun }),
  damage: path('registry', 'damage'),
  check: () => post<{ waiting: number }>(path('registry', 'checks')),
};
