// Where the user is: organisation, project and space, from the URL or as last chosen.

import { createContext, useContext, useEffect, useMemo, type ReactNode } from 'react';
import { useLocation } from 'react-router';

export interface Place {
  org?: string;
  project?: string;
  space?: string;
}

const KEY = 'gantry.place';
const Context = createContext<Place>({});

/** A part of an address as text; one that was mistyped (`%zz`) stands for itself. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The place a path names: `/orgs/acme/projects/shop/spaces/test/apps`. */
export function placeOf(pathname: string): Place {
  const parts = pathname.split('/').filter(Boolean).map(decoded);
  const place: Place = {};
  if (parts[0] !== 'orgs' || parts[1] === undefined) return place;
  place.org = parts[1];
  if (parts[2] !== 'projects' || parts[3] === undefined) return place;
  place.project = parts[3];
  if (parts[4] !== 'spaces' || parts[5] === undefined) return place;
  place.space = parts[5];
  return place;
}

/** What is open wins; what it leaves open comes from the last choice, as far as that lies within it. */
export function joined(open: Place, last: Place): Place {
  if (open.org === undefined) return last;
  if (open.project === undefined) return open.org === last.org ? last : open;
  if (open.space === undefined) return open.org === last.org && open.project === last.project ? last : open;
  return open;
}

export function forgetPlace(): void {
  localStorage.removeItem(KEY);
}

function remembered(): Place {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Place;
  } catch {
    return {};
  }
}

export function PlaceProvider({ children }: { children: ReactNode }) {
  const { pathname } = useLocation();
  const place = useMemo(() => joined(placeOf(pathname), remembered()), [pathname]);
  useEffect(() => {
    if (place.org !== undefined) localStorage.setItem(KEY, JSON.stringify(place));
  }, [place]);
  return <Context value={place}>{children}</Context>;
}

export const usePlace = (): Place => useContext(Context);

const segment = encodeURIComponent;

export const to = {
  org: (org: string) => `/orgs/${segment(org)}`,
  billing: (org: string) => `/orgs/${segment(org)}/billing`,
  project: (org: string, project: string) => `/orgs/${segment(org)}/projects/${segment(project)}`,
  images: (org: string, project: string) => `${to.project(org, project)}/images`,
  repositories: (org: string, project: string) => `${to.project(org, project)}/repositories`,
  runs: (org: string, project: string) => `${to.project(org, project)}/runs`,
  run: (org: string, project: string, run: string) => `${to.runs(org, project)}/${segment(run)}`,
  space: (org: string, project: string, space: string) => `${to.project(org, project)}/spaces/${segment(space)}`,
  apps: (org: string, project: string, space: string) => `${to.space(org, project, space)}/apps`,
  app: (org: string, project: string, space: string, app: string) => `${to.apps(org, project, space)}/${segment(app)}`,
  deploy: (org: string, project: string, space: string, app?: string) => `${to.space(org, project, space)}/deploy${app ? `?app=${segment(app)}` : ''}`,
  instances: (org: string, project: string, space: string) => `${to.space(org, project, space)}/instances`,
  topology: (org: string, project: string, space: string) => `${to.space(org, project, space)}/topology`,
  volumes: (org: string, project: string, space: string) => `${to.space(org, project, space)}/volumes`,
  configs: (org: string, project: string, space: string) => `${to.space(org, project, space)}/configs`,
  signs: (org: string, project: string, space: string) => `${to.space(org, project, space)}/signs`,
  alerts: (org: string, project: string, space: string) => `${to.space(org, project, space)}/alerts`,
  rules: (org: string, project: string, space: string) => `${to.space(org, project, space)}/rules`,
  access: (org: string) => `/orgs/${segment(org)}/access`,
  protection: (org: string) => `/orgs/${segment(org)}/security`,
  findImages: (q?: string) => `/images${q ? `?q=${segment(q)}` : ''}`,
  image: (org: string, project: string, repository: string) => `${to.images(org, project)}/${segment(repository)}`,
  digest: (org: string, project: string, repository: string, digest: string) => `${to.image(org, project, repository)}/${segment(digest)}`,
  registry: (org: string, project: string) => `${to.project(org, project)}/registry`,
  instance: (org: string, project: string, space: string, app: string, instance: string) => `${to.app(org, project, space, app)}/instances/${segment(instance)}`,
  user: (id: string) => `/people/${segment(id)}`,
  client: (id: string) => `/clients/${segment(id)}`,
  node: (node: string) => `/nodes/${segment(node)}`,
  cluster: (cluster: string) => `/clusters/${segment(cluster)}`,
  network: (org: string, project: string, space: string) => `${to.space(org, project, space)}/services`,
  terminal: (org: string, project: string, space: string, app: string, instance?: string) => `${to.app(org, project, space, app)}/terminal${instance ? `?instance=${segment(instance)}` : ''}`,
};
