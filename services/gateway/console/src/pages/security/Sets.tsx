// Sets of configuration documents: what was applied under one name, so that what left the documents is known.

import { Card, Flex, Tag, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { protection, type ConfigurationSet } from '../../api/protection';
import { DataTable, Time } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { useNames } from '../../parts/names';
import { useAction, useList } from '../../parts/query';

/** `org`: whose; the platform's if not said. */
export default function Sets({ org }: { org?: string }) {
  const { t } = useTranslation();
  const key = ['configuration-sets', org ?? null];
  const query = useList<ConfigurationSet>(key, protection.sets, { query: { org } });
  const names = useNames(query.items.map((one) => one.changed_by));
  const forget = useAction((name: string) => protection.forgetSet(name, org), { done: t('sets.forgotten'), refresh: [key] });
  return (
    <Card title={t('sets.tab')}>
      <Typography.Paragraph type="secondary">{t('sets.help')}</Typography.Paragraph>
      <DataTable<ConfigurationSet>
        label={t('sets.tab')}
        query={query}
        rowKey="name"
        empty={t('sets.none')}
        search={(one) => `${one.name} ${one.items.map((item) => item.name).join(' ')}`}
        expandable={{
          expandedRowRender: (one) => (
            <Flex gap={4} wrap>
              {one.items.map((item) => (
                <Tag key={`${item.kind}/${item.org ?? ''}/${item.name}`}>{`${item.kind} ${item.org ? `${item.org}/` : ''}${item.name}`}</Tag>
              ))}
            </Flex>
          ),
        }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('sets.items'), render: (_, one) => one.items.length },
          { title: t('audit.actor'), dataIndex: 'changed_by', render: (by: string) => names(by) },
          { title: t('common.changed'), dataIndex: 'changed_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, one) => <AskButton danger ask={t('sets.confirmForget', { name: one.name })} label={t('sets.forget')} onConfirm={() => forget.mutate(one.name)} /> },
        ]}
      />
    </Card>
  );
}
