// One application: its instances, why it is as it is, log, metrics, revisions, and everything that can be done to it.

import { DeleteOutlined, PauseOutlined, PlayCircleOutlined, ReloadOutlined, RocketOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Descriptions, Flex, InputNumber, Popconfirm, Table, Tabs, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';

import { get } from '../api/http';
import { scheduler, type AppItem, type Instance, type Revision, type Why, type Workload } from '../api/scheduler';
import { Answer, DataTable, EmptyState, LinkButton, PageHeader, State, Time } from '../parts/basics';
import { bytes, cpu, short } from '../parts/format';
import { LogView } from '../parts/LogView';
import { readAppLog } from '../parts/logs';
import { Metrics } from '../parts/Metrics';
import { useNames } from '../parts/names';
import { useAction, useList, useLive, useLiveList } from '../parts/query';
import { to } from '../place';
import { Endpoints } from './Apps';

export default function AppPage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const space = params.space!;
  const name = params.app!;
  const url = scheduler.app(org, project, space, name);
  const query = useLive<AppItem>(['app', url], url);
  const refresh = [['app', url], ['instances', url], ['revisions', url]];
  const act = useAction((verb: 'restart' | 'stop' | 'start') => scheduler.act(url, verb), { done: t('apps.done'), refresh });
  const remove = useAction(() => scheduler.remove(url), { done: t('apps.deleted'), onDone: () => void navigate(to.apps(org, project, space)) });
  return (
    <Answer query={query}>
      {() => {
        const app = query.data!;
        const stopped = app.state === 'stopped';
        return (
          <>
            <PageHeader
              title={name}
              live={query.live}
              sub={
                <Flex gap="small" align="center">
                  <State value={app.state} />
                  <span>{app.reason}</span>
                </Flex>
              }
              actions={
                <>
                  <LinkButton primary icon={<RocketOutlined />} to={to.deploy(org, project, space, name)}>
      {t('apps.newRevision')}
    </LinkButton>
                  <Button icon={<ReloadOutlined />} disabled={stopped} loading={act.isPending && act.variables === 'restart'} onClick={() => act.mutate('restart')}>
                    {t('apps.restart')}
                  </Button>
                  {stopped ? (
                    <Button icon={<PlayCircleOutlined />} onClick={() => act.mutate('start')}>
                      {t('apps.start')}
                    </Button>
                  ) : (
                    <Popconfirm title={t('apps.confirmStop')} okText={t('apps.stop')} cancelText={t('common.cancel')} onConfirm={() => act.mutate('stop')}>
                      <Button icon={<PauseOutlined />}>{t('apps.stop')}</Button>
                    </Popconfirm>
                  )}
                  <Popconfirm title={t('apps.confirmDelete', { name })} okText={t('common.delete')} cancelText={t('common.cancel')} onConfirm={() => remove.mutate()}>
                    <Button danger icon={<DeleteOutlined />}>
                      {t('common.delete')}
                    </Button>
                  </Popconfirm>
                </>
              }
            />
            <Tabs
              destroyOnHidden
              items={[
                { key: 'instances', label: t('apps.instances'), children: <Instances app={app} url={url} /> },
                { key: 'logs', label: t('apps.logs'), children: <LogView name={name} url={`${url}/logs?follow=true&limit=500`} read={readAppLog} /> },
                { key: 'metrics', label: t('apps.metrics'), children: <Metrics url={`${url}/metrics`} name={name} /> },
                { key: 'revisions', label: t('apps.revisions'), children: <Revisions url={url} /> },
              ]}
            />
          </>
        );
      }}
    </Answer>
  );
}

function Instances({ app, url }: { app: AppItem; url: string }) {
  const { t } = useTranslation();
  const query = useLiveList<Instance>(['instances', url], `${url}/instances`);
  const trouble = app.state !== 'running' && app.state !== 'stopped';
  const why = useQuery({ queryKey: ['why', url], queryFn: () => get<Why>(`${url}/why`), enabled: trouble, refetchInterval: 5_000 });
  return (
    <div className="stack">
      {trouble &&
        why.data?.waiting.map((one) => (
          <Alert
            key={one.workload}
            type="warning"
            showIcon
            title={t('apps.waits', { workload: one.workload, count: one.instances })}
            description={
              <>
                {one.reason && <p>{one.reason}</p>}
                <ul>
                  {one.nodes.map((node) => (
                    <li key={node.node}>
                      {node.node}: {node.reasons.join(', ')}
                    </li>
                  ))}
                </ul>
              </>
            }
          />
        ))}
      <Card>
        <Descriptions
          column={{ xs: 1, md: 3 }}
          items={[
            { key: 'revision', label: t('apps.revision'), children: app.revision },
            { key: 'endpoints', label: t('apps.endpoints'), children: <Endpoints app={app} /> },
            { key: 'changed', label: t('common.changed'), children: <Time at={app.updated_at} /> },
          ]}
        />
      </Card>
      <Card title={t('apps.workloads')}>
        <Table<Workload>
          size="small"
          aria-label={t('apps.workloads')}
          rowKey="name"
          pagination={false}
          dataSource={app.workloads}
          scroll={{ x: 'max-content' }}
          columns={[
            { title: t('common.name'), dataIndex: 'name' },
            { title: t('apps.kind'), dataIndex: 'kind', render: (kind: string) => <Tag>{t(`workloadKind.${kind}`, { defaultValue: kind })}</Tag> },
            { title: t('apps.image'), dataIndex: 'image', render: (image: string) => <span className="mono">{image.replace(/@sha256:([0-9a-f]{12})[0-9a-f]+$/, '@$1')}</span> },
            { title: t('apps.ready'), render: (_, one) => `${one.ready}/${one.replicas}` },
            { title: t('apps.reserved'), render: (_, one) => `${cpu(one.cpu_millis)} CPU · ${bytes(one.memory_bytes)}` },
            { title: t('apps.scale'), render: (_, one) => (one.kind === 'stateless' || one.kind === 'stateful' ? <Scale url={url} workload={one} /> : '–') },
          ]}
        />
      </Card>
      <Card title={t('apps.instances')}>
        <DataTable<Instance>
          label={t('apps.instances')}
          query={query}
          rowKey="id"
          empty={t('apps.noInstances')}
          columns={[
            { title: t('common.name'), dataIndex: 'name', render: (text: string, one) => text || `${one.workload}-${one.index}` },
            {
              title: t('common.state'),
              render: (_, one) => (
                <Flex gap={4}>
                  <State value={one.state} />
                  {one.state === 'running' && !one.available && <Tag>{t('apps.notInRotation')}</Tag>}
                </Flex>
              ),
            },
            { title: t('apps.revision'), dataIndex: 'revision' },
            { title: t('apps.node'), dataIndex: 'node', render: (node: string) => (node ? <Link to={to.node(node)}>{node}</Link> : '–') },
            { title: t('apps.address'), dataIndex: 'address', render: (address: string) => <span className="mono">{address || '–'}</span> },
            { title: t('apps.restarts'), dataIndex: 'restarts' },
            { title: t('apps.since'), render: (_, one) => <Time at={one.running_at ?? one.placed_at} /> },
            { title: t('apps.reason'), dataIndex: 'reason' },
          ]}
        />
      </Card>
    </div>
  );
}

function Scale({ url, workload }: { url: string; workload: Workload }) {
  const { t } = useTranslation();
  const [count, setCount] = useState<number | null>(null);
  const scale = useAction((replicas: number) => scheduler.scale(url, workload.name, replicas), { done: t('apps.scaled'), refresh: [['app', url], ['instances', url]], onDone: () => setCount(null) });
  const wanted = count ?? workload.replicas;
  return (
    <Flex gap={4}>
      <InputNumber size="small" min={0} max={1000} precision={0} value={wanted} onChange={setCount} aria-label={t('apps.replicasOf', { name: workload.name })} />
      <Button size="small" disabled={wanted === workload.replicas} loading={scale.isPending} onClick={() => scale.mutate(wanted)}>
        {t('apps.scale')}
      </Button>
    </Flex>
  );
}

function Revisions({ url }: { url: string }) {
  const { t } = useTranslation();
  const query = useList<Revision>(['revisions', url], `${url}/revisions`, { interval: 15_000 });
  const names = useNames(query.items.map((one) => one.author));
  const rollback = useAction((revision: number) => scheduler.rollback(url, revision), { done: t('apps.rolledBack'), refresh: [['revisions', url], ['app', url]] });
  return (
    <DataTable<Revision>
      label={t('apps.revisions')}
      query={query}
      rowKey="revision"
      empty={t('apps.noRevisions')}
      expandable={{
        expandedRowRender: (one) => (one.diff.length === 0 ? <EmptyState text={t('apps.noDiff')} /> : <pre className="code mono">{one.diff.join('\n')}</pre>),
      }}
      columns={[
        {
          title: t('apps.revision'),
          render: (_, one) => (
            <Flex gap={4}>
              {one.revision}
              {one.current && <Tag color="green">{t('apps.current')}</Tag>}
            </Flex>
          ),
        },
        { title: t('apps.format'), dataIndex: 'format' },
        {
          title: t('apps.images'),
          render: (_, one) => (
            <Flex vertical>
              {one.images.map((image) => (
                <Typography.Text key={image} className="mono">
                  {image.includes('@') ? `${image.split('@')[0]}@${short(image.split('@')[1])}` : image}
                </Typography.Text>
              ))}
            </Flex>
          ),
        },
        { title: t('apps.reason'), dataIndex: 'reason' },
        { title: t('apps.author'), render: (_, one) => names(one.author) },
        { title: t('common.created'), render: (_, one) => <Time at={one.at} /> },
        {
          title: t('common.actions'),
          render: (_, one) =>
            one.current ? null : (
              <Popconfirm title={t('apps.confirmRollback', { revision: one.revision })} okText={t('apps.rollback')} cancelText={t('common.cancel')} onConfirm={() => rollback.mutate(one.revision)}>
                <Button size="small">{t('apps.rollback')}</Button>
              </Popconfirm>
            ),
        },
      ]}
    />
  );
}
