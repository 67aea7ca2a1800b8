// One running copy of an application: where it is, how it fares, and its own log.

import { Card, Descriptions, Result, Tag } from 'antd';
import { lazy, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { clusterOf } from '../../api/clusters';
import { scheduler, type Instance as InstanceType } from '../../api/scheduler';
import { AuditTable } from '../../parts/AuditTable';
import { Answer, LinkButton, PageHeader, State, Time } from '../../parts/basics';
import { useMay } from '../../parts/may';
import { Metrics } from '../../parts/Metrics';
import { NodeLink } from '../../parts/NodeLink';
import { useLiveList } from '../../parts/query';
import { to } from '../../place';
import { PageTabs } from '../../parts/tabs';
import AppLogs from './AppLogs';
import { Containers } from './Containers';
import { Files } from './Files';
import { Migrate } from './Migrate';
import { Processes } from './Processes';
import { Shell } from './Shell';

const AppSigns = lazy(() => import('./AppSigns'));
const Terminal = lazy(() => import('./Terminal'));

export default function Instance() {
  const { t } = useTranslation();
  const params = useParams();
  const [org, project, space, app, id] = [params.org!, params.project!, params.space!, params.app!, params.instance!];
  const url = scheduler.app(org, project, space, app);
  const exec = useMay('apps.exec', { org, project, space });
  const write = useMay('apps.write', { org, project, space });
  const audit = useMay('monitoring.admin', { org });
  const query = useLiveList<InstanceType>(['instances', url], `${url}/instances`);
  const back = to.app(org, project, space, app);
  const [container, setContainer] = useState<string>();
  return (
    <Answer query={query}>
      {() => {
        const one = query.items.find((instance) => instance.id === id);
        if (!one) return <Result status="404" title={t('instance.missing', { name: id.slice(-6) })} subTitle={t('instance.missingHelp')} extra={<LinkButton to={back}>{app}</LinkButton>} />;
        const at = { app: url, instance: id, container };
        const name = one.name || `${one.workload}-${one.index}`;
        const actions = (
          <>
            {write && !one.ended_at && clusterOf(one.node) === null && <Migrate at={at} name={name} next={(instance) => to.instance(org, project, space, app, instance)} />}
            {exec && <LinkButton to={to.terminal(org, project, space, app, id)}>{t('terminal.newTab')}</LinkButton>}
          </>
        );
        return (
          <>
            <PageHeader title={t('instance.title', { name })} live={query.live} sub={<Link to={back}>{app}</Link>} actions={actions} />
            <div className="stack">
              <Card>
                <Descriptions
                  column={{ xs: 1, md: 3 }}
                  items={[
                    { key: 'state', label: t('common.state'), children: <State value={one.state} /> },
                    { key: 'rotation', label: t('instance.inRotation'), children: <Tag color={one.available ? 'green' : 'default'}>{t(one.available ? 'parts.yes' : 'parts.no')}</Tag> },
                    { key: 'revision', label: t('apps.revision'), children: one.revision },
                    { key: 'workload', label: t('instance.workload'), children: one.workload },
                    { key: 'node', label: t('apps.node'), children: <NodeLink node={one.node} /> },
                    { key: 'address', label: t('apps.address'), children: <span className="mono">{one.address || '–'}</span> },
                    { key: 'restarts', label: t('apps.restarts'), children: one.restarts },
                    { key: 'exit', label: t('instance.exitCode'), children: one.exit_code ?? '–' },
                    { key: 'placed', label: t('instance.placed'), children: <Time at={one.placed_at} /> },
                    { key: 'running', label: t('instance.running'), children: <Time at={one.running_at} /> },
                    { key: 'reason', label: t('apps.reason'), children: one.reason || '–' },
                  ]}
                />
              </Card>
              <Containers of={one} value={container} onChange={setContainer} />
              <PageTabs
                items={[
                  { key: 'logs', label: t('apps.logs'), children: <AppLogs name={name} url={url} only={id} /> },
                  { key: 'metrics', label: t('apps.metrics'), children: <Metrics url={`${url}/metrics`} name={name} only={id} /> },
                  ...(exec
                    ? [
                        { key: 'terminal', label: t('terminal.title'), children: <Terminal key={container ?? ''} at={at} name={name} /> },
                        { key: 'shell', label: t('inside.shell'), children: <Shell key={container ?? ''} at={at} name={name} /> },
                        { key: 'processes', label: t('inside.processes'), children: <Processes at={at} /> },
                        { key: 'files', label: t('files.title'), children: <Files at={at} /> },
                      ]
                    : []),
                  { key: 'signs', label: t('signs.tab'), children: <AppSigns url={url} only={id} /> },
                  ...(audit ? [{ key: 'events', label: t('instance.events'), children: <AuditTable filter={{ object: `instance:${id}` }} /> }] : []),
                ]}
              />
            </div>
          </>
        );
      }}
    </Answer>
  );
}
