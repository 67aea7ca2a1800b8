// Authorities whose certificates the organisation's people may bind by name, and their lists of revoked ones.

import { Button, Card, Space, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { certificates, type Authority, type NewRevocation, type Revocation } from '../../api/certificates';
import { DataTable, Time } from '../../parts/basics';
import { AskButton, DeleteButton, FormDialog } from '../../parts/dialogs';
import { ChoiceField, NameField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

export default function Authorities({ org }: { org: string }) {
  const { t } = useTranslation();
  const key = ['authorities', org];
  const query = useList<Authority>(key, certificates.authorities(org));
  const [open, setOpen] = useState(false);
  const [looking, setLooking] = useState<Authority>();
  const trust = useAction((body: { name: string; pem: string }) => certificates.trust(org, body), { done: t('certificates.trusted'), refresh: [key], onDone: () => setOpen(false) });
  const drop = useAction((id: string) => certificates.distrust(org, id), { done: t('parts.deleted'), refresh: [key] });
  const look = useAction((body: NewRevocation) => certificates.setRevocation(org, looking?.id ?? '', given(body)), { done: t('certificates.looked'), refresh: [key], onDone: () => setLooking(undefined) });
  const fetchNow = useAction((id: string) => certificates.fetchRevocation(org, id), { done: t('certificates.fetched'), refresh: [key] });
  const lookNoMore = useAction((id: string) => certificates.removeRevocation(org, id), { done: t('parts.deleted'), refresh: [key] });
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
          { title: t('certificates.revocation'), dataIndex: 'revocation', render: (list?: Revocation | null) => <Listed list={list} /> },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, one) => (
              <Space wrap>
                <Button size="small" onClick={() => setLooking(one)}>
                  {t('certificates.revocation')}
                </Button>
                {one.revocation?.url && (
                  <Button size="small" onClick={() => fetchNow.mutate(one.id)}>
                    {t('certificates.fetchNow')}
                  </Button>
                )}
                {one.revocation && <AskButton ask={t('access.confirmDelete', { name: t('certificates.revocation') })} label={t('certificates.lookNoMore')} onConfirm={() => lookNoMore.mutate(one.id)} />}
                <DeleteButton name={one.name} onConfirm={() => drop.mutate(one.id)} />
              </Space>
            ),
          },
        ]}
      />
      <FormDialog<{ name: string; pem: string }> open={open} title={t('certificates.trust')} pending={trust.isPending} error={trust.error} onClose={() => setOpen(false)} onSubmit={trust.mutate}>
        <NameField />
        <TextField name="pem" label={t('certificates.pem')} required rows={8} placeholder="-----BEGIN CERTIFICATE-----" />
      </FormDialog>
      <FormDialog<NewRevocation>
        open={Boolean(looking)}
        title={t('certificates.revocation')}
        ok={t('common.save')}
        pending={look.isPending} error={look.error}
        initial={{ url: looking?.revocation?.url ?? undefined, when_stale: looking?.revocation?.when_stale ?? 'refuse' }}
        onClose={() => setLooking(undefined)}
        onSubmit={look.mutate}
      >
        <Typography.Paragraph type="secondary">{t('certificates.revocationHelp')}</Typography.Paragraph>
        <TextField name="url" label={t('certificates.url')} max={2000} placeholder="http://crl.example.org/cards.crl" />
        <TextField name="list" label={t('certificates.list')} rows={5} placeholder="-----BEGIN X509 CRL-----" />
        <ChoiceField name="when_stale" label={t('certificates.whenStale')} required options={(['refuse', 'accept'] as const).map((value) => ({ value, label: t(`certificates.${value}`) }))} />
      </FormDialog>
    </Card>
  );
}

/** What was left empty is not said. */
function given({ url, list, when_stale }: NewRevocation): NewRevocation {
  return { url: url?.trim() || undefined, list: list?.trim() || undefined, when_stale };
}

function Listed({ list }: { list?: Revocation | null }) {
  const { t } = useTranslation();
  if (!list) return <Typography.Text type="secondary">{t('certificates.notLooked')}</Typography.Text>;
  return (
    <Space orientation="vertical" size={0}>
      {list.fresh ? (
        <span>
          {t('certificates.named', { count: list.revoked ?? 0 })} <Time at={list.next_update} />
        </span>
      ) : (
        <Typography.Text type="danger">{t('certificates.stale')}</Typography.Text>
      )}
      {list.fault && <Typography.Text type="warning">{list.fault}</Typography.Text>}
    </Space>
  );
}
