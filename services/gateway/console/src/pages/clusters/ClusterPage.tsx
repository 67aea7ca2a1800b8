// One cluster: what it is and whether it is usable, the spaces on it, its nodes and pods, drift, settings, and what happened.

import { ReloadOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Button, Flex, Select } from 'antd';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { clusters, type Cluster } from '../../api/clusters';
import { get } from '../../api/http';
import { identity, type Org } from '../../api/identity';
import { AuditTable } from '../../parts/AuditTable';
import { Answer, PageHeader } from '../../parts/basics';
import { useMay } from '../../parts/may';
import { useList } from '../../parts/query';
import { PageTabs } from '../../parts/tabs';
import { usePlace } from '../../place';
import { Credential } from './Credential';
import { Drift } from './Drift';
import { Found } from './Found';
import { Health, tested } from './Clusters';
import { Pods } from './Pods';
import { Releases } from './Releases';
import { RemoveCluster } from './Remove';
import { Settings } from './Settings';
import { SignIn } from './SignIn';
import { Spaces } from './Spaces';

export default function ClusterPage() {
  const { t } = useTranslation();
  const name = useParams().cluster!;
  const query = useQuery({ queryKey: ['clusters', name], queryFn: () => get<Cluster>(clusters.one(name)) });
  const test = useQuery(tested(name));
  // The platform's clusters are its administrators', an organisation's its own.
  const may = useMay('apps.admin', query.data?.org ? { org: query.data.org } : {});
  const audit = useMay('monitoring.admin', query.data?.org ? { org: query.data.org } : {});
  const place = usePlace();
  const [chosen, setChosen] = useState<string>();
  const orgs = useList<Org>(['orgs'], identity.orgs);
  return (
    <Answer query={query}>
      {() => {
        const cluster = query.data!;
        // The platform's cluster has spaces of many; one organisation is looked at at a time.
        const org = cluster.org ?? chosen ?? place.org ?? orgs.items[0]?.name;
        const choice = !cluster.org && (
          <Flex className="toolbar" gap="small" align="center">
            {t('clusters.spacesOf')}
            <Select aria-label={t('level.org')} style={{ minWidth: 220 }} value={org} onChange={setChosen} showSearch options={orgs.items.map((one) => ({ value: one.name, label: one.name }))} />
          </Flex>
        );
        const chosenIn = (content: ReactNode) => (
          <>
            {choice}
            {content}
          </>
        );
        return (
          <>
            <PageHeader
              title={name}
              sub={
                <Flex gap="small" align="center">
                  <Health test={test.data} pending={test.isFetching} error={test.error} />
                  <Link to="/clusters">{t('menu.clusters')}</Link>
                </Flex>
              }
              actions={
                <>
                  <Button icon={<ReloadOutlined />} loading={test.isFetching} onClick={() => void test.refetch()}>
                    {t('clusters.test')}
                  </Button>
                  {may && (
                    <>
                      <Credential cluster={cluster} />
                      <RemoveCluster cluster={cluster} org={org} />
                    </>
                  )}
                </>
              }
            />
            <PageTabs
              items={[
                { key: 'found', label: t('clusters.found'), children: <Found cluster={cluster} test={test} /> },
                { key: 'spaces', label: t('clusters.spaces'), children: chosenIn(<Spaces cluster={name} org={org} />) },
                { key: 'nodes', label: t('clusters.nodes'), children: chosenIn(<Pods cluster={name} org={org} />) },
                { key: 'releases', label: t('release.all'), children: chosenIn(<Releases cluster={name} org={org} />) },
                { key: 'drift', label: t('clusters.drift'), children: chosenIn(<Drift cluster={cluster} org={org} may={may === true} />) },
                { key: 'sign-in', label: t('kubectl.title'), children: <SignIn cluster={cluster} /> },
                ...(may ? [{ key: 'settings', label: t('clusters.settings'), children: <Settings cluster={cluster} /> }] : []),
                ...(audit ? [{ key: 'events', label: t('instance.events'), children: <AuditTable filter={{ object: `cluster:${cluster.id}` }} /> }] : []),
              ]}
            />
          </>
        );
      }}
    </Answer>
  );
}
