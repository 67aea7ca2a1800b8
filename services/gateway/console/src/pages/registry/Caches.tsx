// Pull-through caches of a project, and whether their upstreams answer.

import { PlusOutlined } from '@ant-design/icons';
import { App, Button, Card, Flex, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { flow, type Cache } from '../../api/flow';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { CheckField, NameField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';
import type { Props } from './Registry';

export interface EndpointForm {
  name: string;
  url: string;
  username?: string;
  password?: string;
  allow_private?: boolean;
  prefix?: string;
  remote_prefix?: string;
}

/** Where the other registry is, and who we are there. Of what is there already, the name cannot be changed. */
export function EndpointFields({ named = false }: { named?: boolean }) {
  const { t } = useTranslation();
  return (
    <>
      {!named && <NameField />}
      <TextField name="url" label={t('flow.url')} required placeholder="https://registry.example" />
      <TextField name="username" label={t('org.username')} />
      <TextField name="password" label={t('account.password')} help={named ? t('scanners.keepSecret') : undefined} secret />
      <CheckField name="allow_private" label={t('flow.private')} />
    </>
  );
}

export const endpointOf = ({ url, username, allow_private }: EndpointForm) => ({ url, username: username ?? '', allow_private: allow_private ?? false });

export default function Caches({ base }: Props) {
  const { t } = useTranslation();
  const { message } = App.useApp();
  const key = ['caches', base];
  const query = useList<Cache>(key, flow.list(base, 'upstreams'), { interval: 15_000 });
  const [open, setOpen] = useState(false);
  const create = useAction((form: EndpointForm) => flow.set(base, 'upstreams', form.name, { name: form.name, endpoint: endpointOf(form), prefix: form.prefix ?? '', remote_prefix: form.remote_prefix ?? '', ...(form.password ? { password: form.password } : {}) }), { done: t('parts.saved'), refresh: [key], onDone: () => setOpen(false) });
  const test = useAction((name: string) => flow.test(base, 'upstreams', name), { refresh: [key], onDone: (trial) => void (trial.ok ? message.success(t('upstreams.works')) : message.error(trial.error ?? t('upstreams.worksNot'))) });
  const drop = useAction((name: string) => flow.remove(base, 'upstreams', name), { done: t('parts.deleted'), refresh: [key] });
  return (
    <Card
      title={t('flow.caches')}
      extra={
        <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
          {t('flow.addCache')}
        </Button>
      }
    >
      <DataTable<Cache>
        label={t('flow.caches')}
        query={query}
        rowKey={(one) => one.upstream.name}
        empty={t('flow.noCaches')}
        columns={[
          { title: t('common.name'), render: (_, one) => one.upstream.name },
          { title: t('flow.url'), render: (_, one) => `${one.upstream.endpoint.url}/${one.upstream.remote_prefix ?? ''}` },
          { title: t('flow.prefix'), render: (_, one) => one.upstream.prefix || '*' },
          { title: t('common.state'), render: (_, one) => <Tag color={one.error ? 'red' : 'green'}>{one.error ?? t('upstreams.fine')}</Tag> },
          { title: t('flow.answered'), dataIndex: 'ok_at', render: (at: string | null) => <Time at={at} /> },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, one) => (
              <Flex gap="small">
                <Button size="small" loading={test.isPending && test.variables === one.upstream.name} onClick={() => test.mutate(one.upstream.name)}>
                  {t('upstreams.test')}
                </Button>
                <DeleteButton name={one.upstream.name} onConfirm={() => drop.mutate(one.upstream.name)} />
              </Flex>
            ),
          },
        ]}
      />
      <FormDialog<EndpointForm> open={open} title={t('flow.addCache')} pending={create.isPending} error={create.error} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <EndpointFields />
        <TextField name="prefix" label={t('flow.prefix')} help={t('flow.prefixHelp')} />
        <TextField name="remote_prefix" label={t('flow.remotePrefix')} />
      </FormDialog>
    </Card>
  );
}
