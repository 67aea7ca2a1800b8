// Replication to and from other registries: targets, rules, and how each run went.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Flex, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { flow, type Replication, type Run, type Target } from '../../api/flow';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { CheckField, ChoiceField, NameField, TextField } from '../../parts/fields';
import { bytes } from '../../parts/format';
import { PagedTable, usePaged } from '../../parts/paged';
import { useAction, useList } from '../../parts/query';
import { long } from '../../parts/long';
import { EndpointFields, endpointOf, type EndpointForm } from './Caches';
import type { Props } from './Registry';

const COLOURS = { waiting: 'gold', running: 'blue', done: 'green', failed: 'red', cancelled: 'default' };

export default function Replications({ base }: Props) {
  const { t } = useTranslation();
  const key = ['replications', base];
  const query = useList<Replication>(key, flow.list(base, 'replications'));
  const targets = useList<Target>(['targets', base], flow.list(base, 'targets'));
  const [open, setOpen] = useState(false);
  const create = useAction((body: Replication) => flow.set(base, 'replications', body.name, { ...body, schedule: body.schedule || null }), { done: t('parts.saved'), refresh: [key], onDone: () => setOpen(false) });
  const run = useAction((input: { name: string; dryRun: boolean }) => flow.run(base, input.name, input.dryRun), { done: t('flow.begun'), refresh: [['replication-runs', base]] });
  const drop = useAction((name: string) => flow.remove(base, 'replications', name), { done: t('parts.deleted'), refresh: [key] });
  return (
    <div className="stack">
      <Targets base={base} items={targets} />
      <Card
        title={t('flow.replications')}
        extra={
          <Button type="primary" icon={<PlusOutlined />} disabled={targets.items.length === 0} onClick={() => setOpen(true)}>
            {t('registry.addRule')}
          </Button>
        }
      >
        <DataTable<Replication>
          label={t('flow.replications')}
          query={query}
          rowKey="name"
          empty={t('flow.noReplications')}
          expandable={{ expandedRowRender: (one) => <Runs base={base} name={one.name} /> }}
          columns={[
            { title: t('common.name'), dataIndex: 'name' },
            { title: t('flow.direction'), dataIndex: 'direction', render: (direction: string) => t(`flow.${direction}`) },
            { title: t('flow.target'), dataIndex: 'target' },
            { title: t('registry.repositories'), dataIndex: 'repositories' },
            { title: t('registry.tags'), dataIndex: 'tags' },
            { title: t('flow.when'), render: (_, one) => [one.schedule, one.on_event && t('flow.atOnce')].filter(Boolean).join(', ') || t('flow.byHand') },
            {
              title: t('common.actions'),
              key: 'do',
              render: (_, one) => (
                <Flex gap="small">
                  <Button size="small" onClick={() => run.mutate({ name: one.name, dryRun: true })}>
                    {t('deploy.dryRun')}
                  </Button>
                  <Button size="small" onClick={() => run.mutate({ name: one.name, dryRun: false })}>
                    {t('registry.run')}
                  </Button>
                  <DeleteButton name={one.name} onConfirm={() => drop.mutate(one.name)} />
                </Flex>
              ),
            },
          ]}
        />
        <FormDialog<Replication> open={open} title={t('registry.addRule')} pending={create.isPending} error={create.error} initial={{ direction: 'push', repositories: '*', tags: '*' }} onClose={() => setOpen(false)} onSubmit={create.mutate}>
          <NameField />
          <ChoiceField name="direction" label={t('flow.direction')} required options={['push', 'pull'].map((value) => ({ value, label: t(`flow.${value}`) }))} />
          <ChoiceField name="target" label={t('flow.target')} required options={targets.items.map(({ target }) => ({ value: target.name, label: target.name }))} />
          <TextField name="repositories" label={t('registry.repositories')} help={t('registry.patternHelp')} />
          <TextField name="tags" label={t('registry.tags')} />
          <TextField name="schedule" label={t('flow.schedule')} help={t('flow.scheduleHelp')} />
          <CheckField name="on_event" label={t('flow.atOnce')} />
        </FormDialog>
      </Card>
    </div>
  );
}

function Targets({ base, items }: { base: string; items: ReturnType<typeof useList<Target>> }) {
  const { t } = useTranslation();
  const refresh = [['targets', base]];
  const [open, setOpen] = useState(false);
  const create = useAction((form: EndpointForm) => flow.set(base, 'targets', form.name, { name: form.name, endpoint: endpointOf(form), ...(form.password ? { password: form.password } : {}) }), { done: t('parts.saved'), refresh, onDone: () => setOpen(false) });
  const drop = useAction((name: string) => flow.remove(base, 'targets', name), { done: t('parts.deleted'), refresh });
  return (
    <Card
      title={t('flow.targets')}
      extra={
        <Button icon={<PlusOutlined />} onClick={() => setOpen(true)}>
          {t('flow.addTarget')}
        </Button>
      }
    >
      <DataTable<Target>
        label={t('flow.targets')}
        query={items}
        rowKey={(one) => one.target.name}
        empty={t('flow.noTargets')}
        columns={[
          { title: t('common.name'), render: (_, one) => one.target.name },
          { title: t('flow.url'), render: (_, one) => one.target.endpoint.url },
          { title: t('common.actions'), key: 'do', render: (_, one) => <DeleteButton name={one.target.name} onConfirm={() => drop.mutate(one.target.name)} /> },
        ]}
      />
      <FormDialog<EndpointForm> open={open} title={t('flow.addTarget')} pending={create.isPending} error={create.error} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <EndpointFields />
      </FormDialog>
    </Card>
  );
}

function Runs({ base, name }: { base: string; name: string }) {
  const { t } = useTranslation();
  const query = usePaged<Run>(['replication-runs', base, name], flow.runs(base, name), { interval: 5_000 });
  return (
    <PagedTable<Run>
      size="small"
      label={t('flow.runsOf', { name })}
      query={query}
      rowKey="id"
      empty={t('flow.noRuns')}
      columns={[
        { title: t('audit.when'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
        { title: t('common.state'), dataIndex: 'state', render: (state: Run['state'], one) => <Tag color={COLOURS[state]}>{`${t(`runState.${state}`)}${one.dry_run ? ` (${t('deploy.dryRun')})` : ''}`}</Tag> },
        { title: t('flow.same'), dataIndex: 'same' },
        { title: t('flow.done'), dataIndex: 'done' },
        { title: t('flow.waiting'), dataIndex: 'waiting' },
        { title: t('flow.failed'), dataIndex: 'failed' },
        { title: t('flow.skipped'), dataIndex: 'skipped' },
        { title: t('images.size'), dataIndex: 'bytes', render: (size: number) => bytes(size) },
        { title: t('audit.reason'), dataIndex: 'error', render: long },
      ]}
    />
  );
}
