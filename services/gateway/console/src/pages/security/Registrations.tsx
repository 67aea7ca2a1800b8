// Tokens with which clients may register themselves (RFC 7591).

import { Button, Card } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { protection, type RegistrationToken } from '../../api/protection';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog, SecretOnce } from '../../parts/dialogs';
import { NumberField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

export default function Registrations({ org }: { org?: string }) {
  const { t } = useTranslation();
  const key = ['registration-tokens', org ?? null];
  const query = useList<RegistrationToken>(key, protection.registrations, { query: { org } });
  const [open, setOpen] = useState(false);
  const [secret, setSecret] = useState<string | null>();
  const create = useAction(protection.createRegistration, {
    refresh: [key],
    onDone: (made) => {
      setOpen(false);
      setSecret(made.token);
    },
  });
  const drop = useAction((id: string) => protection.removeRegistration(id, org), { done: t('parts.deleted'), refresh: [key] });
  return (
    <Card
      title={t('protection.registrations')}
      extra={
        <Button type="primary" onClick={() => setOpen(true)}>
          {t('protection.createToken')}
        </Button>
      }
    >
      <DataTable<RegistrationToken>
        label={t('protection.registrations')}
        query={query}
        rowKey="id"
        empty={t('protection.noRegistrations')}
        columns={[
          { title: t('protection.id'), dataIndex: 'id', render: (id: string) => <span className="mono">{id.slice(0, 8)}</span> },
          { title: t('protection.usesLeft'), dataIndex: 'uses_left' },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, token) => <DeleteButton name={token.id.slice(0, 8)} onConfirm={() => drop.mutate(token.id)} /> },
        ]}
      />
      <FormDialog<{ uses?: number; expires_in_hours?: number }> open={open} title={t('protection.createToken')} pending={create.isPending} error={create.error} initial={{ uses: 1, expires_in_hours: 24 }} onClose={() => setOpen(false)} onSubmit={(values) => create.mutate({ ...values, org })}>
        <NumberField name="uses" label={t('protection.uses')} required min={1} max={1000} />
        <NumberField name="expires_in_hours" label={t('protection.hours')} required min={1} max={720} />
      </FormDialog>
      <SecretOnce secret={secret} title={t('protection.newToken')} onClose={() => setSecret(null)} />
    </Card>
  );
}
