// What an organisation uses and what it costs: the open month, use by application, past invoices, prices and limits.

import { useQuery } from '@tanstack/react-query';
import { Button, Card, DatePicker, Flex, Select, Statistic, Table, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { billing, type Invoice, type InvoiceLine, type PricePlan, type Usage, type UsageLine } from '../../api/billing';
import { get } from '../../api/http';
import { Answer, DataTable, PageHeader, State, Time } from '../../parts/basics';
import { decimal, formatTime, money } from '../../parts/format';
import { PriceTable } from './PriceTable';
import { QuotaCard } from '../../parts/QuotaCard';
import { useAction, useList } from '../../parts/query';
import { AskButton, FormDialog } from '../../parts/dialogs';
import { TextField } from '../../parts/fields';
import { usePlatformAdmin } from '../../parts/me';
import { PageTabs } from '../../parts/tabs';
import { long } from '../../parts/long';

export default function Billing() {
  const { t } = useTranslation();
  const org = useParams().org!;
  return (
    <>
      <PageHeader title={t('menu.billing')} sub={org} />
      <PageTabs
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

type Range = [{ toISOString(): string } | null, { toISOString(): string } | null] | null;

function UsageTable({ org }: { org: string }) {
  const { t, i18n } = useTranslation();
  const [range, setRange] = useState<Range>(null);
  const between = { from: range?.[0]?.toISOString(), to: range?.[1]?.toISOString() };
  const query = useQuery({ queryKey: ['usage', org, between], queryFn: () => get<Usage>(billing.usage(org), between), refetchInterval: 30_000 });
  return (
    <>
      <Flex gap="small" align="center" wrap className="toolbar">
        <DatePicker.RangePicker aria-label={t('audit.between')} onChange={(chosen) => setRange(chosen)} />
        {query.data && (
          <Typography.Text type="secondary">
            {formatTime(query.data.from, i18n.language)} – {formatTime(query.data.to, i18n.language)}
          </Typography.Text>
        )}
      </Flex>
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
    </>
  );
}

function Invoices({ org }: { org: string }) {
  const { t, i18n } = useTranslation();
  const admin = usePlatformAdmin();
  const query = useList<Invoice>(['invoices', org], billing.invoices(org));
  const [voiding, setVoiding] = useState<string | null>(null);
  const withdraw = useAction((reason: string) => billing.voidInvoice(org, voiding!, reason), { done: t('billing.voided'), refresh: [['invoices', org]], onDone: () => setVoiding(null) });
  return (
    <>
      <DataTable<Invoice>
        label={t('billing.invoices')}
        query={query}
        rowKey={(invoice) => invoice.id ?? invoice.period}
        empty={t('billing.noInvoices')}
        expandable={{ expandedRowRender: (invoice) => <Lines invoice={invoice} /> }}
        columns={[
          { title: t('billing.period'), dataIndex: 'period' },
          { title: t('common.state'), dataIndex: 'state', render: (state: string) => <State value={state} /> },
          { title: t('audit.reason'), dataIndex: 'voided_reason', render: long },
          { title: t('billing.total'), align: 'right', render: (_, invoice) => money(invoice.total, invoice.currency, i18n.language) },
          { title: t('billing.issued'), dataIndex: 'issued_at', render: (at: string | null) => <Time at={at} /> },
          ...(admin
            ? [
                {
                  title: t('common.actions'),
                  key: 'do',
                  render: (_: unknown, invoice: Invoice) =>
                    invoice.state === 'issued' && (
                      <Button size="small" onClick={() => setVoiding(invoice.period)}>
                        {t('billing.void')}
                      </Button>
                    ),
                },
              ]
            : []),
        ]}
      />
      <FormDialog<{ reason: string }> open={voiding !== null} title={t('billing.voidOf', { period: voiding })} ok={t('billing.void')} pending={withdraw.isPending} error={withdraw.error} onClose={() => setVoiding(null)} onSubmit={({ reason }) => withdraw.mutate(reason)}>
        <TextField name="reason" label={t('audit.reason')} help={t('billing.voidHelp')} required focus />
      </FormDialog>
    </>
  );
}

function Prices({ org }: { org: string }) {
  const admin = usePlatformAdmin();
  const query = useQuery({ queryKey: ['price-plan', org], queryFn: () => get<PricePlan>(billing.pricePlan(org)) });
  return (
    <Answer query={query}>
      {() => (
        <Card
          title={
            <Flex gap="small" align="center">
              {query.data!.name}
              <Tag>{query.data!.currency}</Tag>
            </Flex>
          }
          extra={admin && <Assign org={org} present={query.data!.name} />}
        >
          <PriceTable plan={query.data!} />
        </Card>
      )}
    </Answer>
  );
}

/** Gives the organisation another plan. */
function Assign({ org, present }: { org: string; present: string }) {
  const { t } = useTranslation();
  const plans = useList<PricePlan>(['price-plans'], billing.plans);
  const [plan, setPlan] = useState<string>();
  const assign = useAction((name: string) => billing.assign(org, name), { done: t('billing.assigned'), refresh: [['price-plan', org], ['invoice', org]], onDone: () => setPlan(undefined) });
  return (
    <Flex gap="small">
      <Select aria-label={t('billing.otherPlan')} placeholder={t('billing.otherPlan')} value={plan} onChange={setPlan} style={{ width: 180 }} options={plans.items.filter(({ name }) => name !== present).map(({ name, currency }) => ({ value: name, label: `${name} (${currency})` }))} />
      <AskButton size="middle" disabled={!plan} loading={assign.isPending} ask={t('billing.confirmAssign', { plan })} label={t('billing.assign')} onConfirm={() => plan && assign.mutate(plan)} />
    </Flex>
  );
}
