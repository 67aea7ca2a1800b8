// What an application is now: what waits and why, its workloads and its instances.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Descriptions, Flex, InputNumber, Table, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { get } from '../../api/http';
import type { ScalingNow } from '../../api/release';
import { scheduler, type Against, type AppItem, type Instance, type Selecting, type Why, type Workload } from '../../api/scheduler';
import { DataTable, LinkButton, Time } from '../../parts/basics';
import { InstanceState } from '../../parts/InstanceState';
import { bytes, cpu, decimal } from '../../parts/format';
import { long } from '../../parts/long';
import { useMay } from '../../parts/may';
import { NodeLink } from '../../parts/NodeLink';
import { useAction, useLiveList } from '../../parts/query';
import { to } from '../../place';
import { Endpoints } from './Apps';
import { Release } from './Release';
import { Shares } from './Shares';
import { Standing } from './Standing';
import { useUsage } from './useUsage';

export default function Instances({ app, url }: { app: AppItem; url: string }) {
  const { t, i18n } = useTranslation();
  const params = useParams();
  const at = { org: params.org, project: params.project, space: params.space };
  const write = useMay('apps.write', at);
  const exec = useMay('apps.exec', at);
  const usage = useUsage(url);
  // Only what has nothing to run may be asleep.
  const scaled = useQuery({ queryKey: ['scaling', url], queryFn: () => get<{ items: ScalingNow[] }>(`${url}/scaling`), enabled: app.workloads.some((one) => one.replicas === 0) });
  const cores = (used?: number) => (used === undefined ? '–' : decimal(used, i18n.language, 3));
  const query = useLiveList<Instance>(['instances', url], `${url}/instances`);
  const sleeps = new Set((app.state === 'stopped' ? [] : (scaled.data?.items ?? [])).filter((one) => one.min === 0 && one.paused === null).map((one) => one.workload));
  const trouble = app.state !== 'running' && app.state !== 'stopped';
  const why = useQuery({ queryKey: ['why', url], queryFn: () => get<Why>(`${url}/why`), refetchInterval: trouble ? 5_000 : 30_000 });
  return (
    <div className="stack">
      <Release app={app} url={url} at={at} instances={query.items} shares={why.data?.clusters ?? []} />
      {why.data?.cluster && <Standing on={why.data.cluster} />}
      {(why.data?.clusters ?? []).length > 0 && <Shares of={why.data!.clusters!} />}
      {trouble &&
        why.data?.waiting.map((one) => (
          <Alert
            key={one.workload}
            type="warning"
            showIcon
            title={one.instances > 0 ? t('apps.waits', { workload: one.workload, count: one.instances }) : one.workload}
            description={
              <>
                {one.reason && <p>{one.reason}</p>}
                <Rules against={one.against} nodes={one.nodes_seen} />
                {one.remedies.length > 0 && (
                  <>
                    <p>{t('apps.remedies')}</p>
                    <ul>
                      {one.remedies.map((remedy) => (
                        <li key={remedy.change}>{t('apps.remedy', { change: remedy.change, count: remedy.nodes, node: remedy.node })}</li>
                      ))}
                    </ul>
                  </>
                )}
                <ul>
                  {one.nodes.slice(0, 5).map((node) => (
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
            { title: t('apps.ready'), render: (_, one) => (one.replicas === 0 && sleeps.has(one.name) ? <Tag color="purple">{t('network.asleep')}</Tag> : `${one.ready}/${one.replicas}`) },
            { title: t('apps.reserved'), render: (_, one) => `${cpu(one.cpu_millis)} CPU · ${bytes(one.memory_bytes)}` },
            { title: t('apps.scale'), render: (_, one) => (write && (one.kind === 'stateless' || one.kind === 'stateful') ? <Scale url={url} workload={one} /> : '–') },
          ]}
        />
      </Card>
      <Card title={t('apps.instances')}>
        <DataTable<Instance>
          label={t('apps.instances')}
          query={query}
          rowKey="id"
          empty={t(sleeps.size > 0 ? 'network.asleepHelp' : 'apps.noInstances')}
          columns={[
            { title: t('common.name'), dataIndex: 'name', render: (text: string, one) => <Link to={to.instance(params.org!, params.project!, params.space!, app.name, one.id)}>{text || `${one.workload}-${one.index}`}</Link> },
            { title: t('common.state'), render: (_, one) => <InstanceState instance={one} /> },
            { title: t('apps.revision'), dataIndex: 'revision' },
            { title: t('apps.node'), dataIndex: 'node', render: (node: string) => <NodeLink node={node} /> },
            { title: t('apps.address'), dataIndex: 'address', render: (address: string) => <span className="mono">{address || '–'}</span> },
            { title: t('metric.cpu'), render: (_, one) => cores(usage.get(one.id)?.cpu) },
            { title: t('metric.memory'), render: (_, one) => bytes(usage.get(one.id)?.memory) },
            { title: t('apps.restarts'), dataIndex: 'restarts' },
            { title: t('apps.since'), render: (_, one) => <Time at={one.running_at ?? one.placed_at} /> },
            { title: t('apps.reason'), render: (_, one) => long(one.displaced ?? one.reason) },
            {
              title: t('common.actions'),
              fixed: 'right',
              render: (_, one) =>
                !exec || one.ended_at || one.state === 'exited' ? null : (
                  <LinkButton small to={to.terminal(params.org!, params.project!, params.space!, app.name, one.id)}>
                    {t('terminal.title')}
                  </LinkButton>
                ),
            },
          ]}
        />
      </Card>
      {(why.data?.policies?.length ?? 0) > 0 && <Policies of={why.data!.policies!} />}
      {(why.data?.placed.length ?? 0) > 0 && (
        <Card title={t('apps.whyHere')}>
          <Table<Why['placed'][number]>
            size="small"
            aria-label={t('apps.whyHere')}
            rowKey="instance"
            pagination={{ pageSize: 10, hideOnSinglePage: true }}
            dataSource={why.data?.placed ?? []}
            scroll={{ x: 'max-content' }}
            columns={[
              { title: t('common.name'), dataIndex: 'name' },
              { title: t('apps.node'), render: (_, one) => <NodeLink node={one.chosen.node} /> },
              { title: t('apps.chosenBy'), render: (_, one) => <Tag>{t(`apps.chosen.${one.chosen.by}`)}</Tag> },
              { title: t('apps.score'), render: (_, one) => (one.chosen.next ? t('apps.scoreNext', { score: one.chosen.score, next: one.chosen.next.node, nextScore: one.chosen.next.score }) : one.chosen.score) },
              { title: t('apps.fit'), render: (_, one) => `${one.chosen.fit}/${one.chosen.nodes}` },
              {
                title: t('apps.notElsewhere'),
                render: (_, one) => (
                  <>
                    <Rules against={one.chosen.against} nodes={one.chosen.nodes} />
                    {one.chosen.note}
                  </>
                ),
              },
            ]}
          />
        </Card>
      )}
    </div>
  );
}

/** Which network policies select its instances. */
function Policies({ of }: { of: Selecting[] }) {
  const { t } = useTranslation();
  return (
    <Card title={t('apps.policies')}>
      <Table<Selecting>
        size="small"
        aria-label={t('apps.policies')}
        rowKey={(one) => `${one.workload}/${one.app}/${one.name}`}
        pagination={{ pageSize: 10, hideOnSinglePage: true }}
        dataSource={of}
        scroll={{ x: 'max-content' }}
        columns={[
          { title: t('apps.policy'), render: (_, one) => `${one.app}/${one.name}` },
          { title: t('apps.selects'), dataIndex: 'workload' },
          {
            title: t('apps.limits'),
            render: (_, one) => (
              <>
                {one.ingress && <Tag>{t('apps.takesIn')}</Tag>}
                {one.egress && <Tag>{t('apps.sends')}</Tag>}
              </>
            ),
          },
        ]}
      />
    </Card>
  );
}

/** Each rule that is in the way, with the number of nodes. */
function Rules({ against, nodes }: { against: Against[]; nodes: number }) {
  const { t } = useTranslation();
  if (against.length === 0) return null;
  return (
    <ul>
      {against.map((one) => (
        <li key={one.rule}>{t('apps.against', { count: one.nodes, all: nodes, rule: one.rule, example: one.example })}</li>
      ))}
    </ul>
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
