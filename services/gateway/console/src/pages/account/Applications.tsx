// Applications that hold tokens of oneself, what was allowed to those of others, and taking both back.

import { Card, Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import { account, type ConnectedApp, type Consent } from '../../api/account';
import { DataTable, Time } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { useAction, useList } from '../../parts/query';

/** What an end of either changes. */
const BOTH = [['applications'], ['consents']];

export default function Applications() {
  return (
    <div className="stack">
      <Connected />
      <Consents />
    </div>
  );
}

function Scopes({ all }: { all: string[] }) {
  return (
    <Flex gap={4} wrap>
      {all.map((one) => (
        <Tag key={one}>{one}</Tag>
      ))}
    </Flex>
  );
}

function Connected() {
  const { t } = useTranslation();
  const query = useList<ConnectedApp>(['applications'], account.applications);
  const drop = useAction(account.disconnect, { done: t('account.disconnected'), refresh: BOTH });
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
            render: (scope: string) => <Scopes all={scope.split(' ').filter(Boolean)} />,
          },
          { title: t('org.since'), dataIndex: 'since', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, app) => <AskButton danger ask={t('account.confirmDisconnect', { name: app.name || app.client_id })} label={t('account.disconnect')} onConfirm={() => drop.mutate(app.client_id)} /> },
        ]}
      />
    </Card>
  );
}

const nameOf = (consent: Consent) => consent.client_name || consent.client;

function Consents() {
  const { t } = useTranslation();
  const query = useList<Consent>(['consents'], account.consents);
  const drop = useAction(account.withdraw, { done: t('account.withdrawn'), refresh: BOTH });
  return (
    <Card title={t('account.consents')}>
      <DataTable<Consent>
        label={t('account.consents')}
        query={query}
        rowKey="client"
        empty={t('account.noConsents')}
        columns={[
          { title: t('common.name'), render: (_, consent) => nameOf(consent) },
          { title: t('account.scopes'), dataIndex: 'scopes', render: (scopes: string[]) => <Scopes all={scopes} /> },
          { title: t('org.since'), dataIndex: 'granted_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, consent) => <AskButton danger ask={t('account.confirmWithdraw', { name: nameOf(consent) })} label={t('account.withdraw')} onConfirm={() => drop.mutate(consent.client)} /> },
        ]}
      />
    </Card>
  );
}
