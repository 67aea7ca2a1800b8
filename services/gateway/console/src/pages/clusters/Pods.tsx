// The nodes of a cluster by what runs there, and the pods of its applications.

import { Button, Card, Table, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { clusterOf, nodesOf, type ClusterNode } from '../../api/clusters';
import type { Instance } from '../../api/scheduler';
import { DataTable, Time } from '../../parts/basics';
import { InstanceState } from '../../parts/InstanceState';
import { long } from '../../parts/long';
import { to } from '../../place';
import { placeName, useAppsOn, type SpacePlace } from './useSpaces';

type Pod = Instance & { at: SpacePlace; app: string };

export function Pods({ cluster, org }: { cluster: string; org?: string }) {
  const { t } = useTranslation();
  const { apps } = useAppsOn(cluster, org);
  const [node, setNode] = useState<string | null>(null);
  const pods: Pod[] = (apps.data ?? []).flatMap(({ at, app, instances }) => instances.filter((one) => !one.ended_at && clusterOf(one.node) === cluster).map((one) => ({ ...one, at, app: app.name })));
  const shown = node === null ? pods : pods.filter((one) => one.node === `${cluster}--${node}`);
  const query = { ...apps, isPending: apps.isPending && org !== undefined };
  return (
    <div className="stack">
      <Card title={t('clusters.nodes')}>
        <DataTable<ClusterNode>
          size="small"
          label={t('clusters.nodes')}
          query={{ ...query, items: nodesOf(cluster, pods) }}
          rowKey="node"
          empty={t('clusters.noPods')}
          rowSelection={{ type: 'radio', selectedRowKeys: node === null ? [] : [node], onSelect: (one) => setNode(one.node === node ? null : one.node), getCheckboxProps: (one) => ({ 'aria-label': t('clusters.podsOf', { name: one.node }) }) as object }}
          columns={[
            { title: t('common.name'), dataIndex: 'node' },
            { title: t('clusters.pods'), dataIndex: 'pods' },
            { title: t('clusters.runningPods'), dataIndex: 'running' },
            { title: t('clusters.troubled'), dataIndex: 'troubled', render: (count: number) => (count > 0 ? <Tag color="red">{count}</Tag> : 0) },
          ]}
        />
      </Card>
      <Card title={node === null ? t('clusters.pods') : t('clusters.podsOf', { name: node })} extra={node !== null && <Button size="small" onClick={() => setNode(null)}>{t('parts.showAll')}</Button>}>
        <Table<Pod>
          size="small"
          aria-label={t('clusters.pods')}
          rowKey="id"
          loading={query.isPending}
          dataSource={shown}
          pagination={{ pageSize: 20, hideOnSinglePage: true }}
          scroll={{ x: 'max-content' }}
          locale={{ emptyText: t('clusters.noPods') }}
          columns={[
            { title: t('common.name'), render: (_, one) => <Link to={to.instance(one.at.org, one.at.project, one.at.space, one.app, one.id)}>{one.name || `${one.workload}-${one.index}`}</Link> },
            { title: t('deploy.app'), render: (_, one) => <Link to={to.app(one.at.org, one.at.project, one.at.space, one.app)}>{one.app}</Link> },
            { title: t('level.space'), render: (_, one) => placeName(one.at) },
            { title: t('common.state'), render: (_, one) => <InstanceState instance={one} /> },
            { title: t('apps.node'), render: (_, one) => one.node.slice(cluster.length + 2) },
            { title: t('apps.address'), render: (_, one) => <span className="mono">{one.address || '–'}</span> },
            { title: t('apps.restarts'), dataIndex: 'restarts' },
            { title: t('apps.since'), render: (_, one) => <Time at={one.running_at ?? one.placed_at} /> },
            { title: t('apps.reason'), dataIndex: 'reason', render: long },
          ]}
        />
      </Card>
    </div>
  );
}
