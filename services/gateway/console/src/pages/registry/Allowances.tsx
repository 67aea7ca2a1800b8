// Findings that the project accepts for a while, and why.

import { Card } from 'antd';
import { useTranslation } from 'react-i18next';

import { registry, type Allowance } from '../../api/registry';
import { DataTable, Time } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { useAction } from '../../parts/query';
import { long } from '../../parts/long';
import { settingsKey, type Props } from './Registry';

export default function Allowances({ base, settings }: Props) {
  const { t } = useTranslation();
  const drop = useAction((id: string) => registry.disallow(base, id), { done: t('registry.countsAgain'), refresh: [settingsKey(base), ['scan']] });
  return (
    <Card title={t('registry.allowances')}>
      <DataTable<Allowance>
        label={t('registry.allowances')}
        query={{ items: settings.allowances, isPending: false, error: null, refetch: () => {} }}
        rowKey={(one) => `${one.id}/${one.package ?? ''}`}
        empty={t('registry.noAllowances')}
        columns={[
          { title: t('images.advisory'), dataIndex: 'id' },
          { title: t('images.package'), dataIndex: 'package', render: (name: string | null) => name ?? t('parts.any') },
          { title: t('audit.reason'), dataIndex: 'reason', render: long },
          { title: t('access.until'), dataIndex: 'until', render: (at: string | null) => (at ? <Time at={at} /> : t('registry.forGood')) },
          { title: t('common.actions'), key: 'do', render: (_, one) => <AskButton ask={t('registry.confirmCount', { id: one.id })} label={t('registry.countAgain')} onConfirm={() => drop.mutate(one.id)} /> },
        ]}
      />
    </Card>
  );
}
