// Volumes of a space on all nodes, also those whose application is gone: room, snapshots, backups.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Flex, Table, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { get } from '../../api/http';
import { volumes, type Backup, type Snapshot, type Volume, type Volumes as All } from '../../api/volumes';
import { DataTable, PageHeader, Time } from '../../parts/basics';
import { AskButton, DeleteButton, DeleteByName, FormDialog } from '../../parts/dialogs';
import { TextField } from '../../parts/fields';
import { bytes } from '../../parts/format';
import { NodeLink } from '../../parts/NodeLink';
import { useMay } from '../../parts/may';
import { useAction, useList } from '../../parts/query';
import { to } from '../../place';
import { CopyVolume } from './CopyVolume';

const time = (unix: number) => new Date(unix * 1000).toISOString();

export default function Volumes() {
  const { t } = useTranslation();
  const params = useParams();
  const [org, project, space] = [params.org!, params.project!, params.space!];
  const base = volumes.of(org, project, space);
  const key = ['volumes', base];
  const query = useQuery({ queryKey: key, queryFn: () => get<All>(base), refetchInterval: 15_000 });
  const write = useMay('apps.write', { org, project, space });
  const [naming, setNaming] = useState<Volume | null>(null);
  const [copying, setCopying] = useState<Volume | null>(null);
  const snapshot = useAction((name: string) => volumes.snapshot(base, naming!, name), { done: t('volumes.made'), refresh: [key], onDone: () => setNaming(null) });
  const back = useAction((one: Volume) => volumes.backUp(base, one), { done: t('volumes.backedUp'), refresh: [['backups']] });
  const drop = useAction((one: Volume) => volumes.remove(base, one), { done: t('parts.deleted'), refresh: [key] });
  return (
    <>
      <PageHeader title={t('volumes.title')} sub={<Link to={to.apps(org, project, space)}>{`${org}/${project}/${space}`}</Link>} />
      <div className="stack">
        {(query.data?.unreachable.length ?? 0) > 0 && <Alert type="warning" showIcon title={t('volumes.unreachable', { nodes: query.data!.unreachable.join(', ') })} />}
        <DataTable<Volume>
          label={t('volumes.title')}
          query={{ ...query, items: query.data?.items ?? [] }}
          rowKey={(one) => `${one.node}/${one.name}`}
          empty={t('volumes.none')}
          search={(one) => `${one.name} ${one.app} ${one.workload} ${one.node}`}
          inAddress
          expandable={{ expandedRowRender: (one) => <Copies base={base} volume={one} refresh={key} may={write === true} /> }}
          columns={[
            { title: t('common.name'), render: (_, one) => <span className="mono">{one.name}</span> },
            { title: t('deploy.app'), render: (_, one) => (one.orphaned ? <Tag color="orange">{t('volumes.orphaned', { app: one.app })}</Tag> : <Link to={to.app(org, project, space, one.app)}>{one.app}</Link>) },
            { title: t('instance.workload'), dataIndex: 'workload' },
            { title: t('apps.node'), render: (_, one) => <NodeLink node={one.node} /> },
            { title: t('volumes.used'), render: (_, one) => `${bytes(one.used_bytes)} / ${one.size_bytes > 0 ? bytes(one.size_bytes) : t('volumes.noLimit')}` },
            { title: t('common.state'), render: (_, one) => <Tag color={one.in_use ? 'green' : 'default'}>{t(one.in_use ? 'volumes.inUse' : 'volumes.free')}</Tag> },
            {
              title: t('common.actions'),
              render: (_, one) => write && (
                <Flex gap={4} wrap>
                  <AskButton ask={t('volumes.confirmSnapshot', { name: one.name })} label={t('volumes.snapshot')} onConfirm={() => setNaming(one)} />
                  <AskButton ask={t('volumes.confirmBackup', { name: one.name })} label={t('volumes.backUp')} loading={back.isPending} onConfirm={() => back.mutate(one)} />
                  <Button size="small" onClick={() => setCopying(one)}>
                    {t('volumes.copy')}
                  </Button>
                  <DeleteByName small name={one.name} title={t('volumes.confirmDelete', { name: one.name })} label={t('common.delete')} refused={one.in_use ? t('volumes.inUse') : undefined} pending={drop.isPending} onDelete={(close) => drop.mutate(one, { onSuccess: close })}>
                    {one.snapshots.length > 0 && <Alert type="warning" showIcon title={`${t('volumes.snapshots')}: ${one.snapshots.map((each) => each.name).join(', ')}`} />}
                  </DeleteByName>
                </Flex>
              ),
            },
          ]}
        />
      </div>
      <FormDialog<{ snapshot: string }> open={naming !== null} title={t('volumes.snapshotOf', { name: naming?.name })} pending={snapshot.isPending} error={snapshot.error} onClose={() => setNaming(null)} onSubmit={(form) => snapshot.mutate(form.snapshot)}>
        <TextField name="snapshot" label={t('common.name')} required focus max={63} />
      </FormDialog>
      <CopyVolume org={org} project={project} space={space} volume={copying} onClose={() => setCopying(null)} />
    </>
  );
}

function Copies({ base, volume, refresh, may }: { base: string; volume: Volume; refresh: string[]; may: boolean }) {
  const { t } = useTranslation();
  const backups = useList<Backup>(['backups', base, volume.name], volumes.backups(base, volume));
  const rollback = useAction((name: string) => volumes.rollback(base, volume, name), { done: t('volumes.restored'), refresh: [refresh] });
  const drop = useAction((name: string) => volumes.removeSnapshot(base, volume, name), { done: t('parts.deleted'), refresh: [refresh] });
  const restore = useAction((id: string) => volumes.restore(base, volume, id), { done: t('volumes.restored'), refresh: [refresh] });
  const dropBackup = useAction((id: string) => volumes.removeBackup(base, volume, id), { done: t('parts.deleted'), refresh: [['backups', base, volume.name]] });
  const back = (what: string, run: () => void) => <AskButton ask={t('volumes.confirmRestore', { name: what })} label={t('volumes.restore')} disabled={volume.in_use} onConfirm={run} />;
  return (
    <div className="two two-even">
      <Card size="small" title={t('volumes.snapshots')}>
        <Table<Snapshot>
          size="small"
          aria-label={t('volumes.snapshotsOf', { name: volume.name })}
          rowKey="name"
          pagination={false}
          dataSource={volume.snapshots}
          locale={{ emptyText: t('parts.none') }}
          columns={[
            { title: t('common.name'), dataIndex: 'name' },
            { title: t('common.created'), render: (_, one) => <Time at={time(one.at_unix)} /> },
            { title: t('images.size'), render: (_, one) => bytes(one.used_bytes) },
            {
              title: t('common.actions'),
              key: 'do',
              render: (_, one) => may && (
                <Flex gap={4}>
                  {back(one.name, () => rollback.mutate(one.name))}
                  <DeleteButton name={one.name} onConfirm={() => drop.mutate(one.name)} />
                </Flex>
              ),
            },
          ]}
        />
      </Card>
      <Card size="small" title={t('volumes.backups')}>
        <DataTable<Backup>
          size="small"
          label={t('volumes.backupsOf', { name: volume.name })}
          query={backups}
          rowKey="id"
          empty={t('parts.none')}
          columns={[
            { title: t('common.created'), render: (_, one) => <Time at={time(one.at_unix)} /> },
            { title: t('images.size'), render: (_, one) => bytes(one.bytes) },
            {
              title: t('common.actions'),
              key: 'do',
              render: (_, one) => may && (
                <Flex gap={4}>
                  {back(time(one.at_unix), () => restore.mutate(one.id))}
                  <DeleteButton name={time(one.at_unix)} onConfirm={() => dropBackup.mutate(one.id)} />
                </Flex>
              ),
            },
          ]}
        />
      </Card>
    </div>
  );
}
