// The machines that containers run on.

import { Button, Flex, Progress, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { scheduler, type NodeItem } from '../../api/scheduler';
import { DataTable, PageHeader, State, Time } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { bytes, cpu } from '../../parts/format';
import { useMay } from '../../parts/may';
import { useAction, useLiveList } from '../../parts/query';
import { to } from '../../place';
import { AdmitNode } from './AdmitNode';
import { JoinNode } from './JoinNode';
import { NodeSettingsButton } from './NodeSettings';
import { taintText } from './settings';

export default function Nodes() {
  const { t } = useTranslation();
  const admin = useMay('apps.admin', {}) === true;
  const joins = useMay('identity.nodes-join', {}) === true;
  const query = useLiveList<NodeItem>(['nodes'], scheduler.nodes);
  return (
    <>
      <PageHeader
        title={t('menu.nodes')}
        sub={t('nodes.sub')}
        live={query.live}
        actions={
          <>
            {admin && <AdmitNode />}
            {joins && <JoinNode />}
          </>
        }
      />
      <DataTable<NodeItem>
        label={t('menu.nodes')}
        query={query}
        rowKey="name"
        inAddress
        empty={t('nodes.empty')}
        search={(node) => [node.name, node.state, node.facts.zone, node.facts.os, node.facts.architecture, ...Object.entries({ ...node.facts.labels, ...node.settings?.labels }).map(([key, value]) => `${key}=${value}`)].join(' ')}
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string) => <Link to={to.node(name)}>{name}</Link> },
          { title: t('common.state'), render: (_, node) => <NodeState node={node} /> },
          { title: 'CPU', render: (_, node) => <Share label={t('nodes.cpuOf', { name: node.name })} used={node.reserved_cpu_millis} of={node.facts.cpu_millis} show={cpu} /> },
          { title: t('quota.memory_bytes'), render: (_, node) => <Share label={t('nodes.memoryOf', { name: node.name })} used={node.reserved_memory_bytes} of={node.facts.memory_bytes} show={bytes} /> },
          { title: t('apps.instances'), dataIndex: 'instances' },
          { title: t('nodes.zone'), render: (_, node) => node.facts.zone || '–' },
          { title: t('nodes.system'), render: (_, node) => `${node.facts.os} · ${node.facts.architecture}` },
          { title: t('nodes.joined'), dataIndex: 'joined_at', render: (at: string) => <Time at={at} /> },
          ...(admin ? [{ title: t('common.actions'), fixed: 'right' as const, render: (_: unknown, node: NodeItem) => <NodeActions node={node} /> }] : []),
        ]}
      />
    </>
  );
}

export function NodeState({ node }: { node: NodeItem }) {
  const { t } = useTranslation();
  return (
    <Flex gap={4}>
      <State value={node.state} />
      {node.draining ? <Tag color="orange">{t('state.draining')}</Tag> : node.cordoned && <Tag color="orange">{t('state.cordoned')}</Tag>}
      {(node.settings?.taints ?? []).map((taint) => (
        <Tag key={taintText(taint)}>{taintText(taint)}</Tag>
      ))}
    </Flex>
  );
}

export function NodeActions({ node }: { node: NodeItem }) {
  const { t } = useTranslation();
  const act = useAction((verb: 'cordon' | 'uncordon' | 'drain') => scheduler.nodeAct(node.name, verb), { done: t('apps.done'), refresh: [['nodes']] });
  const drop = useAction(() => scheduler.removeNode(node.name, node.instances > 0), { done: t('parts.deleted'), refresh: [['nodes']] });
  const closed = node.cordoned || node.draining;
  return (
    <Flex gap="small" wrap>
      {closed ? (
        <Button size="small" loading={act.isPending} onClick={() => act.mutate('uncordon')}>
          {t('nodes.uncordon')}
        </Button>
      ) : (
        <AskButton ask={t('nodes.confirmCordon', { name: node.name })} label={t('nodes.cordon')} loading={act.isPending} onConfirm={() => act.mutate('cordon')} />
      )}
      <AskButton ask={t('nodes.confirmDrain', { name: node.name })} label={t('nodes.drain')} disabled={node.draining} onConfirm={() => act.mutate('drain')} />
      <AskButton
        danger
        ask={node.instances > 0 ? t('nodes.confirmForce', { name: node.name, count: node.instances }) : t('nodes.confirmRemove', { name: node.name })}
        label={t('common.remove')}
        loading={drop.isPending}
        onConfirm={() => drop.mutate()}
      />
      <NodeSettingsButton node={node} />
    </Flex>
  );
}

export function Share({ label, used, of, show }: { label: string; used: number; of: number; show: (value: number) => string }) {
  return (
    <div style={{ minWidth: 150 }}>
      <Progress size="small" aria-label={label} percent={of > 0 ? Math.min(100, Math.round((used / of) * 100)) : 0} />
      {show(used)} / {show(of)}
    </div>
  );
}
