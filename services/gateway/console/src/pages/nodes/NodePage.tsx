// One machine: what it is, and its measured load.

import { Alert, Card, Descriptions, Flex, Result, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { monitoring } from '../../api/monitoring';
import { scheduler, type NodeItem } from '../../api/scheduler';
import { Answer, LinkButton, PageHeader, Time } from '../../parts/basics';
import { bytes, cpu } from '../../parts/format';
import { useMay } from '../../parts/may';
import { Metrics } from '../../parts/Metrics';
import { useLiveList } from '../../parts/query';
import { usePlace } from '../../place';
import { AheadCard } from './Ahead';
import { NodeInstances } from './NodeInstances';
import { NodeActions, NodeState, Share } from './Nodes';

export default function NodePage() {
  const { t } = useTranslation();
  const name = useParams().node!;
  const { org, project, space } = usePlace();
  const admin = useMay('apps.admin', {}) === true;
  const query = useLiveList<NodeItem>(['nodes'], scheduler.nodes);
  return (
    <Answer query={query}>
      {() => {
        const node = query.items.find((one) => one.name === name);
        if (!node) {
          return (
            <Result
              status="404"
              title={t('nodes.missing', { name })}
              extra={
                <LinkButton to="/nodes">
                  {t('menu.nodes')}
                </LinkButton>
              }
            />
          );
        }
        const facts = node.facts;
        const settings = node.settings ?? {};
        const labels = { ...facts.labels, ...settings.labels };
        return (
          <>
            <PageHeader title={name} live={query.live} sub={<NodeState node={node} />} actions={admin && <NodeActions node={node} />} />
            <div className="stack">
              {node.problem && <Alert type="error" showIcon title={node.problem} />}
              <Card>
                <Descriptions
                  column={{ xs: 1, md: 3 }}
                  items={[
                    { key: 'cpu', label: 'CPU', children: <Share label={t('nodes.cpuOf', { name })} used={node.reserved_cpu_millis} of={facts.cpu_millis} show={cpu} /> },
                    { key: 'memory', label: t('quota.memory_bytes'), children: <Share label={t('nodes.memoryOf', { name })} used={node.reserved_memory_bytes} of={facts.memory_bytes} show={bytes} /> },
                    { key: 'storage', label: t('quota.storage_bytes'), children: bytes(facts.storage_bytes) },
                    { key: 'instances', label: t('apps.instances'), children: node.instances },
                    { key: 'system', label: t('nodes.system'), children: `${facts.os} ${facts.kernel} ${facts.architecture}` },
                    { key: 'runtime', label: t('nodes.runtime'), children: [facts.runtime, ...(facts.runtime_classes ?? [])].join(', ') },
                    { key: 'zone', label: t('nodes.zone'), children: facts.zone || '–' },
                    { key: 'machine', label: t('nodes.machine'), children: t(facts.virtual_machine ? 'nodes.virtual' : 'nodes.physical') },
                    { key: 'joined', label: t('nodes.joined'), children: <Time at={node.joined_at} /> },
                    { key: 'conditions', label: t('nodes.conditions'), children: conditions(node).map((key) => t(`nodes.condition.${key}`)).join(', ') },
                    { key: 'overcommit', label: t('nodes.overcommit'), children: `CPU ${settings.overcommit_cpu_percent ?? '–'} % · ${t('quota.memory_bytes')} ${settings.overcommit_memory_percent ?? '–'} %` },
                    { key: 'limit', label: t('nodes.maxInstances'), children: settings.max_instances || '–' },
                    { key: 'reserved', label: t('nodes.reserved'), children: (settings.reserved ?? []).map((one) => `${one.space}: ${cpu(one.amounts.cpu_millis)} CPU, ${bytes(one.amounts.memory_bytes)}`).join('; ') || '–' },
                    {
                      key: 'labels',
                      label: t('nodes.labels'),
                      children: (
                        <Flex gap={4} wrap>
                          {Object.entries(labels).map(([key, value]) => (
                            <Tag key={key}>
                              {key}={value}
                            </Tag>
                          ))}
                        </Flex>
                      ),
                    },
                  ]}
                />
              </Card>
              <AheadCard node={node} may={admin} />
              {org && project && space && <NodeInstances node={name} org={org} project={project} space={space} />}
              <Metrics url={monitoring.nodeMetrics(name)} name={name} />
            </div>
          </>
        );
      }}
    </Answer>
  );
}

/** What one should know of it at a glance. */
function conditions(node: NodeItem): ('ready' | 'lost' | 'closed' | 'draining' | 'full')[] {
  const full = node.reserved_cpu_millis >= (node.facts.cpu_millis * (node.settings?.overcommit_cpu_percent ?? 100)) / 100 || node.reserved_memory_bytes >= (node.facts.memory_bytes * (node.settings?.overcommit_memory_percent ?? 100)) / 100;
  return [node.state === 'ready' ? 'ready' : 'lost', ...(node.draining ? (['draining'] as const) : node.cordoned ? (['closed'] as const) : []), ...(full ? (['full'] as const) : [])];
}
