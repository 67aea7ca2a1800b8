// How nodes come in: one-time join tokens, the certificates they got, and taking those back.

import { Button, Card, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { protection, type NodeCertificate, type NodeToken } from '../../api/protection';
import { DataTable, Time } from '../../parts/basics';
import { AskButton, DeleteButton, FormDialog, SecretOnce } from '../../parts/dialogs';
import { NumberField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

export default function Machines() {
  return (
    <div className="stack">
      <Tokens />
      <Certificates />
    </div>
  );
}

function Tokens() {
  const { t } = useTranslation();
  const query = useList<NodeToken>(['node-tokens'], protection.nodeTokens);
  const [open, setOpen] = useState(false);
  const [secret, setSecret] = useState<string>();
  const refresh = [['node-tokens']];
  const create = useAction(protection.createNodeToken, {
    refresh,
    onDone: (made) => {
      setOpen(false);
      setSecret(made.secret);
    },
  });
  const drop = useAction(protection.removeNodeToken, { done: t('parts.deleted'), refresh });
  return (
    <Card
      title={t('protection.joinTokens')}
      extra={
        <Button type="primary" onClick={() => setOpen(true)}>
          {t('protection.createToken')}
        </Button>
      }
    >
      <DataTable<NodeToken>
        label={t('protection.joinTokens')}
        query={query}
        rowKey="id"
        empty={t('protection.noJoinTokens')}
        columns={[
          { title: t('access.begins'), dataIndex: 'hint', render: (hint: string) => <Typography.Text code>{hint}…</Typography.Text> },
          { title: t('apps.node'), dataIndex: 'node', render: (node: string | null) => node ?? t('parts.any') },
          { title: t('protection.usedBy'), dataIndex: 'used_by', render: (node: string | null) => node ?? '–' },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, token) => <DeleteButton name={token.hint} onConfirm={() => drop.mutate(token.id)} /> },
        ]}
      />
      <FormDialog<{ node?: string; expires_in_minutes?: number }> open={open} title={t('protection.createToken')} pending={create.isPending} error={create.error} initial={{ expires_in_minutes: 60 }} onClose={() => setOpen(false)} onSubmit={({ node, expires_in_minutes }) => create.mutate({ ...(node ? { node } : {}), expires_in_minutes })}>
        <TextField name="node" label={t('protection.onlyNode')} max={63} focus />
        <NumberField name="expires_in_minutes" label={t('protection.minutes')} required min={1} max={10_080} />
      </FormDialog>
      <SecretOnce secret={secret} title={t('protection.newToken')} onClose={() => setSecret(undefined)} />
    </Card>
  );
}

function Certificates() {
  const { t } = useTranslation();
  const query = useList<NodeCertificate>(['node-certificates'], protection.certificates);
  const revoke = useAction((node: string) => protection.revokeNode(node, ''), { done: t('protection.revoked'), refresh: [['node-certificates']] });
  return (
    <Card title={t('protection.certificates')}>
      <DataTable<NodeCertificate>
        label={t('protection.certificates')}
        query={query}
        rowKey="serial"
        empty={t('protection.noCertificates')}
        columns={[
          { title: t('apps.node'), dataIndex: 'node' },
          { title: t('protection.serial'), dataIndex: 'serial', render: (serial: string) => <span className="mono">{serial}</span> },
          { title: t('billing.issued'), dataIndex: 'issued_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.state'), render: (_, one) => (one.revoked_at ? <Tag color="red">{`${t('protection.revoked')} ${one.reason ?? ''}`}</Tag> : <Tag color="green">{t('state.active')}</Tag>) },
          { title: t('common.actions'), key: 'do', render: (_, one) => !one.revoked_at && <AskButton danger ask={t('protection.confirmRevoke', { name: one.node })} label={t('org.revoke')} onConfirm={() => revoke.mutate(one.node)} /> },
        ]}
      />
    </Card>
  );
}
