// Tokens by which a company's directory creates, changes and removes people here (SCIM 2.0).

import { Button, Card, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { protection, type ProvisioningToken } from '../../api/protection';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog, SecretOnce } from '../../parts/dialogs';
import { NumberField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

export default function Scim({ org }: { org: string }) {
  const { t } = useTranslation();
  const key = ['scim', org];
  const query = useList<ProvisioningToken>(key, protection.scim(org));
  const [open, setOpen] = useState(false);
  const [made, setMade] = useState<{ secret: string; base_url: string } | null>(null);
  const create = useAction((body: { name: string; expires_in_days?: number }) => protection.createScim(org, body), {
    refresh: [key],
    onDone: (token) => {
      setOpen(false);
      setMade(token);
    },
  });
  const drop = useAction((id: string) => protection.removeScim(org, id), { done: t('parts.deleted'), refresh: [key] });
  return (
    <Card
      title={t('protection.scim')}
      extra={
        <Button type="primary" onClick={() => setOpen(true)}>
          {t('protection.createToken')}
        </Button>
      }
    >
      <Typography.Paragraph type="secondary">{t('protection.scimHelp')}</Typography.Paragraph>
      <DataTable<ProvisioningToken>
        label={t('protection.scim')}
        query={query}
        rowKey="id"
        empty={t('protection.noScim')}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('access.begins'), dataIndex: 'hint', render: (hint: string) => <Typography.Text code>{hint}…</Typography.Text> },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.lastUsed'), dataIndex: 'last_used_at', render: (at: string | null) => (at ? <Time at={at} /> : t('parts.never')) },
          { title: t('common.actions'), key: 'do', render: (_, token) => <DeleteButton name={token.name} onConfirm={() => drop.mutate(token.id)} /> },
        ]}
      />
      <FormDialog<{ name: string; expires_in_days?: number }> open={open} title={t('protection.createToken')} pending={create.isPending} error={create.error} initial={{ expires_in_days: 365 }} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <TextField name="name" label={t('common.name')} required max={60} focus />
        <NumberField name="expires_in_days" label={t('parts.days')} min={1} max={3660} />
      </FormDialog>
      <SecretOnce secret={made?.secret} title={t('protection.newToken')} onClose={() => setMade(null)}>
        <Typography.Text>{t('protection.baseUrl')}</Typography.Text>
        <Typography.Text className="mono" copyable={{ tooltips: [t('common.copy'), t('common.copied')] }}>
          {made?.base_url}
        </Typography.Text>
      </SecretOnce>
    </Card>
  );
}
