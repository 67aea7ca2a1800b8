// Applications that sign people in here or act by themselves: of the platform, or of one organisation.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Form, Segmented, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router';

import { clients, type Client, type NewClient } from '../../api/clients';
import { PageHeader, Time } from '../../parts/basics';
import { FormDialog, SecretOnce } from '../../parts/dialogs';
import { CheckField, TextField } from '../../parts/fields';
import { OwnerBar, useOwner } from '../../parts/owner';
import { PagedTable, usePaged } from '../../parts/paged';
import { useAction } from '../../parts/query';
import { to } from '../../place';
import { ListField } from './Settings';

type Kind = 'web' | 'spa' | 'service' | 'device';

interface Values {
  id?: string;
  name?: string;
  redirect_uris?: string[];
  consent_required?: boolean;
}

/** What each kind of application usually needs; everything can be changed afterwards. */
const KINDS: Record<Kind, { grants: string[]; method: string }> = {
  web: { grants: ['authorization_code', 'refresh_token'], method: 'client_secret_basic' },
  spa: { grants: ['authorization_code', 'refresh_token'], method: 'none' },
  service: { grants: ['client_credentials'], method: 'client_secret_basic' },
  device: { grants: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'], method: 'none' },
};

export default function Clients() {
  const { t } = useTranslation();
  const owner = useOwner();
  const { org, none } = owner;
  const query = usePaged<Client>(['clients'], clients.all, { query: { org }, enabled: owner.enabled });
  const [open, setOpen] = useState(false);
  const button = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
      {t('clients.create')}
    </Button>
  );
  return (
    <>
      <PageHeader title={t('menu.clients')} sub={t('clients.sub')} actions={!none && button} />
      <OwnerBar owner={owner} everything={t('clients.everywhere')} />
      <PagedTable<Client>
        label={t('menu.clients')}
        query={query}
        rowKey="id"
        empty={t(none ? 'clients.notAdmin' : 'clients.empty')}
        columns={[
          { title: t('clients.id'), dataIndex: 'id', render: (id: string) => <Link to={to.client(id)}>{id}</Link> },
          { title: t('common.displayName'), render: (_, client) => client.settings.client_name },
          { title: t('level.org'), dataIndex: 'org', render: (name: string | null) => name ?? t('level.platform') },
          { title: t('clients.grants'), render: (_, client) => client.settings.grant_types?.map((grant) => <Tag key={grant}>{t(`grant.${grant.split(':').at(-1)}`, { defaultValue: grant })}</Tag>) },
          { title: t('clients.secrets'), render: (_, client) => client.secrets.length },
          { title: t('common.state'), render: (_, client) => <Tag color={client.settings.enabled === false ? 'red' : 'green'}>{t(client.settings.enabled === false ? 'clients.off' : 'clients.on')}</Tag> },
          { title: t('common.changed'), dataIndex: 'changed_at', render: (at: string) => <Time at={at} /> },
        ]}
      />
      <Create open={open} org={org} onClose={() => setOpen(false)} />
    </>
  );
}

function Create({ open, org, onClose }: { open: boolean; org: string; onClose: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [kind, setKind] = useState<Kind>('web');
  const [made, setMade] = useState<{ id: string; secret: string } | null>(null);
  const create = useAction(clients.create, {
    done: t('clients.created'),
    refresh: [['clients']],
    onDone: (client) => {
      onClose();
      if (client.secret) setMade({ id: client.id, secret: client.secret });
      else void navigate(to.client(client.id));
    },
  });
  const body = ({ id, name, redirect_uris, consent_required }: Values): NewClient => ({
    ...(id ? { id } : {}),
    ...(org === '' ? {} : { org }),
    settings: { client_name: name ?? '', grant_types: KINDS[kind].grants, token_endpoint_auth_method: KINDS[kind].method, redirect_uris: redirect_uris ?? [], consent_required: consent_required ?? false, ...(kind === 'service' ? { scopes: ['api'] } : {}) },
  });
  const redirects = kind === 'web' || kind === 'spa';
  return (
    <>
      <FormDialog<Values> open={open} wide title={t('clients.create')} pending={create.isPending} error={create.error} onClose={onClose} onSubmit={(values) => create.mutate(body(values))}>
        <Form.Item label={t('clients.kind')}>
          <Segmented block value={kind} onChange={setKind} options={(Object.keys(KINDS) as Kind[]).map((value) => ({ value, label: t(`clientKind.${value}`) }))} />
        </Form.Item>
        <Typography.Paragraph type="secondary">{t(`clientKind.${kind}_help`)}</Typography.Paragraph>
        <TextField name="id" label={t('clients.id')} help={t('clients.idHelp')} max={64} focus />
        <TextField name="name" label={t('common.displayName')} required max={100} />
        {redirects && <ListField name="redirect_uris" label={t('clients.redirects')} help={t('clients.redirectsHelp')} required />}
        {redirects && <CheckField name="consent_required" label={t('clients.consent')} help={t('clients.consentHelp')} />}
      </FormDialog>
      <SecretOnce
        secret={made?.secret}
        title={t('clients.secretOf', { id: made?.id })}
        onClose={() => {
          const id = made!.id;
          setMade(null);
          void navigate(to.client(id));
        }}
      />
    </>
  );
}
