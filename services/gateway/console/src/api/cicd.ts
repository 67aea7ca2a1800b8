// CI/CD: repositories, and runs of their pipelines.

import { path, post, remove } from './http';

export interface Repository {
  name: string;
  org: string;
  project: string;
  clone_url: string;
  created_at: string;
}

export interface Step {
  stage: string;
  name: string;
  kind: 'run' | 'build' | 'deploy' | 'approval' | string;
  state: string;
  exit_code: number | null;
  reason: string;
  image: string | null;
  approved_by: string | null;
  tests: { tests: number; failed: number; skipped: number } | null;
  started_at: string | null;
  finished_at: string | null;
  duration_ms: number | null;
}

export interface Run {
  id: string;
  number: number;
  repository: string;
  ref: string;
  commit: string;
  message: string;
  trigger: string;
  subject: string;
  state: string;
  reason: string;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  steps: Step[];
}

export interface Artifact {
  name: string;
  size_bytes: number;
  digest: string;
  media_type: string;
}

export const cicd = {
  repositories: (org: string, project: string) => path('orgs', org, 'projects', project, 'repositories'),
  runs: (org: string, project: string) => path('orgs', org, 'projects', project, 'runs'),
  run: (org: string, project: string, run: string) => path('orgs', org, 'projects', project, 'runs', run),
  artifact: (run: string, name: string) => `${run}/artifacts/${name.split('/').map(encodeURIComponent).join('/')}`,
  log: (run: string, step: string) => `${run}/steps/${encodeURIComponent(step)}/log?follow=true`,
  createRepository: (org: string, project: string, name: string) => post<Repository>(cicd.repositories(org, project), { name }),
  removeRepository: (org: string, project: string, name: string) => remove(`${cicd.repositories(org, project)}/${encodeURIComponent(name)}`),
  start: (org: string, project: string, repository: string, ref: string) => post<Run>(cicd.runs(org, project), { repository, ref }),
  cancel: (run: string) => post(`${run}/cancel`),
  approve: (run: string, step: string) => post(`${run}/approve`, { step }),
};
