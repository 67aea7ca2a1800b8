// What of the chosen space runs on a node.

import { Card } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import type { Instance } from '../../api/scheduler';
import { DataTable, State, Time } from '../../parts/basics';
import { to } from '../../place';
import { useSpaceApps } from './useSpaceApps';

export function NodeInstances({ node, org, project, space }: { node: string; org: string; project: string; space: string }) {
  const { t } = useTranslation();
  const query = useSpaceApps(org, project, space);
  const here = query.items.flatMap(({ app, instances }) => instances.filter((one) => one.node === node && !one.ended_at).map((one) => ({ ...one, app: app.name })));
  return (
    <Card title={t('nodes.instancesOf', { place: `${org}/${project}/${space}` })}>
      <DataTable<Instance & { app: string }>
        size="small"
        label={t('nodes.instancesOf', { place: `${org}/${project}/${space}` })}
        query={{ ...query, items: here }}
        rowKey="id"
        empty={t('apps.noInstances')}
        columns={[
          { title: t('common.name'), render: (_, one) => <Link to={to.instance(org, project, space, one.app, one.id)}>{one.name}</Link> },
          { title: t('deploy.app'), render: (_, one) => <Link to={to.app(org, project, space, one.app)}>{one.app}</Link> },
          { title: t('common.state'), render: (_, one) => <State value={one.state} /> },
          { title: t('apps.restarts'), dataIndex: 'restarts' },
          { title: t('apps.since'), render: (_, one) => <Time at={one.running_at ?? one.placed_at} /> },
        ]}
      />
    </Card>
  );
}
