// Who is told what happens to a project's images, and whether it arrived.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Flex, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { flow, HAPPENINGS, type Delivery, type Webhook } from '../../api/flow';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog, SecretOnce } from '../../parts/dialogs';
import { CheckField, ChoiceField, NameField, TextField } from '../../parts/fields';
import { Kind } from '../../parts/Kind';
import { PagedTable, usePaged } from '../../parts/paged';
import { useAction, useList } from '../../parts/query';
import { long } from '../../parts/long';
import type { Props } from './Registry';

interface Values {
  name: string;
  url: string;
  happenings?: string[];
  allow_private?: boolean;
}

const COLOURS = { waiting: 'gold', delivered: 'green', dead: 'red' };

export default function Webhooks({ base }: Props) {
  const { t } = useTranslation();
  const key = ['webhooks', base];
  const query = useList<Webhook>(key, flow.list(base, 'webhooks'), { interval: 15_000 });
  const [open, setOpen] = useState(false);
  const [secret, setSecret] = useState<string | null>();
  const create = useAction((values: Values) => flow.set<{ secret: string | null }>(base, 'webhooks', values.name, values), {
    refresh: [key],
    onDone: (made) => {
      setOpen(false);
      setSecret(made.secret);
    },
  });
  const ping = useAction((name: string) => flow.ping(base, name), { done: t('flow.sent'), refresh: [key, ['deliveries', base]] });
  const resume = useAction((name: string) => flow.resume(base, name), { done: t('parts.done'), refresh: [key] });
  const drop = useAction((name: string) => flow.remove(base, 'webhooks', name), { done: t('parts.deleted'), refresh: [key] });
  return (
    <Card
      title={t('flow.webhooks')}
      extra={
        <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
          {t('flow.addWebhook')}
        </Button>
      }
    >
      <DataTable<Webhook>
        label={t('flow.webhooks')}
        query={query}
        rowKey={(one) => one.webhook.name}
        empty={t('flow.noWebhooks')}
        expandable={{ expandedRowRender: (one) => <Deliveries base={base} name={one.webhook.name} /> }}
        columns={[
          { title: t('common.name'), render: (_, one) => one.webhook.name },
          { title: t('flow.url'), render: (_, one) => one.webhook.url },
          { title: t('flow.delivered'), dataIndex: 'delivered' },
          { title: t('flow.waiting'), dataIndex: 'waiting' },
          { title: t('flow.dead'), dataIndex: 'dead' },
          { title: t('common.state'), render: (_, one) => <Tag color={one.paused_at ? 'red' : 'green'}>{one.paused_at ? `${t('flow.paused')}: ${one.why ?? ''}` : t('upstreams.fine')}</Tag> },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, one) => (
              <Flex gap="small">
                <Button size="small" onClick={() => ping.mutate(one.webhook.name)}>
                  {t('upstreams.test')}
                </Button>
                {one.paused_at && (
                  <Button size="small" onClick={() => resume.mutate(one.webhook.name)}>
                    {t('people.resume')}
                  </Button>
                )}
                <DeleteButton name={one.webhook.name} onConfirm={() => drop.mutate(one.webhook.name)} />
              </Flex>
            ),
          },
        ]}
      />
      <FormDialog<Values> open={open} title={t('flow.addWebhook')} pending={create.isPending} error={create.error} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <NameField />
        <TextField name="url" label={t('flow.url')} required placeholder="https://hooks.example/images" />
        <ChoiceField name="happenings" label={t('flow.happenings')} help={t('flow.happeningsHelp')} many options={HAPPENINGS.map((value) => ({ value, label: t(`happening.${value}`) }))} />
        <CheckField name="allow_private" label={t('flow.private')} />
      </FormDialog>
      <SecretOnce secret={secret} title={t('flow.secret')} onClose={() => setSecret(null)} />
    </Card>
  );
}

function Deliveries({ base, name }: { base: string; name: string }) {
  const { t } = useTranslation();
  const key = ['deliveries', base, name];
  const query = usePaged<Delivery>(key, flow.deliveries(base, name), { interval: 10_000 });
  const again = useAction((id: string) => flow.again(base, id), { done: t('flow.sent'), refresh: [key] });
  return (
    <PagedTable<Delivery>
      size="small"
      label={t('flow.deliveriesOf', { name })}
      query={query}
      rowKey="id"
      empty={t('flow.noDeliveries')}
      columns={[
        { title: t('audit.when'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
        { title: t('audit.kind'), dataIndex: 'kind', render: (kind: string) => <Kind kind={kind} /> },
        { title: t('common.state'), dataIndex: 'state', render: (state: Delivery['state']) => <Tag color={COLOURS[state]}>{t(`deliveryState.${state}`)}</Tag> },
        { title: t('flow.tries'), dataIndex: 'tries' },
        { title: t('flow.answer'), dataIndex: 'status', render: (status: number | null) => status ?? '–' },
        { title: t('audit.reason'), dataIndex: 'error', render: long },
        {
          title: t('common.actions'),
          key: 'do',
          render: (_, one) => (
            <Button size="small" onClick={() => again.mutate(one.id)}>
              {t('flow.again')}
            </Button>
          ),
        },
      ]}
    />
  );
}
