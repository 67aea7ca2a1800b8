// Releases that are under way on a cluster: how far each is, going on, holding, and giving up.

import { Card } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { scheduler } from '../../api/scheduler';
import { DataTable, Time } from '../../parts/basics';
import { to } from '../../place';
import { ReleaseParts } from '../apps/ReleaseParts';
import { releaseParts } from '../apps/releaseOnClusters';
import { ReleaseSteps } from '../apps/ReleaseSteps';
import { placeName, useAppsOn, type AppOn } from './useSpaces';

export function Releases({ cluster, org }: { cluster: string; org?: string }) {
  const { t } = useTranslation();
  const { apps } = useAppsOn(cluster, org);
  const items = (apps.data ?? []).filter((one) => one.app.release);
  return (
    <Card title={t('release.all')}>
      <DataTable<AppOn>
        label={t('release.all')}
        query={{ ...apps, isPending: apps.isPending && org !== undefined, items }}
        rowKey={(one) => one.app.id}
        empty={t('release.none')}
        search={(one) => `${one.app.name} ${placeName(one.at)}`}
        expandable={{
          expandedRowRender: ({ at, app, instances, why }) => (
            <div className="stack">
              {app.release && <ReleaseSteps url={scheduler.app(at.org, at.project, at.space, app.name)} at={at} now={app.release} />}
              <ReleaseParts of={releaseParts(app, instances, why?.clusters ?? [])} />
            </div>
          ),
        }}
        columns={[
          { title: t('deploy.app'), render: (_, one) => <Link to={to.app(one.at.org, one.at.project, one.at.space, one.app.name)}>{one.app.name}</Link> },
          { title: t('level.space'), render: (_, one) => placeName(one.at) },
          { title: t('apps.revision'), render: (_, one) => one.app.release?.revision },
          { title: t('release.how'), render: (_, one) => one.app.release && t(`release.strategy.${one.app.release.strategy}`, { defaultValue: one.app.release.strategy }) },
          { title: t('release.share'), render: (_, one) => (one.app.release && one.app.release.steps > 0 ? `${one.app.release.percent} %` : '–') },
          { title: t('apps.since'), render: (_, one) => <Time at={one.app.release?.since} /> },
        ]}
      />
    </Card>
  );
}
