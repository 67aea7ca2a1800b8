// The applications of a space with their instances and what they are made of, as far as one may read them.

import { useQueries } from '@tanstack/react-query';

import { get, type Page } from '../../api/http';
import { scheduler, type AppItem, type Instance } from '../../api/scheduler';
import { useMay } from '../../parts/may';
import { useLiveList } from '../../parts/query';
import { readModel, type Model } from '../apps/editor/model';

export interface SpaceApp {
  app: AppItem;
  instances: Instance[];
  model: Model | null;
}

export function useSpaceApps(org: string, project: string, space: string, options: { models?: boolean; enabled?: boolean } = {}) {
  const { models = false, enabled = true } = options;
  // What an application is made of is for those who may change it.
  const write = useMay('apps.write', { org, project, space });
  const apps = useLiveList<AppItem>(['apps', org, project, space], scheduler.apps(org, project, space), { enabled, query: { limit: 500 } });
  const url = (app: AppItem) => scheduler.app(org, project, space, app.name);
  const instances = useQueries({
    queries: apps.items.map((app) => ({ queryKey: ['instances', url(app), 'topology'], queryFn: async () => (await get<Page<Instance>>(`${url(app)}/instances`)).items, refetchInterval: 5_000 })),
  });
  const made = useQueries({
    // A revision does not change.
    queries: models && write ? apps.items.map((app) => ({ queryKey: ['model', url(app), app.revision], queryFn: async () => readModel((await scheduler.exported(url(app), 'gantry')).document), staleTime: Infinity, retry: false })) : [],
  });
  const items: SpaceApp[] = apps.items.map((app, index) => ({ app, instances: instances[index]?.data ?? [], model: made[index]?.data ?? null }));
  return { ...apps, items, hidden: models && write === false };
}
