// The prices of one plan, meter by meter.

import { Table } from 'antd';
import { useTranslation } from 'react-i18next';

import type { PricePlan } from '../../api/billing';
import { money } from '../../parts/format';

export function PriceTable({ plan }: { plan: PricePlan }) {
  const { t, i18n } = useTranslation();
  return (
    <Table<{ meter: string; price: string }>
      size="small"
      aria-label={t('billing.pricesOf', { name: plan.name })}
      rowKey="meter"
      pagination={false}
      dataSource={Object.entries(plan.prices).map(([meter, price]) => ({ meter, price }))}
      columns={[
        { title: t('billing.meter'), dataIndex: 'meter', render: (meter: string) => t(`meter.${meter}`, { defaultValue: meter }) },
        { title: t('billing.unitPrice'), dataIndex: 'price', align: 'right', render: (price: string) => money(price, plan.currency, i18n.language) },
      ]}
    />
  );
}
