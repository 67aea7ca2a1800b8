// A release on Kubernetes clusters: what each of them has of the new revision, and what it waits for.

import { Progress, Table, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { long } from '../../parts/long';
import { to } from '../../place';
import type { ReleasePart } from './releaseParts';

const COLOURS = { done: 'green', going: 'blue', waiting: 'gold' };

export function ReleaseParts({ of }: { of: ReleasePart[] }) {
  const { t } = useTranslation();
  if (of.length === 0) return null;
  return (
    <Table<ReleasePart>
      size="small"
      aria-label={t('release.onClusters')}
      rowKey={(one) => `${one.cluster}/${one.workload}`}
      pagination={{ pageSize: 20, hideOnSinglePage: true }}
      scroll={{ x: 'max-content' }}
      dataSource={of}
      columns={[
        { title: t('where.one'), dataIndex: 'cluster', render: (name: string) => <Link to={to.cluster(name)}>{name}</Link> },
        { title: t('instance.workload'), dataIndex: 'workload' },
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
        { title: t('apps.reason'), dataIndex: 'reason', render: long },
      ]}
    />
  );
}
