// What each of several clusters has of an application, or would have of what is about to be deployed.

import { Card } from 'antd';
import { useTranslation } from 'react-i18next';

import type { Prospect, Share } from '../../api/clusters';
import { ByCluster } from '../../parts/ByCluster';
import { Diff } from '../../parts/Diff';

export function Shares({ of }: { of: Share[] }) {
  const { t } = useTranslation();
  return (
    <Card title={t('where.shares')}>
      <ByCluster<Share>
        label={t('where.shares')}
        of={of}
        columns={[
          { title: t('apps.ready'), render: (_, one) => `${one.ready}/${one.replicas}` },
          { title: t('where.target'), render: (_, one) => (one.target === one.replicas ? one.target : t('where.moving', { count: one.target })) },
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
