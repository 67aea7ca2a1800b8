// What one box of the picture says, in fields.

import { Button, Checkbox, Flex, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { NAME } from '../../../parts/forms';
import { Lines, Pick, Text, Whole } from './fields';
import { omit, renameVolume, set, without, type Edit, type Model } from './model';
import { WorkloadForm } from './WorkloadForm';

interface Props {
  model: Model;
  id: string;
  onEdit: (edit: Edit) => void;
  onSelect: (id: string | null) => void;
}

export function BoxForm({ model, id, onEdit, onSelect }: Props) {
  const { t } = useTranslation();
  const [kind, ...rest] = id.split(':');
  const name = rest.join(':');
  const form =
    kind === 'w' && model.workloads[name] ? (
      <WorkloadForm key={id} model={model} name={name} onEdit={onEdit} onSelect={onSelect} />
    ) : kind === 's' && model.services[Number(name)] ? (
      <ServiceForm key={id} model={model} index={Number(name)} onEdit={onEdit} />
    ) : kind === 'r' && model.services[Number(rest[0])]?.routes?.[Number(rest[1])] ? (
      <RouteForm key={id} model={model} service={Number(rest[0])} index={Number(rest[1])} onEdit={onEdit} />
    ) : kind === 'v' && model.volumes[name] ? (
      <VolumeForm key={id} model={model} name={name} onEdit={onEdit} onSelect={onSelect} />
    ) : null;
  if (!form) return <Typography.Text type="secondary">{t('editor.pick')}</Typography.Text>;
  return (
    <div className="stack">
      {form}
      <div>
        <Button
          danger
          onClick={() => {
            onEdit(without(model, id));
            onSelect(null);
          }}
        >
          {t('editor.remove')}
        </Button>
      </div>
    </div>
  );
}

function ServiceForm({ model, index, onEdit }: { model: Model; index: number; onEdit: (edit: Edit) => void }) {
  const { t } = useTranslation();
  const one = model.services[index]!;
  const at = ['services', index];
  const published = one.publish !== undefined && one.publish !== null;
  return (
    <div className="small-form">
      <Text label={t('common.name')} value={one.name} onValue={(value) => NAME.test(value) && onEdit(set([...at, 'name'], value))} />
      <Pick label={t('editor.serves')} value={one.workload} options={Object.keys(model.workloads).map((value) => ({ value, label: value }))} onValue={(value) => value && onEdit(set([...at, 'workload'], value))} />
      <Whole label={t('editor.port')} value={one.port} max={65535} onValue={(value) => onEdit(set([...at, 'port'], value ?? 0))} />
      <Pick label={t('editor.protocol')} value={one.protocol} options={['http', 'tcp', 'udp'].map((value) => ({ value, label: value }))} onValue={(value) => value && onEdit(set([...at, 'protocol'], value))} />
      <Pick label={t('editor.balance')} value={one.balance ?? 'roundrobin'} options={['roundrobin', 'leastconn', 'random', 'source', 'resources'].map((value) => ({ value, label: t(`editor.balances.${value}`) }))} onValue={(value) => onEdit(set([...at, 'balance'], value))} />
      <Checkbox checked={published} onChange={(event) => onEdit(set([...at, 'publish'], event.target.checked ? { wanted: 0 } : undefined))}>
        {t('editor.published')}
      </Checkbox>
      {published && <Whole label={t('editor.publishedPort')} value={one.publish?.wanted || undefined} max={65535} help={t('editor.publishedHelp')} onValue={(value) => onEdit(set([...at, 'publish'], { wanted: value ?? 0 }))} />}
      <Lines
        label={t('editor.routes')}
        help={t('editor.routesHelp')}
        value={(one.routes ?? []).map((route) => `${route.host}${route.path ?? '/'}`)}
        onValue={(lines) =>
          onEdit(
            set(
              [...at, 'routes'],
              lines.map((line, number) => {
                const cut = line.indexOf('/');
                return { ...one.routes?.[number], host: cut < 0 ? line : line.slice(0, cut), path: cut < 0 ? '/' : line.slice(cut) };
              }),
            ),
          )
        }
      />
      <Lines label={t('editor.allow')} help={t('editor.networksHelp')} value={one.access?.allow ?? []} onValue={(lines) => onEdit(set([...at, 'access', 'allow'], lines.length > 0 ? lines : undefined))} />
      <Lines label={t('editor.deny')} help={t('editor.networksHelp')} value={one.access?.deny ?? []} onValue={(lines) => onEdit(set([...at, 'access', 'deny'], lines.length > 0 ? lines : undefined))} />
      <Whole label={t('editor.requestsPerSecond')} value={one.access?.requests_per_second || undefined} max={1000000} help={t('editor.ofOneAddress')} onValue={(value) => onEdit(set([...at, 'access', 'requests_per_second'], value || undefined))} />
      <Whole label={t('editor.concurrent')} value={one.access?.concurrent || undefined} max={1000000} help={t('editor.ofOneAddress')} onValue={(value) => onEdit(set([...at, 'access', 'concurrent'], value || undefined))} />
    </div>
  );
}

function RouteForm({ model, service, index, onEdit }: { model: Model; service: number; index: number; onEdit: (edit: Edit) => void }) {
  const { t } = useTranslation();
  const one = model.services[service]!.routes![index]!;
  const at = ['services', service, 'routes', index];
  return (
    <div className="small-form">
      <Text label={t('editor.host')} value={one.host} onValue={(value) => onEdit(set([...at, 'host'], value || '*'))} />
      <Text label={t('editor.path')} value={one.path ?? '/'} onValue={(value) => onEdit(set([...at, 'path'], value || '/'))} />
      <Whole label={t('editor.weight')} value={one.weight ?? undefined} max={1000} onValue={(value) => onEdit(set([...at, 'weight'], value))} />
    </div>
  );
}

function VolumeForm({ model, name, onEdit, onSelect }: { model: Model; name: string; onEdit: (edit: Edit) => void; onSelect: (id: string) => void }) {
  const { t } = useTranslation();
  const one = model.volumes[name]!;
  const users = Object.entries(model.workloads).flatMap(([workload, each]) => (each.mounts ?? []).filter((mount) => mount.kind === 'volume' && mount.source === name).map((mount) => ({ workload, target: mount.target })));
  const write = (field: 'size_bytes' | 'class', value: string) => {
    const next = value === '' ? omit(one as Record<string, unknown>, field) : { ...one, [field]: value };
    onEdit((document) => document.setIn(['spec', 'volumes', name], document.createNode(next)));
  };
  return (
    <div className="small-form">
      <Text
        label={t('common.name')}
        value={name}
        onValue={(value) => {
          if (!NAME.test(value) || model.volumes[value]) return;
          onEdit(renameVolume(model, name, value));
          onSelect(`v:${value}`);
        }}
      />
      <Text label={t('editor.size')} value={String(one.size_bytes ?? '')} help={t('editor.sizeHelp')} onValue={(value) => write('size_bytes', value)} />
      <Text label={t('editor.class')} value={one.class ?? ''} onValue={(value) => write('class', value)} />
      <Flex vertical>
        {users.map((user) => (
          <span key={`${user.workload} ${user.target}`}>{t('editor.mounted', user)}</span>
        ))}
      </Flex>
    </div>
  );
}
