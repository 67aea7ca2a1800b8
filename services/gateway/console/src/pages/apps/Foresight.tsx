// What a change would do to the instances and what they keep, before it is made.

import { useQuery } from '@tanstack/react-query';
import { Alert, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import type { ChangePreview } from '../../api/preview';
import { Answer } from '../../parts/basics';

/** Asked for by a dry run of the change itself. */
export function AskedForesight({ name, ask }: { name: (string | number)[]; ask: () => Promise<ChangePreview> }) {
  const query = useQuery({ queryKey: ['preview', ...name], queryFn: ask, staleTime: 0, gcTime: 0, retry: false });
  return <Answer query={query}>{() => <Foresight preview={query.data!} />}</Answer>;
}

const namesOf = (list: { name: string }[]) => list.map((one) => one.name).join(', ');

export function Foresight({ preview }: { preview: ChangePreview }) {
  const { t } = useTranslation();
  const lost = preview.volumes.filter((one) => !one.kept);
  const kept = preview.volumes.filter((one) => one.kept);
  const steps = preview.batches.map((batch) =>
    [batch.starts.length > 0 && t('foresight.starts', { names: namesOf(batch.starts) }), batch.stops.length > 0 && t('foresight.stops', { names: namesOf(batch.stops) })].filter(Boolean).join('; '),
  );
  return (
    <div className="stack">
      <ul aria-label={t('foresight.workloads')}>
        {preview.workloads.map((one) => (
          <li key={one.workload}>{t('foresight.workload', { ...one })}</li>
        ))}
      </ul>
      {preview.batches.length > 0 && (
        <ol className="mono" aria-label={t('foresight.order')}>
          {steps.map((step) => (
            <li key={step}>{step}</li>
          ))}
        </ol>
      )}
      {preview.more_batches && <Typography.Text type="secondary">{t('foresight.more')}</Typography.Text>}
      {preview.given_back.length > 0 && <p>{t('foresight.back', { names: preview.given_back.join(', ') })}</p>}
      {kept.length > 0 && <p>{t('foresight.kept', { names: kept.map((one) => one.volume).join(', ') })}</p>}
      {lost.length > 0 && <Alert type="warning" showIcon title={t('foresight.lost', { names: lost.map((one) => one.volume).join(', ') })} />}
      {preview.notes.map((note) => (
        <Typography.Text key={note} type="secondary">
          {note}
        </Typography.Text>
      ))}
    </div>
  );
}
