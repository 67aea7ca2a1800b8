// The spaces of an organisation with what runs them, and what runs in those of a cluster.

import { useQuery } from '@tanstack/react-query';

import { clustersOf } from '../../api/clusters';
import { get, getAll, type Page } from '../../api/http';
import { identity } from '../../api/identity';
import { scheduler, type AppItem, type Instance, type SpaceRules, type Why } from '../../api/scheduler';

export interface SpacePlace {
  org: string;
  project: string;
  space: string;
  /** None where one may not read them. */
  rules: SpaceRules | null;
}

async function spacesOf(org: string): Promise<SpacePlace[]> {
  const projects = await identity.listProjects(org);
  const all = await Promise.all(
    projects.items.map(async ({ name: project }) => {
      const spaces = await identity.listSpaces(org, project);
      return Promise.all(spaces.items.map(async ({ name: space }) => ({ org, project, space, rules: await get<SpaceRules>(scheduler.rules(org, project, space)).catch(() => null) })));
    }),
  );
  return all.flat();
}

export const spacesKey = (org: string) => ['space-places', org];

export const useSpaces = (org: string | undefined) => useQuery({ queryKey: spacesKey(org ?? ''), queryFn: () => spacesOf(org!), enabled: org !== undefined, refetchInterval: 30_000 });

export interface AppOn {
  at: SpacePlace;
  app: AppItem;
  instances: Instance[];
  why: Why | null;
}

async function appsIn(at: SpacePlace): Promise<AppOn[]> {
  const apps = await getAll<AppItem>(scheduler.apps(at.org, at.project, at.space));
  return Promise.all(
    apps.items.map(async (app) => {
      const url = scheduler.app(at.org, at.project, at.space, app.name);
      const [instances, why] = await Promise.all([get<Page<Instance>>(`${url}/instances`), get<Why>(`${url}/why`).catch(() => null)]);
      return { at, app, instances: instances.items, why };
    }),
  );
}

/** Applications of the spaces that are placed on the cluster. */
export function useAppsOn(cluster: string, org: string | undefined) {
  const spaces = useSpaces(org);
  const here = (spaces.data ?? []).filter((one) => clustersOf(one.rules).includes(cluster));
  const apps = useQuery({
    queryKey: ['cluster-apps', cluster, here.map((one) => `${one.project}/${one.space}`), org ?? ''],
    queryFn: async () => (await Promise.all(here.map(appsIn))).flat(),
    enabled: spaces.isSuccess,
    refetchInterval: 10_000,
  });
  return { spaces, here, apps };
}

export const placeName = (at: SpacePlace) => `${at.org}/${at.project}/${at.space}`;
