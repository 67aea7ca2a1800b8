// Outside systems whose tokens count here (CI, Kubernetes, SPIFFE): programs come in without a key of their own.

import { Button, Card, Form, Input, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { protection, type Issuer } from '../../api/protection';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { NameField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';
import { claimsOf } from './claims';

interface Values {
  name: string;
  issuer: string;
  jwks_uri?: string;
  audience?: string;
  account: string;
  claims: string;
}

export default function Issuers({ org }: { org?: string }) {
  const { t } = useTranslation();
  const key = ['issuers', org ?? null];
  const query = useList<Issuer>(key, protection.issuers, { query: { org } });
  const [open, setOpen] = useState(false);
  const create = useAction(protection.createIssuer, { done: t('parts.saved'), refresh: [key], onDone: () => setOpen(false) });
  const drop = useAction(protection.removeIssuer, { done: t('parts.deleted'), refresh: [key] });
  const submit = ({ name, issuer, jwks_uri, audience, account, claims }: Values) =>
    create.mutate({
      name,
      ...(org === undefined ? {} : { org }),
      settings: {
        issuer,
        ...(jwks_uri ? { jwks_uri } : {}),
        ...(audience ? { audience } : {}),
        rules: [{ claims: claimsOf(claims), ...(org === undefined ? { client: account } : { service_account: account }) }],
      },
    });
  return (
    <Card
      title={t('protection.issuers')}
      extra={
        <Button type="primary" onClick={() => setOpen(true)}>
          {t('protection.trust')}
        </Button>
      }
    >
      <DataTable<Issuer>
        label={t('protection.issuers')}
        query={query}
        rowKey="id"
        empty={t('protection.noIssuers')}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('upstreams.fields.issuer'), render: (_, one) => <span className="mono">{one.settings.issuer}</span> },
          {
            title: t('protection.rules'),
            render: (_, one) =>
              one.settings.rules.map((rule) => (
                <div key={JSON.stringify(rule)}>
                  {Object.entries(rule.claims).map(([name, value]) => (
                    <Tag key={name}>{`${name}=${value}`}</Tag>
                  ))}
                  → {rule.service_account ?? rule.client}
                </div>
              )),
          },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, one) => <DeleteButton name={one.name} onConfirm={() => drop.mutate(one.id)} /> },
        ]}
      />
      <FormDialog<Values> open={open} wide title={t('protection.trust')} pending={create.isPending} error={create.error} onClose={() => setOpen(false)} onSubmit={submit}>
        <NameField />
        <TextField name="issuer" label={t('upstreams.fields.issuer')} help={t('protection.issuerHelp')} required />
        <TextField name="jwks_uri" label={t('protection.jwks')} required />
        <TextField name="audience" label={t('clients.audience')} />
        <TextField name="account" label={t(org === undefined ? 'protection.asClient' : 'protection.asAccount')} required max={64} />
        <Form.Item name="claims" label={t('protection.claims')} extra={t('protection.claimsHelp')} rules={[{ required: true, pattern: /^\s*\w[^=\n]*=.+/, message: t('protection.claimsHelp') }]}>
          <Input.TextArea rows={3} className="mono" placeholder="sub=repo:acme/shop:*" />
        </Form.Item>
      </FormDialog>
    </Card>
  );
}
