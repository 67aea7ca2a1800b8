// Two revisions side by side in words: what differs from the one to the other.

import { useQuery } from '@tanstack/react-query';
import { Card, Flex, Select } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { scheduler, type Revision } from '../../api/scheduler';
import { Answer, EmptyState } from '../../parts/basics';
import { Diff } from '../../parts/Diff';

/** `revisions` are the newest first, two at least. */
export function Compare({ url, revisions }: { url: string; revisions: Revision[] }) {
  const { t } = useTranslation();
  const [from, setFrom] = useState(revisions[1]!.revision);
  const [until, setUntil] = useState(revisions[0]!.revision);
  const options = revisions.map((one) => ({ value: one.revision, label: one.reason ? `${one.revision} · ${one.reason}` : `${one.revision}` }));
  return (
    <Card title={t('revision.compare')}>
      <Flex gap="small" align="center" wrap className="toolbar">
        <Select aria-label={t('revision.from')} value={from} onChange={setFrom} options={options} style={{ minWidth: 160 }} />
        →
        <Select aria-label={t('revision.to')} value={until} onChange={setUntil} options={options} style={{ minWidth: 160 }} />
      </Flex>
      <Difference url={url} from={from} to={until} />
    </Card>
  );
}

/** Values and contents of configurations are not shown by the service. */
export function Difference({ url, from, to }: { url: string; from: number; to: number }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['diff', url, from, to], queryFn: () => scheduler.diff(url, from, to) });
  return (
    <Answer query={query}>
      {() => (query.data!.diff.length === 0 ? <EmptyState text={t('revision.same')} /> : <Diff lines={query.data!.diff} label={t('revision.difference', { from, to })} />)}
    </Answer>
  );
}
