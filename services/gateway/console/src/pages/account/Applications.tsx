// Applications that hold tokens of oneself, and taking them back.

import { Card, Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import { account, type ConnectedApp } from '../../api/account';
import { DataTable, Time } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { useAction, useList } from '../../parts/query';

export default function Applications() {
  const { t } = useTranslation();
  const query = useList<ConnectedApp>(['applications'], account.applications);
  const drop = useAction(account.disconnect, { done: t('account.disconnected'), refresh: [['applications']] });
  return (
    <Card title={t('account.applications')}>
      <DataTable<ConnectedApp>
        label={t('account.applications')}
        query={query}
        rowKey="client_id"
        empty={t('account.noApplications')}
        columns={[
          { title: t('common.name'), render: (_, app) => app.name || app.client_id },
          {
            title: t('account.scopes'),
            dataIndex: 'scope',
            render: (scope: string) => (
              <Flex gap={4} wrap>
                {scope
                  .split(' ')
                  .filter(Boolean)
                  .map((one) => (
                    <Tag key={one}>{one}</Tag>
                  ))}
              </Flex>
            ),
          },
          { title: t('org.since'), dataIndex: 'since', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, app) => <AskButton danger ask={t('account.confirmDisconnect', { name: app.name || app.client_id })} label={t('account.disconnect')} onConfirm={() => drop.mutate(app.client_id)} /> },
        ]}
      />
    </Card>
  );
}
