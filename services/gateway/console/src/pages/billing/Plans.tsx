// Price plans of the platform: what one unit of each meter costs.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Form, Input } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { billing, type PricePlan } from '../../api/billing';
import { DataTable, PageHeader, Time } from '../../parts/basics';
import { FormDialog } from '../../parts/dialogs';
import { NameField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';
import { PriceTable } from './PriceTable';

/** Meters that bills are made of; a plan in force may know more. */
const METERS = ['cpu_core_hours', 'reserved_cpu_core_hours', 'memory_gib_hours', 'reserved_memory_gib_hours', 'storage_gib_hours', 'reserved_storage_gib_hours', 'container_hours', 'reserved_container_hours', 'build_minutes', 'requests'];

interface Values {
  name: string;
  currency: string;
  prices: Record<string, string | undefined>;
}

export default function Plans() {
  const { t } = useTranslation();
  const query = useList<PricePlan>(['price-plans'], billing.plans);
  const [edited, setEdited] = useState<Partial<PricePlan> | null>(null);
  const publish = useAction(billing.publish, { done: t('billing.published'), refresh: [['price-plans'], ['price-plan']], onDone: () => setEdited(null) });
  const standard = query.items.find((plan) => plan.name === 'default');
  const meters = [...new Set([...METERS, ...query.items.flatMap((plan) => Object.keys(plan.prices))])];
  const submit = ({ name, currency, prices }: Values) =>
    publish.mutate({ name: edited?.name ?? name, currency, prices: Object.fromEntries(Object.entries(prices).filter((entry): entry is [string, string] => Boolean(entry[1]))) });
  return (
    <>
      <PageHeader
        title={t('menu.prices')}
        sub={t('billing.plansSub')}
        actions={
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setEdited({ currency: standard?.currency ?? 'CNY', prices: standard?.prices ?? {} })}>
            {t('billing.createPlan')}
          </Button>
        }
      />
      <DataTable<PricePlan>
        label={t('menu.prices')}
        query={query}
        rowKey="name"
        empty={t('billing.noPlans')}
        expandable={{ expandedRowRender: (plan) => <PriceTable plan={plan} /> }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('billing.currency'), dataIndex: 'currency' },
          { title: t('billing.meters'), render: (_, plan) => Object.keys(plan.prices).length },
          { title: t('billing.version'), dataIndex: 'version' },
          { title: t('billing.publishedAt'), dataIndex: 'published_at', render: (at: string) => <Time at={at} /> },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, plan) => (
              <Button size="small" onClick={() => setEdited(plan)}>
                {t('parts.edit')}
              </Button>
            ),
          },
        ]}
      />
      <FormDialog<Values> open={edited !== null} wide title={edited?.name ? t('billing.pricesOf', { name: edited.name }) : t('billing.createPlan')} ok={t('billing.publish')} pending={publish.isPending} error={publish.error} initial={edited as Partial<Values>} onClose={() => setEdited(null)} onSubmit={submit}>
        {!edited?.name && <NameField />}
        <TextField name="currency" label={t('billing.currency')} help={t('billing.currencyHelp')} required max={3} />
        <div className="grid-narrow">
          {meters.map((meter) => (
            <Form.Item key={meter} name={['prices', meter]} label={t(`meter.${meter}`, { defaultValue: meter })} rules={[{ pattern: /^\d{1,12}(\.\d{1,12})?$/, message: t('billing.priceHelp') }]}>
              <Input inputMode="decimal" />
            </Form.Item>
          ))}
        </div>
      </FormDialog>
    </>
  );
}
