// What was deployed, newest first: by whom, why, what differed; and going back to it.

import { Flex, Popconfirm, Tag, Typography, Button } from 'antd';
import { useTranslation } from 'react-i18next';

import { scheduler, type Revision } from '../../api/scheduler';
import { DataTable, EmptyState, Time } from '../../parts/basics';
import { short } from '../../parts/format';
import { useNames } from '../../parts/names';
import { useAction, useList } from '../../parts/query';

export default function Revisions({ url }: { url: string }) {
  const { t } = useTranslation();
  const query = useList<Revision>(['revisions', url], `${url}/revisions`, { interval: 15_000 });
  const names = useNames(query.items.map((one) => one.author));
  const rollback = useAction((revision: number) => scheduler.rollback(url, revision), { done: t('apps.rolledBack'), refresh: [['revisions', url], ['app', url]] });
  return (
    <DataTable<Revision>
      label={t('apps.revisions')}
      query={query}
      rowKey="revision"
      empty={t('apps.noRevisions')}
      expandable={{
        expandedRowRender: (one) => (one.diff.length === 0 ? <EmptyState text={t('apps.noDiff')} /> : <pre className="code mono">{one.diff.join('\n')}</pre>),
      }}
      columns={[
        {
          title: t('apps.revision'),
          render: (_, one) => (
            <Flex gap={4}>
              {one.revision}
              {one.current && <Tag color="green">{t('apps.current')}</Tag>}
            </Flex>
          ),
        },
        { title: t('apps.format'), dataIndex: 'format' },
        {
          title: t('apps.images'),
          render: (_, one) => (
            <Flex vertical>
              {one.images.map((image) => (
                <Typography.Text key={image} className="mono">
                  {image.includes('@') ? `${image.split('@')[0]}@${short(image.split('@')[1])}` : image}
                </Typography.Text>
              ))}
            </Flex>
          ),
        },
        { title: t('apps.reason'), dataIndex: 'reason' },
        { title: t('apps.author'), render: (_, one) => names(one.author) },
        { title: t('common.created'), render: (_, one) => <Time at={one.at} /> },
        {
          title: t('common.actions'),
          render: (_, one) =>
            one.current ? null : (
              <Popconfirm title={t('apps.confirmRollback', { revision: one.revision })} okText={t('apps.rollback')} cancelText={t('common.cancel')} onConfirm={() => rollback.mutate(one.revision)}>
                <Button size="small">{t('apps.rollback')}</Button>
              </Popconfirm>
            ),
        },
      ]}
    />
  );
}
