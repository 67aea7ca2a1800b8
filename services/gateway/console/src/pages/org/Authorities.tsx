// Authorities whose certificates the organisation's people may bind by name.

import { Button, Card, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { certificates, type Authority } from '../../api/certificates';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { NameField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

export default function Authorities({ org }: { org: string }) {
  const { t } = useTranslation();
  const key = ['authorities', org];
  const query = useList<Authority>(key, certificates.authorities(org));
  const [open, setOpen] = useState(false);
  const trust = useAction((body: { name: string; pem: string }) => certificates.trust(org, body), { done: t('certificates.trusted'), refresh: [key], onDone: () => setOpen(false) });
  const drop = useAction((id: string) => certificates.distrust(org, id), { done: t('parts.deleted'), refresh: [key] });
  return (
    <Card
      title={t('certificates.authorities')}
      extra={
        <Button type="primary" onClick={() => setOpen(true)}>
          {t('certificates.trust')}
        </Button>
      }
    >
      <Typography.Paragraph type="secondary">{t('certificates.authoritiesHelp')}</Typography.Paragraph>
      <DataTable<Authority>
        label={t('certificates.authorities')}
        query={query}
        rowKey="id"
        empty={t('certificates.noAuthorities')}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('common.created'), dataIndex: 'trusted_at', render: (at: string) => <Time at={at} /> },
          { key: 'do', render: (_, one) => <DeleteButton name={one.name} onConfirm={() => drop.mutate(one.id)} /> },
        ]}
      />
      <FormDialog<{ name: string; pem: string }> open={open} title={t('certificates.trust')} pending={trust.isPending} onClose={() => setOpen(false)} onSubmit={trust.mutate}>
        <NameField />
        <TextField name="pem" label={t('certificates.pem')} required rows={8} placeholder="-----BEGIN CERTIFICATE-----" />
      </FormDialog>
    </Card>
  );
}
