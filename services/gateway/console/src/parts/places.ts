// Organisations, projects and spaces as a tree that is read where somebody looks: a platform may have thousands of them.

import { identity } from '../api/identity';

export interface Option {
  value: string;
  label: string;
  /** There is nothing below it. */
  isLeaf: boolean;
  children?: Option[];
}

/** Organisations whose projects, and projects whose spaces are read at once: then all of it can be searched. */
const FEW_ORGS = 10;
const FEW_PROJECTS = 30;

const option = (value: string, isLeaf = false): Option => ({ value, label: value, isLeaf });

/** What is asked of identity; in tests, of a list. */
export interface Source {
  orgs: () => Promise<string[]>;
  projects: (org: string) => Promise<string[]>;
  spaces: (org: string, project: string) => Promise<string[]>;
}

const names = async (list: Promise<{ items: { name: string }[] }>): Promise<string[]> => (await list).items.map((one) => one.name);

export const platform: Source = {
  orgs: () => names(identity.listOrgs()),
  projects: (org) => names(identity.listProjects(org)),
  spaces: (org, project) => names(identity.listSpaces(org, project)),
};

/** The tree as far as it is read without being looked at: whole if it is small, else the organisations. */
export async function beginning(source: Source): Promise<Option[]> {
  const orgs = (await source.orgs()).map((name) => option(name));
  if (orgs.length > FEW_ORGS) return orgs;
  const withProjects = await Promise.all(orgs.map((org) => below(source, org, [org.value])));
  if (withProjects.reduce((sum, org) => sum + (org.children?.length ?? 0), 0) > FEW_PROJECTS) return withProjects;
  const whole = async (org: Option): Promise<Option> => ({ ...org, children: org.children && (await Promise.all(org.children.map((project) => below(source, project, [org.value, project.value])))) });
  return Promise.all(withProjects.map(whole));
}

/** `one`, which is at `path`, with what is below it. */
export async function below(source: Source, one: Option, path: string[]): Promise<Option> {
  const [org, project] = path;
  if (org === undefined || path.length > 2) return one;
  const found = project === undefined ? await source.projects(org) : await source.spaces(org, project);
  return { ...one, isLeaf: found.length === 0, children: found.length === 0 ? undefined : found.map((name) => option(name, project !== undefined)) };
}

/** The tree with the option at `path` in place of the one that is there. */
export function replaced(tree: Option[], path: string[], by: Option): Option[] {
  const [first, ...rest] = path;
  return tree.map((one) => (one.value !== first ? one : rest.length === 0 ? by : { ...one, children: replaced(one.children ?? [], rest, by) }));
}
