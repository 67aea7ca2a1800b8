// Service accounts of an organisation and the keys they sign in with.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Flex, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { people, type Key, type ServiceAccount } from '../../api/people';
import { DataTable, State, Time } from '../../parts/basics';
import { AskButton, DeleteButton, FormDialog, SecretOnce } from '../../parts/dialogs';
import { NameField, NumberField, TextField } from '../../parts/fields';
import { PagedTable, usePaged } from '../../parts/paged';
import { useMay } from '../../parts/may';
import { useAction, useList } from '../../parts/query';

export default function Accounts({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = usePaged<ServiceAccount>(['accounts', org], people.accounts(org));
  const may = useMay('identity.robots-write', { org });
  const [open, setOpen] = useState(false);
  const refresh = [['accounts', org]];
  const create = useAction((body: { name: string; description?: string }) => people.createAccount(org, body), { done: t('access.accountCreated'), refresh, onDone: () => setOpen(false) });
  const change = useAction((input: { name: string; suspended: boolean }) => people.changeAccount(org, input.name, { suspended: input.suspended }), { done: t('parts.done'), refresh });
  const drop = useAction((name: string) => people.deleteAccount(org, name), { done: t('access.accountDeleted'), refresh });
  return (
    <Card
      title={t('access.accounts')}
      extra={
        may && (
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
            {t('access.createAccount')}
          </Button>
        )
      }
    >
      <PagedTable<ServiceAccount>
        label={t('access.accounts')}
        query={query}
        rowKey="id"
        empty={t('access.noAccounts')}
        expandable={may ? { expandedRowRender: (account) => <Keys org={org} name={account.name} /> } : undefined}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('access.description'), dataIndex: 'description' },
          { title: t('common.state'), dataIndex: 'state', render: (value: string) => <State value={value} /> },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, account) => may && (
              <Flex gap="small">
                {account.state === 'active' ? (
                  <AskButton ask={t('people.confirmSuspend', { name: account.name })} label={t('people.suspend')} onConfirm={() => change.mutate({ name: account.name, suspended: true })} />
                ) : (
                  <Button size="small" onClick={() => change.mutate({ name: account.name, suspended: false })}>
                    {t('people.resume')}
                  </Button>
                )}
                <DeleteButton name={account.name} onConfirm={() => drop.mutate(account.name)} />
              </Flex>
            ),
          },
        ]}
      />
      <FormDialog<{ name: string; description?: string }> open={open} title={t('access.createAccount')} pending={create.isPending} error={create.error} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <NameField />
        <TextField name="description" label={t('access.description')} />
      </FormDialog>
    </Card>
  );
}

function Keys({ org, name }: { org: string; name: string }) {
  const { t } = useTranslation();
  const query = useList<Key>(['keys', org, name], people.keys(org, name));
  const [open, setOpen] = useState(false);
  const [secret, setSecret] = useState<string>();
  const refresh = [['keys', org, name]];
  const create = useAction((body: { name?: string; expires_in_days?: number }) => people.createKey(org, name, body), {
    refresh,
    onDone: (made) => {
      setOpen(false);
      setSecret(made.secret);
    },
  });
  const revoke = useAction((id: string) => people.revokeKey(org, name, id), { done: t('access.keyRevoked'), refresh });
  return (
    <Flex vertical gap="small" align="flex-start">
      <DataTable<Key>
        label={t('access.keysOf', { name })}
        query={query}
        rowKey="id"
        size="small"
        empty={t('access.noKeys')}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('access.begins'), dataIndex: 'hint', render: (hint: string) => <Typography.Text code>{hint}…</Typography.Text> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.lastUsed'), dataIndex: 'last_used_at', render: (at: string | null) => (at ? <Time at={at} /> : t('parts.never')) },
          { title: t('common.actions'), key: 'do', render: (_, key) => <DeleteButton name={key.name || key.hint} onConfirm={() => revoke.mutate(key.id)} /> },
        ]}
      />
      <Button disabled={query.items.length >= 2} onClick={() => setOpen(true)}>
        {t('access.createKey')}
      </Button>
      <FormDialog<{ name?: string; expires_in_days?: number }> open={open} title={t('access.createKey')} pending={create.isPending} error={create.error} initial={{ expires_in_days: 90 }} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <TextField name="name" label={t('common.name')} max={60} focus />
        <NumberField name="expires_in_days" label={t('parts.days')} required min={1} max={366} />
      </FormDialog>
      <SecretOnce secret={secret} title={t('access.keyOnce')} onClose={() => setSecret(undefined)} />
    </Flex>
  );
}
