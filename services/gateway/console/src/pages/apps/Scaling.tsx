// Workloads whose number follows what is measured, with the last decision; and what instances should reserve.

import { useQuery } from '@tanstack/react-query';
import { Button, Card, Table } from 'antd';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { get } from '../../api/http';
import { scaling, type ScalingNow, type Sizing } from '../../api/release';
import { Answer, State, Time } from '../../parts/basics';
import { bytes, cpu } from '../../parts/format';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';
import { long } from '../../parts/long';

export default function Scaling({ url }: { url: string }) {
  const { t } = useTranslation();
  const { org, project, space } = useParams();
  const write = useMay('apps.write', { org, project, space });
  const key = ['scaling', url];
  const query = useQuery({ queryKey: key, queryFn: () => get<{ items: ScalingNow[] }>(`${url}/scaling`), refetchInterval: 10_000 });
  const sizes = useQuery({ queryKey: ['sizing', url], queryFn: () => get<{ items: Sizing[] }>(`${url}/sizing`) });
  const hold = useAction((one: ScalingNow) => (one.paused === null ? scaling.pause(url, one.workload) : scaling.resume(url, one.workload)), { done: t('apps.done'), refresh: [key] });
  return (
    <div className="stack">
      <Card title={t('scaling.title')}>
        <Answer query={query}>
          {() => (
            <Table<ScalingNow>
              size="small"
              aria-label={t('scaling.title')}
              rowKey="workload"
              pagination={false}
              dataSource={query.data!.items}
              locale={{ emptyText: t('scaling.none') }}
              columns={[
                { title: t('instance.workload'), dataIndex: 'workload' },
                { title: t('scaling.between'), render: (_, one) => `${one.min} – ${one.max}` },
                { title: t('scaling.wanted'), dataIndex: 'replicas' },
                { title: t('apps.reason'), render: (_, one) => long(one.paused ?? one.reason) },
                { title: t('audit.when'), render: (_, one) => <Time at={one.at} /> },
                { title: t('common.state'), render: (_, one) => <State value={one.paused === null ? 'active' : 'waiting'} /> },
                {
                  title: t('common.actions'),
                  key: 'do',
                  render: (_, one) =>
                    write && (
                      <Button size="small" loading={hold.isPending && hold.variables === one} onClick={() => hold.mutate(one)}>
                        {t(one.paused === null ? 'scaling.pause' : 'scaling.resume')}
                      </Button>
                    ),
                },
              ]}
            />
          )}
        </Answer>
      </Card>
      <Card title={t('scaling.sizes')}>
        <Answer query={sizes}>
          {() => (
            <Table<Sizing>
              size="small"
              aria-label={t('scaling.sizes')}
              rowKey="workload"
              pagination={false}
              dataSource={sizes.data!.items}
              locale={{ emptyText: t('parts.none') }}
              columns={[
                { title: t('instance.workload'), dataIndex: 'workload' },
                { title: t('apps.reserved'), render: (_, one) => `${cpu(one.cpu_millis)} CPU · ${bytes(one.memory_bytes)}` },
                { title: t('scaling.recommended'), render: (_, one) => `${cpu(one.recommended_cpu_millis)} CPU · ${bytes(one.recommended_memory_bytes)}` },
                { title: t('apps.reason'), dataIndex: 'reason', render: long },
              ]}
            />
          )}
        </Answer>
      </Card>
    </div>
  );
}
