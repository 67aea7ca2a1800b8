// What others have changed of the applications' objects on a cluster, what is in the way of them, and whether it is put back.

import { Alert, Card, Flex, Radio, Table, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { clusters, type Cluster, type ClusterSettings } from '../../api/clusters';
import { Answer } from '../../parts/basics';
import { useAction } from '../../parts/query';
import { to } from '../../place';
import { placeName, useAppsOn, type AppOn } from './useSpaces';

interface Row {
  key: string;
  of: AppOn;
  object: string;
  fields: string[];
  managers: string[];
}

/** `may`: whether to offer a change. */
export function Drift({ cluster, org, may }: { cluster: Cluster; org?: string; may: boolean }) {
  const { t } = useTranslation();
  const { apps } = useAppsOn(cluster.name, org);
  const set = useAction((drift: ClusterSettings['drift']) => clusters.settings(cluster.name, { ...cluster.settings, drift }), { done: t('parts.saved'), refresh: [['clusters'], ['cluster-apps']] });
  const here = (apps.data ?? []).filter((one) => one.why?.cluster?.name === cluster.name);
  const rows: Row[] = here.flatMap((of) => of.why!.cluster!.drift.map((one) => ({ ...one, of, key: `${of.app.id}/${one.object}` })));
  return (
    <div className="stack">
      <Card title={t('clusters.driftWhat')}>
        <Radio.Group aria-label={t('clusters.driftWhat')} value={cluster.settings.drift} disabled={!may || set.isPending} onChange={(event) => set.mutate(event.target.value as ClusterSettings['drift'])}>
          <Flex vertical gap="small">
            {(['show', 'correct'] as const).map((value) => (
              <Radio key={value} value={value}>
                {t(`clusters.driftLong.${value}`)}
              </Radio>
            ))}
          </Flex>
        </Radio.Group>
      </Card>
      {here
        .filter((one) => one.why!.cluster!.problem)
        .map((one) => (
          <Alert
            key={one.app.id}
            type="warning"
            showIcon
            title={
              <>
                <Link to={to.app(one.at.org, one.at.project, one.at.space, one.app.name)}>{one.app.name}</Link>: {one.why!.cluster!.problem}
              </>
            }
          />
        ))}
      <Card title={t('clusters.drifted')}>
        <Answer query={{ ...apps, isPending: apps.isPending && org !== undefined }}>
          {() => (
            <Table<Row>
              size="small"
              aria-label={t('clusters.drifted')}
              rowKey="key"
              dataSource={rows}
              pagination={{ pageSize: 20, hideOnSinglePage: true }}
              scroll={{ x: 'max-content' }}
              locale={{ emptyText: t('clusters.noDrift') }}
              columns={[
                { title: t('clusters.object'), dataIndex: 'object', render: (object: string) => <span className="mono">{object}</span> },
                { title: t('clusters.fields'), render: (_, one) => <Tags of={one.fields} /> },
                { title: t('clusters.managers'), render: (_, one) => <Tags of={one.managers} /> },
                { title: t('deploy.app'), render: (_, one) => <Link to={to.app(one.of.at.org, one.of.at.project, one.of.at.space, one.of.app.name)}>{one.of.app.name}</Link> },
                { title: t('level.space'), render: (_, one) => placeName(one.of.at) },
              ]}
            />
          )}
        </Answer>
      </Card>
    </div>
  );
}

export function Tags({ of }: { of: string[] }) {
  return (
    <Flex gap={4} wrap>
      {of.map((one) => (
        <Tag key={one} className="mono">
          {one}
        </Tag>
      ))}
    </Flex>
  );
}
