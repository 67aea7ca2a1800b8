// Deleting an application, after a look at what goes with it.

import { useQuery } from '@tanstack/react-query';
import { Descriptions } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { scheduler, type AppItem, type Instance, type Revision } from '../../api/scheduler';
import { DeleteByName } from '../../parts/dialogs';
import { useAction, useList } from '../../parts/query';
import { AskedForesight } from './Foresight';
import { partsOf } from './editor/model';

export function DeleteApp({ app, url, back }: { app: AppItem; url: string; back: string }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [open, setOpen] = useState(false);
  const instances = useList<Instance>(['instances', url], `${url}/instances`, { enabled: open });
  const revisions = useList<Revision>(['revisions', url], `${url}/revisions`, { enabled: open });
  const model = useQuery({ queryKey: ['model', url], queryFn: async () => partsOf((await scheduler.exported(url, 'gantry')).document), enabled: open });
  const remove = useAction(() => scheduler.remove(url), { done: t('apps.deleted'), refresh: [['apps'], ['volumes']], onDone: () => void navigate(back) });
  const list = (names: string[]) => (names.length === 0 ? t('parts.none') : names.join(', '));
  return (
    <DeleteByName name={app.name} title={t('apps.confirmDelete', { name: app.name })} label={t('common.delete')} pending={remove.isPending} onDelete={() => remove.mutate()} onOpen={() => setOpen(true)}>
      <p>{t('goes.along')}</p>
      <Descriptions
        size="small"
        bordered
        column={1}
        items={[
          { key: 'workloads', label: t('apps.workloads'), children: list(app.workloads.map((one) => one.name)) },
          { key: 'instances', label: t('apps.instances'), children: instances.items.filter((one) => !one.ended_at).length },
          { key: 'addresses', label: t('apps.endpoints'), children: list([...new Set(app.endpoints.map((one) => `${one.host}:${one.port}`))]) },
          { key: 'configs', label: t('goes.configs'), children: list(model.data?.configs ?? []) },
          { key: 'revisions', label: t('apps.revisions'), children: revisions.items.length },
          { key: 'volumes', label: t('goes.volumes'), children: list(model.data?.volumes ?? []) },
        ]}
      />
      {open && <AskedForesight name={[url, 'delete']} ask={() => scheduler.tryRemove(url)} />}
    </DeleteByName>
  );
}
