// Everything of a space at one look: routes, services, workloads with their states, volumes, and the nodes they run on.

import { Alert, Card, Flex, Table, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';

import { clusterOf } from '../../api/clusters';
import type { Instance } from '../../api/scheduler';
import { Answer, EmptyState, LinkButton, PageHeader, State, Time } from '../../parts/basics';
import { NodeLink } from '../../parts/NodeLink';
import { to } from '../../place';
import { Canvas } from '../apps/editor/Canvas';
import type { Spot } from '../apps/editor/drawing';
import { useSpaceApps } from '../nodes/useSpaceApps';
import { mapOf } from './map';
import { Configs, Services } from './Parts';

export default function Topology() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const params = useParams();
  const [org, project, space] = [params.org!, params.project!, params.space!];
  const query = useSpaceApps(org, project, space, { models: true });
  const [moved, setMoved] = useState<Record<string, Spot>>({});
  const [selected, setSelected] = useState<string | null>(null);
  const { boxes, arrows } = mapOf(query.items, moved);
  const chosen = boxes.find((box) => box.id === selected);
  const names = new Map(boxes.map((box) => [box.id, box.name]));
  const instances = query.items.flatMap(({ app, instances: all }) => all.filter((one) => !one.ended_at).map((one) => ({ ...one, app: app.name })));
  const shown = instances.filter((one) => {
    if (!chosen) return true;
    if (chosen.kind === 'node') return one.node === chosen.name;
    return one.app === chosen.app && (chosen.kind !== 'workload' || chosen.id === `${one.app}/w:${one.workload}`);
  });
  return (
    <>
      <PageHeader
        title={t('topology.title')}
        sub={<Link to={to.apps(org, project, space)}>{`${org}/${project}/${space}`}</Link>}
        live={query.live}
        actions={<LinkButton to={to.apps(org, project, space)}>{t('menu.apps')}</LinkButton>}
      />
      <Answer query={query}>
        {() =>
          boxes.length === 0 ? (
            <EmptyState text={t('apps.empty')} action={<LinkButton primary to={to.deploy(org, project, space)}>{t('deploy.title')}</LinkButton>} />
          ) : (
            <div className="stack">
              {query.hidden && <Alert type="info" showIcon title={t('network.hidden')} />}
              <Card>
                <Canvas
                  boxes={boxes}
                  arrows={arrows}
                  selected={selected}
                  look={(box) => `box-${boxes.find((one) => one.id === box.id)?.state ?? 'plain'}`}
                  label={t('topology.title')}
                  onSelect={(id) => setSelected(id === selected ? null : id)}
                  onMove={(id, spot) => setMoved((old) => ({ ...old, [id]: spot }))}
                />
              </Card>
              {chosen && (
                <Card
                  title={`${t(`editor.kind.${chosen.kind}`)} ${chosen.name}`}
                  extra={
                    chosen.kind === 'node' ? (
                      <LinkButton small to={clusterOf(chosen.name) === null ? to.node(chosen.name) : to.cluster(clusterOf(chosen.name)!)}>
                        {t('parts.open')}
                      </LinkButton>
                    ) : (
                      <LinkButton small to={to.app(org, project, space, chosen.app!)}>
                        {t('topology.openApp', { name: chosen.app })}
                      </LinkButton>
                    )
                  }
                >
                  <Flex gap="small" wrap>
                    {chosen.state && <State value={chosen.state} />}
                    {arrows
                      .filter((arrow) => arrow.from === chosen.id)
                      .map((arrow) => (
                        <Tag key={arrow.to}>{t(`editor.arrow.${arrow.kind}`, { name: names.get(arrow.to) ?? '' })}</Tag>
                      ))}
                  </Flex>
                </Card>
              )}
              <Card title={t('apps.instances')}>
                <Table<Instance & { app: string }>
                  size="small"
                  aria-label={t('apps.instances')}
                  rowKey="id"
                  dataSource={shown}
                  pagination={{ pageSize: 20, hideOnSinglePage: true }}
                  scroll={{ x: 'max-content' }}
                  locale={{ emptyText: t('apps.noInstances') }}
                  onRow={(one) => ({ onDoubleClick: () => void navigate(to.instance(org, project, space, one.app, one.id)) })}
                  columns={[
                    { title: t('common.name'), render: (_, one) => <Link to={to.instance(org, project, space, one.app, one.id)}>{one.name || `${one.workload}-${one.index}`}</Link> },
                    { title: t('deploy.app'), render: (_, one) => <Link to={to.app(org, project, space, one.app)}>{one.app}</Link> },
                    { title: t('instance.workload'), dataIndex: 'workload' },
                    { title: t('common.state'), render: (_, one) => <State value={one.state} /> },
                    { title: t('apps.node'), render: (_, one) => <NodeLink node={one.node} /> },
                    { title: t('apps.address'), render: (_, one) => <span className="mono">{one.address || '–'}</span> },
                    { title: t('apps.since'), render: (_, one) => <Time at={one.running_at ?? one.placed_at} /> },
                  ]}
                />
              </Card>
              <Services apps={query.items} org={org} project={project} space={space} />
              <Configs apps={query.items} org={org} project={project} space={space} />
            </div>
          )
        }
      </Answer>
    </>
  );
}
