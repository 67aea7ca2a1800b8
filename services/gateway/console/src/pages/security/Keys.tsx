// The keys that sign tokens: which sign now, which come, which are only still good for checking.

import { Alert, Button, Card, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { protection, type SigningKey } from '../../api/protection';
import { DataTable, Time } from '../../parts/basics';
import { FormDialog } from '../../parts/dialogs';
import { CheckField, ChoiceField, NumberField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

const COLOURS = { coming: 'gold', signing: 'green', verifying: 'default' };

export default function Keys() {
  const { t } = useTranslation();
  const query = useList<SigningKey>(['signing-keys'], protection.keys, { interval: 30_000 });
  const [open, setOpen] = useState(false);
  const rotate = useAction(protection.rotate, { done: t('protection.rotated'), refresh: [['signing-keys']], onDone: () => setOpen(false) });
  return (
    <Card
      title={t('protection.keys')}
      extra={
        <Button type="primary" onClick={() => setOpen(true)}>
          {t('protection.rotate')}
        </Button>
      }
    >
      <DataTable<SigningKey>
        label={t('protection.keys')}
        query={query}
        rowKey="kid"
        empty={t('protection.noKeys')}
        columns={[
          { title: t('protection.kid'), dataIndex: 'kid', render: (kid: string) => <span className="mono">{kid}</span> },
          { title: t('protection.algorithm'), dataIndex: 'alg' },
          { title: t('common.state'), dataIndex: 'state', render: (state: SigningKey['state']) => <Tag color={COLOURS[state]}>{t(`keyState.${state}`)}</Tag> },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('protection.active'), dataIndex: 'active_at', render: (at: string) => <Time at={at} /> },
        ]}
      />
      <FormDialog<{ alg: string; after_seconds?: number; compromised?: boolean }> open={open} title={t('protection.rotate')} pending={rotate.isPending} error={rotate.error} initial={{ alg: 'ES256', after_seconds: 600 }} onClose={() => setOpen(false)} onSubmit={rotate.mutate}>
        <ChoiceField name="alg" label={t('protection.algorithm')} required options={['ES256', 'EdDSA', 'RS256'].map((value) => ({ value, label: value }))} />
        <NumberField name="after_seconds" label={t('protection.after')} help={t('protection.afterHelp')} min={60} max={86_400} suffix={t('unit.seconds')} />
        <CheckField name="compromised" label={t('protection.compromised')} />
        <Alert type="warning" showIcon title={t('protection.compromisedHelp')} />
      </FormDialog>
    </Card>
  );
}
