// Applications of a space.

import { RocketOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { clustersOf } from '../../api/clusters';
import { get } from '../../api/http';
import { scheduler, type AppItem, type SpaceRules } from '../../api/scheduler';
import { DataTable, LinkButton, PageHeader, State, Time } from '../../parts/basics';
import { useMay } from '../../parts/may';
import { useLiveList } from '../../parts/query';
import { long } from '../../parts/long';
import { to } from '../../place';

export default function Apps() {
  const { t } = useTranslation();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const space = params.space!;
  const query = useLiveList<AppItem>(['apps', org, project, space], scheduler.apps(org, project, space), { query: { limit: 500 } });
  const place = scheduler.rules(org, project, space);
  const rules = useQuery({ queryKey: ['rules', place, 'cluster'], queryFn: () => get<SpaceRules>(place), retry: false });
  const deploy = useMay('apps.write', { org, project, space }) && (
    <LinkButton primary icon={<RocketOutlined />} to={to.deploy(org, project, space)}>
      {t('deploy.title')}
    </LinkButton>
  );
  return (
    <>
      <PageHeader
        title={t('menu.apps')}
        sub={
          <Flex gap="small" align="center">
            {`${org}/${project}/${space}`}
            {clustersOf(rules.data ?? null).map((name) => (
              <Link key={name} to={to.cluster(name)}>
                {t('clusters.stands', { name })}
              </Link>
            ))}
          </Flex>
        }
        live={query.live}
        actions={
          <>
            <LinkButton to={to.topology(org, project, space)}>{t('topology.title')}</LinkButton>
            <LinkButton to={to.network(org, project, space)}>{t('menu.network')}</LinkButton>
            <LinkButton to={to.volumes(org, project, space)}>{t('volumes.title')}</LinkButton>
            <LinkButton to={to.configs(org, project, space)}>{t('kept.title')}</LinkButton>
            <LinkButton to={to.signs(org, project, space)}>{t('menu.signs')}</LinkButton>
            <LinkButton to={to.rules(org, project, space)}>{t('rules.title')}</LinkButton>
            {deploy}
          </>
        }
      />
      <DataTable<AppItem>
        label={t('menu.apps')}
        query={query}
        rowKey="id"
        inAddress
        empty={t('apps.empty')}
        emptyAction={deploy}
        search={(app) => [app.name, app.state, app.reason, ...app.workloads.map((one) => `${one.name} ${one.image}`), ...app.endpoints.map((one) => one.url)].join(' ')}
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string) => <Link to={to.app(org, project, space, name)}>{name}</Link> },
          {
            title: t('common.state'),
            render: (_, app) => (
              <Flex gap={4} wrap>
                <State value={app.state} />
                {app.release && app.release.steps > 0 && <Tag color="blue">{`${t(`release.strategy.${app.release.strategy}`, { defaultValue: app.release.strategy })} ${app.release.percent} %`}</Tag>}
              </Flex>
            ),
          },
          { title: t('apps.ready'), render: (_, app) => app.workloads.map((one) => `${one.name} ${one.ready}/${one.replicas}`).join(', ') },
          { title: t('apps.revision'), dataIndex: 'revision' },
          { title: t('apps.endpoints'), render: (_, app) => <Endpoints app={app} /> },
          { title: t('apps.reason'), dataIndex: 'reason', render: long },
          { title: t('common.changed'), dataIndex: 'updated_at', render: (at: string) => <Time at={at} /> },
        ]}
      />
    </>
  );
}

export function Endpoints({ app }: { app: AppItem }) {
  if (app.endpoints.length === 0) return <>–</>;
  return (
    <Flex vertical>
      {app.endpoints.map((endpoint) =>
        endpoint.protocol !== 'http' ? (
          <span key={endpoint.url} className="mono">
            {endpoint.host}:{endpoint.port}/{endpoint.protocol}
          </span>
        ) : (
          <a key={endpoint.url} href={endpoint.url} target="_blank" rel="noreferrer">
            {endpoint.url}
          </a>
        ),
      )}
    </Flex>
  );
}
