// Forgetting a cluster, after a look at what is still on it.

import { Alert, Descriptions } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { clusters, type Cluster } from '../../api/clusters';
import { DeleteByName } from '../../parts/dialogs';
import { useAction } from '../../parts/query';
import { placeName, useAppsOn } from './useSpaces';

export function RemoveCluster({ cluster, org }: { cluster: Cluster; org?: string }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [open, setOpen] = useState(false);
  const { here, apps } = useAppsOn(cluster.name, open ? org : undefined);
  const remove = useAction(() => clusters.remove(cluster.name), { done: t('clusters.removed'), refresh: [['clusters']], onDone: () => void navigate('/clusters') });
  const list = (names: string[]) => (names.length === 0 ? t('parts.none') : names.join(', '));
  const instances = (apps.data ?? []).flatMap((one) => one.instances.filter((each) => !each.ended_at));
  return (
    <DeleteByName name={cluster.name} title={t('clusters.confirmRemove', { name: cluster.name })} label={t('clusters.remove')} pending={remove.isPending} onDelete={() => remove.mutate()} onOpen={() => setOpen(true)}>
      <p>{t('clusters.removeHelp')}</p>
      {here.length > 0 && <Alert type="warning" showIcon title={t('clusters.spacesFirst')} />}
      <Descriptions
        size="small"
        bordered
        column={1}
        items={[
          { key: 'credential', label: t('clusters.credential'), children: t('clusters.credentialGoes') },
          { key: 'spaces', label: cluster.org ? t('clusters.spaces') : t('clusters.spacesIn', { org: org ?? '–' }), children: list(here.map(placeName)) },
          { key: 'apps', label: t('menu.apps'), children: list((apps.data ?? []).map((one) => one.app.name)) },
          { key: 'pods', label: t('clusters.pods'), children: instances.length },
        ]}
      />
    </DeleteByName>
  );
}
