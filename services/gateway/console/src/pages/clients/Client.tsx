// One client: its settings, its secrets (two at once, so that one can take over from the other), where to connect.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Descriptions, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate, useParams } from 'react-router';

import { clients, type Client as ClientType, type ClientSecret } from '../../api/clients';
import { Answer, DataTable, PageHeader, Time } from '../../parts/basics';
import { AskButton, DeleteByName, FormDialog, SecretOnce } from '../../parts/dialogs';
import { NumberField } from '../../parts/fields';
import { useAction } from '../../parts/query';
import { PageTabs } from '../../parts/tabs';
import { Settings } from './Settings';

export default function Client() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const id = useParams().client!;
  const query = useQuery({ queryKey: ['client', id], queryFn: () => clients.read(id) });
  const remove = useAction(() => clients.remove(id), { done: t('parts.deleted'), refresh: [['clients']], onDone: () => void navigate('/clients') });
  return (
    <Answer query={query}>
      {() => {
        const { value: client, etag } = query.data!;
        return (
          <>
            <PageHeader
              title={client.settings.client_name || id}
              sub={
                <>
                  {id} <Tag>{client.org ?? t('level.platform')}</Tag>
                  {client.dynamic && <Tag color="blue">{t('clients.dynamic')}</Tag>}
                  {client.settings.enabled === false && <Tag color="red">{t('clients.off')}</Tag>}
                </>
              }
              actions={
                <DeleteByName name={id} title={t('access.confirmDelete', { name: id })} label={t('common.delete')} pending={remove.isPending} onDelete={() => remove.mutate()}>
                  <Alert type="warning" showIcon title={t('clients.deleteHelp')} />
                </DeleteByName>
              }
            />
            <PageTabs
              items={[
                { key: 'secrets', label: t('clients.secrets'), children: <Secrets client={client} /> },
                { key: 'settings', label: t('clients.settings'), children: <Settings client={client} etag={etag} /> },
                { key: 'connect', label: t('clients.connect'), children: <Connect client={client} /> },
              ]}
            />
          </>
        );
      }}
    </Answer>
  );
}

function Secrets({ client }: { client: ClientType }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const [secret, setSecret] = useState<string | null>();
  const refresh = [['client', client.id], ['clients']];
  const create = useAction((days?: number) => clients.createSecret(client.id, days), {
    refresh,
    onDone: (made) => {
      setOpen(false);
      setSecret(made.secret);
    },
  });
  const drop = useAction((id: string) => clients.removeSecret(client.id, id), { done: t('parts.deleted'), refresh });
  const uses = client.settings.token_endpoint_auth_method?.startsWith('client_secret') ?? true;
  return (
    <Card
      title={t('clients.secrets')}
      extra={
        <Button type="primary" disabled={!uses || client.secrets.length >= 2} onClick={() => setOpen(true)}>
          {t('clients.createSecret')}
        </Button>
      }
    >
      <Typography.Paragraph type="secondary">{t(uses ? 'clients.rotateHelp' : 'clients.noSecretsHelp')}</Typography.Paragraph>
      <DataTable<ClientSecret>
        label={t('clients.secrets')}
        query={{ items: client.secrets, isPending: false, error: null, refetch: () => {} }}
        rowKey="id"
        empty={t('clients.noSecrets')}
        columns={[
          { title: t('access.begins'), dataIndex: 'hint', render: (hint: string) => <Typography.Text code>{hint}…</Typography.Text> },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string | null) => (at ? <Time at={at} /> : t('parts.never')) },
          { title: t('common.actions'), key: 'do', render: (_, one) => <AskButton danger ask={t('clients.confirmSecret', { hint: one.hint })} label={t('common.delete')} onConfirm={() => drop.mutate(one.id)} /> },
        ]}
      />
      <FormDialog<{ days?: number }> open={open} title={t('clients.createSecret')} pending={create.isPending} error={create.error} onClose={() => setOpen(false)} onSubmit={({ days }) => create.mutate(days ?? undefined)}>
        <NumberField name="days" label={t('parts.days')} help={t('clients.daysHelp')} min={1} max={3660} />
      </FormDialog>
      <SecretOnce secret={secret} title={t('clients.secretOf', { id: client.id })} onClose={() => setSecret(null)} />
    </Card>
  );
}

/** What to give to the other side. */
function Connect({ client }: { client: ClientType }) {
  const { t } = useTranslation();
  const base = window.location.origin;
  const line = (label: string, text: string) => ({
    key: label,
    label,
    children: (
      <Typography.Text className="mono" copyable={{ tooltips: [t('common.copy'), t('common.copied')] }}>
        {text}
      </Typography.Text>
    ),
  });
  return (
    <Card className="narrow">
      <Descriptions
        column={1}
        items={[
          line(t('upstreams.fields.issuer'), base),
          line(t('clients.discovery'), `${base}/.well-known/openid-configuration`),
          line(t('clients.id'), client.id),
          line(t('clients.robot'), client.robot),
        ]}
      />
    </Card>
  );
}
