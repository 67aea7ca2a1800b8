// The log of an application: of all instances or one, also one that has ended, from its last start or the one before.

import { useQuery } from '@tanstack/react-query';
import { Flex, Input, Select } from 'antd';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';

import { get, withQuery } from '../../api/http';
import type { Instance, Why } from '../../api/scheduler';
import { useClear } from '../../parts/clear';
import { LogView } from '../../parts/LogView';
import { readAppLog } from '../../parts/logs';
import { useLiveList } from '../../parts/query';

const SPANS = ['15m', '1h', '6h', '24h', '7d'];

export default function AppLogs({ url, name, only }: { url: string; name: string; only?: string }) {
  const { t } = useTranslation();
  const clear = useClear();
  const query = useLiveList<Instance>(['instances', url], `${url}/instances`);
  const why = useQuery({ queryKey: ['why', url], queryFn: () => get<Why>(`${url}/why`) });
  const [workload, setWorkload] = useState<string>();
  const [picked, setPicked] = useState<string>();
  const [stream, setStream] = useState<string>();
  const [since, setSince] = useState<string>();
  const [text, setText] = useState('');
  const [run, setRun] = useState<'all' | 'last' | 'before'>('all');
  const instance = only ?? picked;
  const instances = useMemo(() => {
    const there = new Set(query.items.map((one) => one.id));
    return [...query.items, ...(why.data?.instances ?? []).filter((one) => !there.has(one.id))];
  }, [query.items, why.data]);
  const workloads = [...new Set(instances.map((one) => one.workload))].toSorted();
  const address = withQuery(`${url}/logs`, { follow: true, limit: 1000, workload: instance ? undefined : workload, instance, stream, since, q: text });
  return (
    <div>
      <Flex gap="small" wrap className="toolbar">
        {!only && (
          <>
            <Select
              aria-label={t('logs.workload')}
              placeholder={t('logs.workload')}
              allowClear
              value={workload}
              onChange={(value) => {
                setWorkload(value);
                setPicked(undefined);
              }}
              options={workloads.map((value) => ({ value, label: value }))}
              style={{ minWidth: 150 }}
            />
            <Select
              aria-label={t('logs.instance')}
              placeholder={t('logs.instance')}
              allowClear
              value={picked}
              onChange={(value) => {
                setPicked(value);
                setRun('all');
              }}
              options={instances
                .filter((one) => workload === undefined || one.workload === workload)
                .map((one) => ({ value: one.id, label: `${one.name || `${one.workload}-${one.index}`} · ${t(`state.${one.state}`, { defaultValue: one.state })}` }))}
              style={{ minWidth: 240 }}
            />
          </>
        )}
        {instance && (
          <Select
            aria-label={t('logs.run')}
            value={run}
            onChange={setRun}
            options={(['all', 'last', 'before'] as const).map((value) => ({ value, label: t(`logs.runs.${value}`) }))}
            style={{ minWidth: 170 }}
          />
        )}
        <Input.Search allowClear={clear} aria-label={t('terminal.search')} placeholder={t('terminal.search')} title={t('terminal.searchHelp')} onSearch={(value) => setText(value.trim())} className="filter" />
        <Select aria-label={t('logs.stream')} placeholder={t('logs.stream')} allowClear value={stream} onChange={setStream} options={['stdout', 'stderr'].map((value) => ({ value, label: value }))} style={{ minWidth: 110 }} />
        <Select aria-label={t('logs.since')} placeholder={t('logs.since')} allowClear value={since} onChange={setSince} options={SPANS.map((value) => ({ value, label: value }))} style={{ minWidth: 110 }} />
      </Flex>
      <LogView name={name} url={address} read={readAppLog} run={instance ? run : 'all'} />
    </div>
  );
}
