// One machine: what it is, and its measured load.

import { Card, Descriptions, Flex, Result, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { monitoring } from '../api/monitoring';
import { scheduler, type NodeItem } from '../api/scheduler';
import { Answer, LinkButton, PageHeader, Time } from '../parts/basics';
import { bytes, cpu } from '../parts/format';
import { Metrics } from '../parts/Metrics';
import { useLiveList } from '../parts/query';
import { NodeActions, NodeState } from './Nodes';

export default function NodePage() {
  const { t } = useTranslation();
  const name = useParams().node!;
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
        return (
          <>
            <PageHeader title={name} live={query.live} sub={<NodeState node={node} />} actions={<NodeActions node={node} />} />
            <div className="stack">
              <Card>
                <Descriptions
                  column={{ xs: 1, md: 3 }}
                  items={[
                    { key: 'cpu', label: 'CPU', children: `${cpu(node.reserved_cpu_millis)} / ${cpu(facts.cpu_millis)}` },
                    { key: 'memory', label: t('quota.memory_bytes'), children: `${bytes(node.reserved_memory_bytes)} / ${bytes(facts.memory_bytes)}` },
                    { key: 'storage', label: t('quota.storage_bytes'), children: bytes(facts.storage_bytes) },
                    { key: 'instances', label: t('apps.instances'), children: node.instances },
                    { key: 'system', label: t('nodes.system'), children: `${facts.os} ${facts.kernel} ${facts.architecture}` },
                    { key: 'runtime', label: t('nodes.runtime'), children: facts.runtime },
                    { key: 'machine', label: t('nodes.machine'), children: t(facts.virtual_machine ? 'nodes.virtual' : 'nodes.physical') },
                    { key: 'joined', label: t('nodes.joined'), children: <Time at={node.joined_at} /> },
                    {
                      key: 'labels',
                      label: t('nodes.labels'),
                      children: (
                        <Flex gap={4} wrap>
                          {Object.entries(facts.labels ?? {}).map(([key, value]) => (
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
              <Metrics url={monitoring.nodeMetrics(name)} name={name} />
            </div>
          </>
        );
      }}
    </Answer>
  );
}
