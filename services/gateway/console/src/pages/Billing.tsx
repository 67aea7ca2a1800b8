// What an organisation uses and what it costs: the open month, use by application, past invoices, prices and limits.

import { useQuery } from '@tanstack/react-query';
import { Card, Statistic, Table, Tabs, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { billing, type Invoice, type InvoiceLine, type PricePlan, type Usage, type UsageLine } from '../api/billing';
import { get } from '../api/http';
import { Answer, DataTable, PageHeader, State, Time } from '../parts/basics';
import { decimal, money } from '../parts/format';
import { QuotaCard } from '../parts/QuotaCard';
import { useList } from '../parts/query';

export default function Billing() {
  const { t } = useTranslation();
  const org = useParams().org!;
  return (
    <>
      <PageHeader title={t('menu.billing')} sub={org} />
      <Tabs
        items={[
          { key: 'current', label: t('billing.current'), children: <Current org={org} /> },
          { key: 'usage', label: t('billing.usage'), children: <UsageTable org={org} /> },
          { key: 'invoices', label: t('billing.invoices'), children: <Invoices org={org} /> },
          { key: 'prices', label: t('billing.prices'), children: <Prices org={org} /> },
          { key: 'quota', label: t('org.quota'), children: <QuotaCard name="org" url={billing.orgQuota(org)} /> },
        ]}
      />
    </>
  );
}

function Current({ org }: { org: string }) {
  const { t, i18n } = useTranslation();
  const query = useQuery({ queryKey: ['invoice', org, 'current'], queryFn: () => get<Invoice>(billing.current(org)), refetchInterval: 30_000 });
  return (
    <Answer query={query}>
      {() => {
        const invoice = query.data!;
        return (
          <div className="stack">
            <Card>
              <Statistic title={t('billing.soFar', { period: invoice.period })} value={money(invoice.total, invoice.currency, i18n.language)} />
            </Card>
            <Lines invoice={invoice} />
          </div>
        );
      }}
    </Answer>
  );
}

function Lines({ invoice }: { invoice: Invoice }) {
  const { t, i18n } = useTranslation();
  return (
    <Table<InvoiceLine>
      size="middle"
      aria-label={t('billing.lines')}
      rowKey={(line) => `${line.project}/${line.holder}/${line.meter}`}
      dataSource={invoice.lines}
      scroll={{ x: 'max-content' }}
      locale={{ emptyText: t('billing.nothing') }}
      pagination={invoice.lines.length > 50 ? { pageSize: 50 } : false}
      columns={[
        { title: t('level.project'), dataIndex: 'project_name' },
        { title: t('billing.holder'), dataIndex: 'holder_name' },
        { title: t('billing.meter'), dataIndex: 'meter', render: (meter: string) => t(`meter.${meter}`, { defaultValue: meter }) },
        { title: t('billing.quantity'), dataIndex: 'quantity', align: 'right', render: (quantity: string) => decimal(Number(quantity), i18n.language, 6) },
        { title: t('billing.unitPrice'), dataIndex: 'unit_price', align: 'right', render: (price: string) => money(price, invoice.currency, i18n.language) },
        { title: t('billing.amount'), dataIndex: 'amount', align: 'right', render: (amount: string) => money(amount, invoice.currency, i18n.language) },
      ]}
    />
  );
}

function UsageTable({ org }: { org: string }) {
  const { t, i18n } = useTranslation();
  const query = useQuery({ queryKey: ['usage', org], queryFn: () => get<Usage>(billing.usage(org)), refetchInterval: 30_000 });
  return (
    <DataTable<UsageLine>
      label={t('billing.usage')}
      query={{ ...query, items: query.data?.items ?? [] }}
      rowKey={(line) => `${line.project}/${line.holder}/${line.meter}`}
      empty={t('billing.nothing')}
      columns={[
        { title: t('level.project'), dataIndex: 'project_name' },
        { title: t('billing.holder'), dataIndex: 'holder_name' },
        { title: t('billing.meter'), dataIndex: 'meter', render: (meter: string) => t(`meter.${meter}`, { defaultValue: meter }) },
        { title: t('billing.quantity'), dataIndex: 'quantity', align: 'right', render: (quantity: string) => decimal(Number(quantity), i18n.language, 6) },
      ]}
    />
  );
}

function Invoices({ org }: { org: string }) {
  const { t, i18n } = useTranslation();
  const query = useList<Invoice>(['invoices', org], billing.invoices(org));
  return (
    <DataTable<Invoice>
      label={t('billing.invoices')}
      query={query}
      rowKey="period"
      empty={t('billing.noInvoices')}
      expandable={{ expandedRowRender: (invoice) => <Lines invoice={invoice} /> }}
      columns={[
        { title: t('billing.period'), dataIndex: 'period' },
        { title: t('common.state'), dataIndex: 'state', render: (state: string) => <State value={state} /> },
        { title: t('billing.total'), align: 'right', render: (_, invoice) => money(invoice.total, invoice.currency, i18n.language) },
        { title: t('billing.issued'), dataIndex: 'issued_at', render: (at: string | null) => <Time at={at} /> },
      ]}
    />
  );
}

function Prices({ org }: { org: string }) {
  const { t, i18n } = useTranslation();
  const query = useQuery({ queryKey: ['price-plan', org], queryFn: () => get<PricePlan>(billing.pricePlan(org)) });
  return (
    <Answer query={query}>
      {() => {
        const plan = query.data!;
        return (
          <Card title={plan.name} extra={<Tag>{plan.currency}</Tag>}>
            <Table<{ meter: string; price: string }>
              size="small"
              aria-label={t('billing.prices')}
              rowKey="meter"
              pagination={false}
              dataSource={Object.entries(plan.prices).map(([meter, price]) => ({ meter, price }))}
              columns={[
                { title: t('billing.meter'), dataIndex: 'meter', render: (meter: string) => t(`meter.${meter}`, { defaultValue: meter }) },
                { title: t('billing.unitPrice'), dataIndex: 'price', align: 'right', render: (price: string) => money(price, plan.currency, i18n.language) },
              ]}
            />
          </Card>
        );
      }}
    </Answer>
  );
}
