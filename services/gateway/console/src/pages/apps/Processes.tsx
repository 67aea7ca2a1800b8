// What runs inside of an instance, as its node sees it, and signals to it.

import { Dropdown, Button } from 'antd';
import { useTranslation } from 'react-i18next';

import { inside, type Container, type Process } from '../../api/volumes';
import { DataTable } from '../../parts/basics';
import { bytes, duration } from '../../parts/format';
import { useAction, useList } from '../../parts/query';

const SIGNALS = ['TERM', 'KILL', 'HUP', 'INT', 'USR1', 'USR2', 'STOP', 'CONT'];

export function Processes({ at }: { at: Container }) {
  const { t, i18n } = useTranslation();
  const url = inside.processes(at);
  const query = useList<Process>(['processes', url], url, { interval: 10_000 });
  const send = useAction(({ pid, signal }: { pid: number; signal: string }) => inside.signal(at, pid, signal), { done: t('apps.done'), refresh: [['processes', url]] });
  return (
    <DataTable<Process>
      size="small"
      label={t('inside.processes')}
      query={query}
      rowKey="pid"
      empty={t('parts.none')}
      columns={[
        { title: 'PID', dataIndex: 'pid' },
        { title: t('inside.command'), render: (_, one) => <span className="mono">{one.command}</span> },
        { title: t('common.state'), dataIndex: 'state' },
        { title: t('inside.user'), dataIndex: 'user' },
        { title: t('quota.memory_bytes'), render: (_, one) => bytes(one.memory_bytes) },
        { title: t('inside.cpuTime'), render: (_, one) => duration(one.cpu_millis, i18n.language) },
        { title: t('inside.runs'), render: (_, one) => duration(one.running_seconds * 1000, i18n.language) },
        {
          title: t('common.actions'),
          key: 'do',
          render: (_, one) => (
            <Dropdown trigger={['click']} menu={{ items: SIGNALS.map((signal) => ({ key: signal, label: signal, onClick: () => send.mutate({ pid: one.pid, signal }) })) }}>
              <Button size="small">{t('inside.signal')}</Button>
            </Dropdown>
          ),
        },
      ]}
    />
  );
}
