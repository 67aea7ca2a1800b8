// A release on Kubernetes clusters: what each of them has of the new revision, and what it waits for.

import { Progress, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import { ByCluster } from '../../parts/ByCluster';
import type { ReleasePart } from './releaseOnClusters';

const COLOURS = { done: 'green', going: 'blue', waiting: 'gold' };

export function ReleaseParts({ of }: { of: ReleasePart[] }) {
  const { t } = useTranslation();
  if (of.length === 0) return null;
  return (
    <ByCluster<ReleasePart>
      label={t('release.onClusters')}
      of={of}
      columns={[
        { title: t('common.state'), render: (_, one) => <Tag color={COLOURS[one.state]}>{t(`release.part.${one.state}`)}</Tag> },
        {
          title: t('release.fresh'),
          render: (_, one) => (
            <>
              {t('release.ready', { ready: one.ready, all: one.wanted })}
              <Progress percent={one.wanted > 0 ? Math.min(100, Math.round((one.ready / one.wanted) * 100)) : 100} size="small" aria-label={t('release.progressOn', { workload: one.workload, cluster: one.cluster })} />
            </>
          ),
        },
        { title: t('release.earlier'), dataIndex: 'old' },
      ]}
    />
  );
}
