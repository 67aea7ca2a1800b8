// A revision on its way: how much of each workload is already of it, and what of the ones before is still there.

import { Alert, Flex, Progress, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import type { Share } from '../../api/clusters';
import type { AppItem, Instance } from '../../api/scheduler';
import type { At } from '../../parts/may';
import { ReleaseParts } from './ReleaseParts';
import { releaseParts } from './releaseOnClusters';
import { ReleaseSteps } from './ReleaseSteps';

/** `at`: the space; `shares`: what each of several clusters is asked for. */
export function Release({ app, url, at, instances, shares }: { app: AppItem; url: string; at: At; instances: Instance[]; shares: Share[] }) {
  const { t } = useTranslation();
  if (!app.release && (app.state !== 'releasing' || app.finished_revision === app.revision)) return null;
  const parts = releaseParts(app, instances, shares);
  const there = instances.filter((one) => one.ended_at === null || one.ended_at === undefined);
  return (
    <Alert
      type="info"
      showIcon
      title={t('release.title', { revision: app.revision })}
      description={
        <div className="stack">
          {app.release ? <ReleaseSteps url={url} at={at} now={app.release} /> : app.reason}
          {app.workloads.map((workload) => {
            const own = there.filter((one) => one.workload === workload.name);
            const fresh = own.filter((one) => one.revision === app.revision);
            const ready = fresh.filter((one) => one.available).length;
            const percent = workload.replicas > 0 ? Math.min(100, Math.round((ready / workload.replicas) * 100)) : 100;
            return (
              <div key={workload.name}>
                <Flex gap="small" align="center" wrap>
                  <strong>{workload.name}</strong>
                  {t('release.ready', { ready, all: workload.replicas })}
                  {own.length > fresh.length && <Tag>{t('release.old', { count: own.length - fresh.length })}</Tag>}
                </Flex>
                <Progress percent={percent} size="small" status="active" aria-label={t('release.progress', { workload: workload.name })} />
              </div>
            );
          })}
          {parts.length > 0 && (
            <>
              {app.release && app.release.steps > 0 && <span>{t('release.clusterShare')}</span>}
              <ReleaseParts of={parts} />
            </>
          )}
        </div>
      }
    />
  );
}
