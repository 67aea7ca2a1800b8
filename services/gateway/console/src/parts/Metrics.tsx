// Charts of an application or node. The series come from monitoring as it names them.

import { useQuery } from '@tanstack/react-query';
import { Card, Flex, Segmented } from 'antd';
import { lazy, Suspense, useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';

import { get } from '../api/http';
import { readCharts, type Charts, type Measured } from '../api/series';
import { Answer, EmptyState } from './basics';
import { bytes, decimal } from './format';
import { Loading } from './Loading';

const Chart = lazy(() => import('./Chart'));
const RANGES = { '15m': 900, '1h': 3_600, '6h': 21_600, '24h': 86_400 } as const;

/** `only`: the instance whose series are shown. */
export function Metrics({ url, name, only }: { url: string; name: string; only?: string }) {
  const { t } = useTranslation();
  const [range, setRange] = useState<keyof typeof RANGES>('15m');
  const query = useQuery({
    queryKey: ['metrics', url, range],
    queryFn: async ({ signal }) => {
      const now = Date.now();
      const from = new Date(now - RANGES[range] * 1000).toISOString();
      return get<Charts>(url, { from, to: new Date(now).toISOString() }, signal);
    },
    refetchInterval: 15_000,
  });
  const charts = useMemo(() => (query.data ? readCharts(query.data, t('metrics.capacity'), only) : []), [query.data, t, only]);
  return (
    <div className="stack">
      <Flex>
        <Segmented aria-label={t('metrics.range')} value={range} onChange={setRange} options={Object.keys(RANGES).map((value) => ({ value: value as keyof typeof RANGES, label: value }))} />
      </Flex>
      <Answer query={query}>
        {() =>
          charts.length === 0 ? (
            <EmptyState text={t('metrics.empty')} />
          ) : (
            <div className="grid" style={{ gridTemplateColumns: 'repeat(auto-fill, minmax(420px, 1fr))' }}>
              {charts.map((one) => (
                <MetricCard key={one.name} metric={one} owner={name} />
              ))}
            </div>
          )
        }
      </Answer>
    </div>
  );
}

function MetricCard({ metric, owner }: { metric: Measured; owner: string }) {
  const { t, i18n } = useTranslation();
  const title = t(`metric.${metric.name}`, { defaultValue: metric.name.replaceAll('_', ' ') });
  const format = useMemo(() => {
    if (metric.unit === 'bytes') return (value: number) => bytes(value);
    if (metric.unit === 'bytes_per_second') return (value: number) => `${bytes(value)}/s`;
    return (value: number) => decimal(value, i18n.language, 3);
  }, [metric.unit, i18n.language]);
  return (
    <Card size="small" title={title}>
      <Suspense fallback={<Loading />}>
        <Chart label={`${owner}: ${title}`} series={metric.series} format={format} />
      </Suspense>
    </Card>
  );
}
