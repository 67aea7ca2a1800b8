// What holds for the images of a project: how much, for how long, from whom, and how sound.

import { Alert } from 'antd';
import { lazy } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { useQuery } from '@tanstack/react-query';
import { get } from '../../api/http';
import { registry, type Settings } from '../../api/registry';
import { Answer, PageHeader } from '../../parts/basics';
import { useMay } from '../../parts/may';
import { PageTabs } from '../../parts/tabs';
import { to } from '../../place';

const Storage = lazy(() => import('./Storage'));
const Immutable = lazy(() => import('./Immutable'));
const Retention = lazy(() => import('./Retention'));
const Policies = lazy(() => import('./Policies'));
const Keys = lazy(() => import('./Keys'));
const Caches = lazy(() => import('./Caches'));
const Replications = lazy(() => import('./Replications'));
const Webhooks = lazy(() => import('./Webhooks'));
const Scanners = lazy(() => import('./Scanners'));
const Allowances = lazy(() => import('./Allowances'));

/** What each of the tabs gets: where the project's settings are, and what they are. */
export interface Props {
  base: string;
  settings: Settings;
}

export const settingsKey = (base: string) => ['registry-settings', base];

export default function Registry() {
  const { t } = useTranslation();
  const params = useParams();
  const [org, project] = [params.org!, params.project!];
  const base = registry.of(org, project);
  const may = useMay('images.admin', { org, project });
  const query = useQuery({ queryKey: settingsKey(base), queryFn: () => get<Settings>(registry.settings(base)) });
  return (
    <>
      <PageHeader title={t('images.rules')} sub={<Link to={to.images(org, project)}>{`${org}/${project}`}</Link>} />
      {may === false && <Alert className="toolbar" type="info" showIcon title={t('registry.notAdmin')} />}
      <Answer query={query}>
        {() => {
          const props = { base, settings: query.data! };
          return (
            <PageTabs
              items={[
                { key: 'storage', label: t('registry.storage'), children: <Storage {...props} /> },
                { key: 'immutable', label: t('registry.immutable'), children: <Immutable {...props} /> },
                { key: 'retention', label: t('registry.retention'), children: <Retention {...props} /> },
                { key: 'policies', label: t('registry.policies'), children: <Policies {...props} /> },
                { key: 'keys', label: t('registry.keys'), children: <Keys {...props} /> },
                { key: 'allowances', label: t('registry.allowances'), children: <Allowances {...props} /> },
                { key: 'scanners', label: t('scanners.title'), children: <Scanners {...props} /> },
                { key: 'caches', label: t('flow.caches'), children: <Caches {...props} /> },
                { key: 'replications', label: t('flow.replications'), children: <Replications {...props} /> },
                { key: 'webhooks', label: t('flow.webhooks'), children: <Webhooks {...props} /> },
              ]}
            />
          );
        }}
      </Answer>
    </>
  );
}
