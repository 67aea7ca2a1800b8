// Kubernetes clusters that were imported: whether they answer, what they are, what they can do.

import { ImportOutlined, ReloadOutlined } from '@ant-design/icons';
import { useQueries, useQueryClient } from '@tanstack/react-query';
import { Button, Flex, Tag, Tooltip } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { CAPABILITIES, clusters, type Cluster, type Tested } from '../../api/clusters';
import { DataTable, LinkButton, PageHeader, Time } from '../../parts/basics';
import { useAdministers } from '../../parts/me';
import { useList } from '../../parts/query';
import { to } from '../../place';

export const testKey = (name: string) => ['cluster-test', name];

/** Each test asks the cluster a hundred small questions: once, and again when somebody wants it. */
export const tested = (name: string) => ({ queryKey: testKey(name), queryFn: () => clusters.test(name), staleTime: 5 * 60_000, refetchOnWindowFocus: false, retry: false });

export default function Clusters() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const administers = useAdministers();
  const query = useList<Cluster>(['clusters'], clusters.all, { interval: 60_000 });
  const tests = useQueries({ queries: query.items.map((one) => tested(one.name)) });
  const found = (one: Cluster) => tests[query.items.indexOf(one)];
  const add = administers && (
    <LinkButton primary icon={<ImportOutlined />} to="/clusters/import">
      {t('clusters.import')}
    </LinkButton>
  );
  return (
    <>
      <PageHeader
        title={t('menu.clusters')}
        sub={t('clusters.sub')}
        actions={
          <>
            <Button icon={<ReloadOutlined />} disabled={query.items.length === 0} loading={tests.some((one) => one.isFetching)} onClick={() => void client.invalidateQueries({ queryKey: ['cluster-test'] })}>
              {t('clusters.testAll')}
            </Button>
            {add}
          </>
        }
      />
      <DataTable<Cluster>
        label={t('menu.clusters')}
        query={query}
        rowKey="id"
        inAddress
        empty={t('clusters.empty')}
        emptyAction={add}
        search={(one) => [one.name, one.org, one.server, found(one)?.data?.version].join(' ')}
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string) => <Link to={to.cluster(name)}>{name}</Link> },
          { title: t('clusters.health'), render: (_, one) => <Health test={found(one)?.data} pending={found(one)?.isFetching ?? true} error={found(one)?.error} /> },
          ...(query.items.some((one) => one.health) ? [{ title: t('clusters.pulse'), render: (_: unknown, one: Cluster) => <Pulse of={one} /> }] : []),
          { title: t('clusters.version'), render: (_, one) => found(one)?.data?.version || '–' },
          { title: t('clusters.capabilities'), render: (_, one) => <Capabilities test={found(one)?.data} /> },
          { title: t('clusters.owner'), render: (_, one) => (one.org ? <Link to={to.org(one.org)}>{one.org}</Link> : t('level.platform')) },
          { title: t('clusters.server'), dataIndex: 'server', render: (server: string) => <span className="mono">{server}</span> },
          { title: t('clusters.credential'), render: (_, one) => <CredentialOf cluster={one} /> },
          { title: t('clusters.added'), dataIndex: 'added_at', render: (at: string) => <Time at={at} /> },
        ]}
      />
    </>
  );
}

export function Health({ test, pending, error }: { test?: Tested; pending: boolean; error?: unknown }) {
  const { t } = useTranslation();
  if (!test) return <Tag color={error ? 'red' : 'default'}>{t(error ? 'clusters.untested' : pending ? 'clusters.testing' : 'clusters.untested')}</Tag>;
  if (test.usable) return <Tag color="green">{t('clusters.usable')}</Tag>;
  return (
    <Tooltip title={test.problem}>
      <Tag color="red">{t(test.version === '' ? 'clusters.unreachable' : 'clusters.unusable')}</Tag>
    </Tooltip>
  );
}

const PULSES = { reached: 'green', unreachable: 'orange', lost: 'red', missing: 'red', unknown: 'default' };

/** How the platform, which looks at it all the time, finds it now. */
export function Pulse({ of }: { of: Cluster }) {
  const { t } = useTranslation();
  if (!of.health) return <>–</>;
  return (
    <Tooltip title={of.health.problem}>
      <Tag color={PULSES[of.health.state]}>{t(`clusters.pulses.${of.health.state}`, { defaultValue: of.health.state })}</Tag>
      {of.health.since && <Time at={of.health.since} />}
    </Tooltip>
  );
}

export function Capabilities({ test }: { test?: Tested }) {
  const { t } = useTranslation();
  const has = CAPABILITIES.filter((one) => test?.capabilities[one]);
  if (has.length === 0) return <>–</>;
  return (
    <Flex gap={4} wrap>
      {has.map((one) => (
        <Tag key={one}>{t(`clusters.capability.${one}`)}</Tag>
      ))}
    </Flex>
  );
}

const SOON = 30 * 86_400_000;

export function CredentialOf({ cluster }: { cluster: Cluster }) {
  const { t } = useTranslation();
  const ends = cluster.credential_expires_at;
  return (
    <Flex gap={4} align="center" wrap>
      {t(`clusters.credentials.${cluster.credential}`, { defaultValue: cluster.credential })}
      {ends && (
        <Tag color={Date.parse(ends) - Date.now() < SOON ? 'orange' : 'default'}>
          {t('clusters.ends')} <Time at={ends} />
        </Tag>
      )}
    </Flex>
  );
}
