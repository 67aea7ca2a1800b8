// What retention would do, or did, with each tag, and why.

import { Table, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import type { RetentionPlan } from '../../api/registry';
import { short } from '../../parts/format';

export function PlanTable({ plan }: { plan: RetentionPlan }) {
  const { t } = useTranslation();
  return (
    <Table<RetentionPlan['tags'][number]>
      size="small"
      aria-label={t('registry.simulation')}
      rowKey={(one) => `${one.repository}:${one.tag}@${one.digest}`}
      dataSource={plan.tags}
      locale={{ emptyText: t('images.noTags') }}
      pagination={plan.tags.length > 20 ? { pageSize: 20 } : false}
      columns={[
        { title: t('registry.repository'), dataIndex: 'repository' },
        { title: t('images.tag'), dataIndex: 'tag', render: (tag: string) => tag || '–' },
        { title: t('images.digest'), dataIndex: 'digest', render: (digest: string) => <span className="mono">{short(digest)}</span> },
        {
          title: t('registry.verdict'),
          dataIndex: 'keep',
          filters: [
            { value: true, text: t('registry.stays') },
            { value: false, text: t('registry.goes') },
          ],
          onFilter: (value, one) => one.keep === value,
          render: (keep: boolean) => <Tag color={keep ? 'green' : 'red'}>{t(keep ? 'registry.stays' : 'registry.goes')}</Tag>,
        },
        { title: t('audit.reason'), dataIndex: 'reason' },
      ]}
    />
  );
}
