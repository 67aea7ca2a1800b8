// What each of several clusters has of an application, or would have of what is about to be deployed.

import { Card, Table } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import type { Prospect, Share } from '../../api/clusters';
import { Diff } from '../../parts/Diff';
import { long } from '../../parts/long';
import { to } from '../../place';

export function Shares({ of }: { of: Share[] }) {
  const { t } = useTranslation();
  return (
    <Card title={t('where.shares')}>
      <Table<Share>
        size="small"
        aria-label={t('where.shares')}
        rowKey={(one) => `${one.cluster}/${one.workload}`}
        pagination={{ pageSize: 20, hideOnSinglePage: true }}
        scroll={{ x: 'max-content' }}
        dataSource={of}
        columns={[
          { title: t('where.one'), dataIndex: 'cluster', render: (name: string) => <Link to={to.cluster(name)}>{name}</Link> },
          { title: t('instance.workload'), dataIndex: 'workload' },
          { title: t('apps.ready'), render: (_, one) => `${one.ready}/${one.replicas}` },
          { title: t('where.target'), render: (_, one) => (one.target === one.replicas ? one.target : t('where.moving', { count: one.target })) },
          { title: t('apps.reason'), dataIndex: 'reason', render: long },
        ]}
      />
    </Card>
  );
}

export function Prospects({ of }: { of: Prospect[] }) {
  const { t } = useTranslation();
  return (
    <div className="stack">
      {of.map((one) => (
        <Card key={one.cluster} size="small" title={one.cluster}>
          <ul className="plain">
            {Object.entries(one.reasons).map(([workload, why]) => (
              <li key={workload}>
                <strong>{t('where.would', { workload, count: one.replicas[workload] ?? 0 })}</strong> {why}
              </li>
            ))}
          </ul>
          {one.overrides.length > 0 && <Diff lines={one.overrides} label={t('where.other')} />}
        </Card>
      ))}
    </div>
  );
}
