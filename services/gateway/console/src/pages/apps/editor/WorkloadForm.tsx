// A workload's fields: what runs, how many, with which limits, checks, volumes and dependencies.

import { Button, Flex, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { NAME } from '../../../parts/forms';
import { Lines, pairs, Pick, Text, unpaired, Whole } from './fields';
import { omit, renameWorkload, set, type At, type Edit, type Model, type Probe } from './model';

const KINDS = ['stateless', 'stateful', 'global', 'job', 'cron_job'];
const number = (text: string): number | string | undefined => (text === '' ? undefined : /^\d+$/.test(text) ? Number(text) : text);

export function WorkloadForm({ model, name, onEdit, onSelect }: { model: Model; name: string; onEdit: (edit: Edit) => void; onSelect: (id: string) => void }) {
  const { t } = useTranslation();
  const one = model.workloads[name]!;
  const at: At = ['workloads', name];
  const write = (field: string, value: unknown) => onEdit(set([...at, field], value));
  const amount = (part: 'requests' | 'limits', field: 'cpu_millis' | 'memory_bytes', text: string) => {
    const rest = omit((one[part] ?? {}) as Record<string, number | string>, field);
    const value = number(text);
    write(part, value === undefined ? rest : { ...rest, [field]: value });
  };
  const others = Object.keys(model.workloads).filter((other) => other !== name);
  const mounted = (one.mounts ?? []).filter((mount) => mount.kind === 'volume');
  const amounts = (part: 'requests' | 'limits') => (
    <>
      <Text label={t(`editor.${part}Cpu`)} value={shown(one[part]?.cpu_millis)} help={t('editor.cpuHelp')} onValue={(text) => amount(part, 'cpu_millis', text)} />
      <Text label={t(`editor.${part}Memory`)} value={memory(one[part]?.memory_bytes)} help={t('editor.memoryHelp')} onValue={(text) => amount(part, 'memory_bytes', text)} />
    </>
  );
  return (
    <div className="small-form">
      <Text
        label={t('common.name')}
        value={name}
        onValue={(value) => {
          if (!NAME.test(value) || model.workloads[value]) return;
          onEdit(renameWorkload(model, name, value));
          onSelect(`w:${value}`);
        }}
      />
      <Text label={t('apps.image')} value={one.image ?? ''} onValue={(value) => write('image', value)} />
      <Pick label={t('apps.kind')} value={one.kind ?? 'stateless'} options={KINDS.map((value) => ({ value, label: t(`workloadKind.${value}`) }))} onValue={(value) => write('kind', value)} />
      <Whole label={t('editor.replicas')} value={one.replicas ?? 1} max={1000} onValue={(value) => write('replicas', value ?? 1)} />
      <Lines label={t('editor.command')} help={t('editor.commandHelp')} value={[...(one.command ?? []), ...(one.args ?? [])].map(String)} onValue={(lines) => onEdit(split(at, one.command?.length ?? 0, lines))} />
      <Lines label={t('editor.env')} help={t('editor.envHelp')} value={pairs(one.env)} onValue={(lines) => write('env', unpaired(lines))} />
      <Text label={t('editor.ports')} value={(one.ports ?? []).join(', ')} onValue={(text) => write('ports', text.split(/[\s,]+/).map(Number).filter((port) => port > 0 && port < 65536))} />
      <Pick label={t('editor.restart')} value={one.restart ?? 'always'} options={['always', 'on-failure', 'never'].map((value) => ({ value, label: t(`editor.restarts.${value}`) }))} onValue={(value) => write('restart', value)} />
      {amounts('requests')}
      {amounts('limits')}
      <Lines
        label={t('editor.mounts')}
        help={t('editor.mountsHelp')}
        value={mounted.map((mount) => `${mount.source ?? ''}:${mount.target}${mount.read_only ? ':ro' : ''}`)}
        onValue={(lines) => {
          const volumes = lines.map((line) => line.split(':')).map(([source, target, mode]) => ({ kind: 'volume', source: source!, target: target ?? `/${source}`, ...(mode === 'ro' ? { read_only: true } : {}) }));
          write('mounts', [...(one.mounts ?? []).filter((mount) => mount.kind !== 'volume'), ...volumes]);
        }}
      />
      <div>
        <Typography.Text strong>{t('editor.dependsOn')}</Typography.Text>
        {others.map((other) => (
          <Pick
            key={other}
            label={other}
            clear
            value={one.depends_on?.[other]}
            options={['started', 'healthy', 'completed'].map((value) => ({ value, label: t(`editor.conditions.${value}`) }))}
            onValue={(value) => write('depends_on', value ? { ...one.depends_on, [other]: value } : omit(one.depends_on ?? {}, other))}
          />
        ))}
      </div>
      <Probes probes={one.probes ?? []} port={one.ports?.[0] ?? 8080} onProbes={(probes) => write('probes', probes)} />
    </div>
  );
}

/** As many words as the command had stay the command; the rest are its arguments. */
function split(at: At, command: number, words: string[]): Edit {
  return (document) => {
    set([...at, 'command'], words.slice(0, command))(document);
    set([...at, 'args'], words.slice(command))(document);
  };
}

const shown = (value: number | string | undefined) => (value === undefined || value === 0 ? '' : String(value));

/** Whole mebibytes are shown so. */
function memory(value: number | string | undefined): string {
  const plain = Number(value);
  return plain > 0 && plain % (1024 * 1024) === 0 ? `${plain / (1024 * 1024)}Mi` : shown(value);
}

function Probes({ probes, port, onProbes }: { probes: Probe[]; port: number; onProbes: (probes: Probe[]) => void }) {
  const { t } = useTranslation();
  const put = (index: number, next: Probe) => onProbes(probes.map((probe, each) => (each === index ? next : probe)));
  const checks: Record<string, Probe['check']> = { http: { kind: 'http', path: '/', port }, tcp: { kind: 'tcp', port }, grpc: { kind: 'grpc', port }, command: { kind: 'command', command: ['true'] } };
  return (
    <div className="stack">
      <Typography.Text strong>{t('editor.probes')}</Typography.Text>
      {probes.map((probe, index) => (
        // eslint-disable-next-line react/no-array-index-key -- a check has no other name
        <fieldset key={index} className="small-form probe">
          <legend>{t('editor.probe', { number: index + 1 })}</legend>
          <Pick label={t('editor.purpose')} value={probe.purpose} options={['startup', 'live', 'ready'].map((value) => ({ value, label: t(`editor.purposes.${value}`) }))} onValue={(value) => put(index, { ...probe, purpose: value as Probe['purpose'] })} />
          <Pick label={t('editor.check')} value={probe.check.kind} options={Object.keys(checks).map((value) => ({ value, label: t(`editor.checks.${value}`) }))} onValue={(value) => put(index, { ...probe, check: checks[value!]! })} />
          {probe.check.kind === 'http' && <Text label={t('editor.path')} value={probe.check.path ?? '/'} onValue={(path) => put(index, { ...probe, check: { ...probe.check, path: path || '/' } })} />}
          {probe.check.kind === 'command' ? (
            <Lines label={t('editor.command')} value={probe.check.command ?? []} onValue={(command) => put(index, { ...probe, check: { ...probe.check, command } })} />
          ) : (
            <Whole label={t('editor.port')} value={probe.check.port} min={1} max={65535} onValue={(next) => put(index, { ...probe, check: { ...probe.check, port: next ?? port } })} />
          )}
          <Text label={t('editor.period')} value={String(probe.period_ms ?? '10s')} onValue={(text) => put(index, { ...probe, period_ms: number(text) })} />
          <Whole label={t('editor.failures')} value={probe.failure_threshold ?? 3} min={1} max={100} onValue={(next) => put(index, { ...probe, failure_threshold: next ?? 3 })} />
          <Button size="small" onClick={() => onProbes(probes.filter((_, each) => each !== index))}>
            {t('editor.removeProbe', { number: index + 1 })}
          </Button>
        </fieldset>
      ))}
      <Flex>
        <Button size="small" onClick={() => onProbes([...probes, { purpose: 'ready', check: checks.http! }])}>
          {t('editor.addProbe')}
        </Button>
      </Flex>
    </div>
  );
}
