// Services of a space: how they are reached and by which instances they are served, routes, and names for what runs elsewhere.

import { Alert, Flex, Input, Table, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import type { Instance } from '../../api/scheduler';
import { DataTable, LinkButton, PageHeader, State, Time } from '../../parts/basics';
import { useClear } from '../../parts/clear';
import { NodeLink } from '../../parts/NodeLink';
import { PageTabs } from '../../parts/tabs';
import { long } from '../../parts/long';
import { to } from '../../place';
import { useSpaceApps } from '../nodes/useSpaceApps';
import { Outside } from './Outside';
import { netOutside, netRoutes, netServices, shareOf, type NetRoute, type NetService } from './reach';

export default function Network() {
  const { t } = useTranslation();
  const clear = useClear();
  const params = useParams();
  const [org, project, space] = [params.org!, params.project!, params.space!];
  const query = useSpaceApps(org, project, space, { models: true });
  const [wanted, setWanted] = useState('');
  const has = (...texts: string[]) => texts.some((text) => text.toLowerCase().includes(wanted.trim().toLowerCase()));
  const routes = netRoutes(query.items);
  const services = netServices(query.items).filter((one) => has(one.name, one.app, one.workload, ...one.inside, ...one.addresses.map(({ url }) => url)));
  const outside = netOutside(query.items).filter((one) => has(one.name, one.app, one.address));
  const shown = routes.filter((one) => has(one.host, one.path, one.app, one.service));
  const app = (name: string) => <Link to={to.app(org, project, space, name)}>{name}</Link>;
  const deploy = !query.hidden && (
    <LinkButton primary to={to.deploy(org, project, space)}>
      {t('deploy.title')}
    </LinkButton>
  );
  return (
    <>
      <PageHeader
        title={t('menu.network')}
        sub={<Link to={to.apps(org, project, space)}>{`${org}/${project}/${space}`}</Link>}
        live={query.live}
        actions={
          <>
            <LinkButton to={to.topology(org, project, space)}>{t('topology.title')}</LinkButton>
            {deploy}
          </>
        }
      />
      {query.hidden && <Alert className="toolbar" type="info" showIcon title={t('network.hidden')} />}
      <Flex className="toolbar">
        <Input allowClear={clear} style={{ width: 320 }} aria-label={t('network.find')} placeholder={t('network.find')} value={wanted} onChange={(event) => setWanted(event.target.value)} />
      </Flex>
      <PageTabs
        items={[
          {
            key: 'services',
            label: `${t('space.services')} (${services.length})`,
            children: (
              <DataTable<NetService>
                label={t('space.services')}
                query={{ ...query, items: services }}
                rowKey="key"
                empty={t('network.noServices')}
                emptyAction={deploy}
                expandable={{ expandedRowRender: (one) => <Behind service={one} place={[org, project, space]} /> }}
                columns={[
                  { title: t('common.name'), dataIndex: 'name' },
                  { title: t('deploy.app'), render: (_, one) => app(one.app) },
                  { title: t('space.inside'), render: (_, one) => <Names of={one.inside} /> },
                  { title: t('network.port'), render: (_, one) => (one.port > 0 ? `${one.port}/${one.protocol}` : '–') },
                  { title: t('apps.endpoints'), render: (_, one) => <Addresses of={one} /> },
                  { title: t('network.behind'), render: (_, one) => <Ready service={one} /> },
                  { title: t('editor.balance'), render: (_, one) => <Balance service={one} /> },
                ]}
              />
            ),
          },
          {
            key: 'routes',
            label: `${t('editor.routes')} (${shown.length})`,
            children: (
              <DataTable<NetRoute>
                label={t('editor.routes')}
                query={{ ...query, items: shown }}
                rowKey="key"
                empty={t('network.noRoutes')}
                emptyAction={deploy}
                columns={[
                  { title: t('editor.host'), render: (_, one) => <span className="mono">{one.host === '*' ? t('network.anyHost') : one.host}</span>, sorter: (a, b) => a.host.localeCompare(b.host) },
                  { title: t('editor.path'), render: (_, one) => <span className="mono">{one.path}</span> },
                  { title: t('network.leadsTo'), render: (_, one) => `${one.service}` },
                  { title: t('deploy.app'), render: (_, one) => app(one.app) },
                  { title: t('editor.weight'), render: (_, one) => <Weight route={one} all={routes} /> },
                  { title: 'TLS', render: (_, one) => (one.tls ? <Tag color="green">{t('network.secret', { name: one.tls })}</Tag> : one.own ? <Tag color="green">{t('network.ownCertificate')}</Tag> : <Tag>{t('network.plain')}</Tag>) },
                  {
                    title: t('network.rules'),
                    render: (_, one) =>
                      one.rules.length === 0 ? '–' : (
                        <Flex gap={4} wrap className="step">
                          {one.rules.map(([field, value]) => (
                            <Tag key={field}>
                              {t(`network.rule.${field}`, { defaultValue: field })}: {value}
                            </Tag>
                          ))}
                        </Flex>
                      ),
                  },
                ]}
              />
            ),
          },
          {
            key: 'outside',
            label: `${t('network.outside')} (${outside.length})`,
            children: <Outside place={[org, project, space]} query={query} shown={outside} />,
          },
        ]}
      />
    </>
  );
}

function Names({ of }: { of: string[] }) {
  if (of.length === 0) return <>–</>;
  return (
    <Flex vertical>
      {of.map((name) => (
        <span key={name} className="mono">
          {name}
        </span>
      ))}
    </Flex>
  );
}

function Addresses({ of }: { of: NetService }) {
  if (of.addresses.length === 0) return <>–</>;
  return (
    <Flex vertical>
      {of.addresses.map(({ url, link }) =>
        link ? (
          <a key={url} href={url} target="_blank" rel="noreferrer" className="mono">
            {url}
          </a>
        ) : (
          <span key={url} className="mono">
            {url}
          </span>
        ),
      )}
    </Flex>
  );
}

function Ready({ service }: { service: NetService }) {
  const { t } = useTranslation();
  if (service.stopped) return <State value="stopped" />;
  if (service.sleep === 'asleep') return <Tag color="purple">{t('network.asleep')}</Tag>;
  const colour = service.ready >= service.wanted ? 'green' : service.ready > 0 ? 'gold' : 'red';
  return (
    <Flex gap={4} wrap>
      <Tag color={colour}>{t('network.ready', { ready: service.ready, all: service.wanted })}</Tag>
      {service.sleep === 'awake' && <Tag>{t('network.sleeps', { after: `${service.idle}`.replace(/^\d+$/, '$& s') })}</Tag>}
    </Flex>
  );
}

function Balance({ service }: { service: NetService }) {
  const { t } = useTranslation();
  const how = service.balance === 'headless' ? t('network.headless') : t(`editor.balances.${service.balance}`, { defaultValue: service.balance });
  return (
    <Flex gap={4} wrap>
      {how}
      {service.sticky && <Tag>{t('network.sticky', { time: service.sticky.replace(/^\d+$/, '$& s') })}</Tag>}
    </Flex>
  );
}

function Weight({ route, all }: { route: NetRoute; all: NetRoute[] }) {
  const { t } = useTranslation();
  const share = shareOf(route, all);
  if (share === null) return <>{route.weight ?? '–'}</>;
  return <>{t('network.share', { weight: route.weight ?? 1, percent: share })}</>;
}

function Behind({ service, place: [org, project, space] }: { service: NetService; place: [string, string, string] }) {
  const { t } = useTranslation();
  return (
    <Table<Instance>
      size="small"
      aria-label={t('network.behindOf', { name: service.name })}
      rowKey="id"
      dataSource={service.instances}
      pagination={{ pageSize: 20, hideOnSinglePage: true }}
      locale={{ emptyText: t(service.sleep === 'asleep' ? 'network.asleepHelp' : 'apps.noInstances') }}
      columns={[
        { title: t('common.name'), render: (_, one) => <Link to={to.instance(org, project, space, service.app, one.id)}>{one.name || `${one.workload}-${one.index}`}</Link> },
        { title: t('common.state'), render: (_, one) => <State value={one.state} /> },
        { title: t('instance.inRotation'), render: (_, one) => <Tag color={one.available ? 'green' : 'default'}>{t(one.available ? 'parts.yes' : 'parts.no')}</Tag> },
        { title: t('apps.address'), render: (_, one) => <span className="mono">{one.address ? `${one.address}${service.port > 0 ? `:${service.port}` : ''}` : '–'}</span> },
        { title: t('apps.node'), render: (_, one) => <NodeLink node={one.node} /> },
        { title: t('apps.revision'), dataIndex: 'revision' },
        { title: t('apps.since'), render: (_, one) => <Time at={one.running_at ?? one.placed_at} /> },
        { title: t('apps.reason'), dataIndex: 'reason', render: long },
      ]}
    />
  );
}
