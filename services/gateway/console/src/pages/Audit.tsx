// Who did what, when, from where, with which result. Searched by the service, page by page.

import { DownloadOutlined } from '@ant-design/icons';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Button, DatePicker, Flex, Form, Input, Select, Table } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { get, withQuery, type Page, type Query } from '../api/http';
import { monitoring, type AuditRecord } from '../api/monitoring';
import { EmptyState, PageHeader, ProblemView, State, Time } from '../parts/basics';
import { useNames } from '../parts/names';

interface Values {
  q?: string;
  actor?: string;
  kind?: string;
  object?: string;
  result?: string;
  between?: [{ toISOString(): string } | null, { toISOString(): string } | null] | null;
}

export default function Audit() {
  const { t } = useTranslation();
  const [filter, setFilter] = useState<Query>({});
  const query = useInfiniteQuery({
    queryKey: ['audit', filter],
    queryFn: ({ pageParam, signal }) => get<Page<AuditRecord>>(monitoring.audit, { ...filter, limit: 50, cursor: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    refetchInterval: (state) => ((state.state.data?.pages.length ?? 0) <= 1 ? 10_000 : false),
  });
  const items = query.data?.pages.flatMap((page) => page.items) ?? [];
  const names = useNames(items.map((item) => item.actor));
  const search = (values: Values) =>
    setFilter({ q: values.q, actor: values.actor, kind: values.kind, object: values.object, result: values.result, from: values.between?.[0]?.toISOString(), to: values.between?.[1]?.toISOString() });
  return (
    <>
      <PageHeader
        title={t('menu.audit')}
        sub={t('audit.sub')}
        actions={
          <Button icon={<DownloadOutlined />} href={withQuery(monitoring.audit, { ...filter, format: 'csv' })} download="audit.csv">
            CSV
          </Button>
        }
      />
      <Form<Values> layout="inline" className="toolbar" onFinish={search}>
        <Flex gap="small" wrap>
          <Form.Item name="q" noStyle>
            <Input allowClear aria-label={t('audit.text')} placeholder={t('audit.text')} style={{ width: 180 }} />
          </Form.Item>
          <Form.Item name="actor" noStyle>
            <Input allowClear aria-label={t('audit.actor')} placeholder={t('audit.actor')} style={{ width: 150 }} />
          </Form.Item>
          <Form.Item name="kind" noStyle>
            <Input allowClear aria-label={t('audit.kind')} placeholder={t('audit.kind')} style={{ width: 150 }} />
          </Form.Item>
          <Form.Item name="object" noStyle>
            <Input allowClear aria-label={t('audit.object')} placeholder={t('audit.object')} style={{ width: 150 }} />
          </Form.Item>
          <Form.Item name="result" noStyle>
            <Select allowClear aria-label={t('audit.result')} placeholder={t('audit.result')} style={{ width: 120 }} options={['ok', 'denied', 'failed'].map((value) => ({ value, label: t(`state.${value}`) }))} />
          </Form.Item>
          <Form.Item name="between" noStyle>
            <DatePicker.RangePicker showTime aria-label={t('audit.between')} />
          </Form.Item>
          <Button type="primary" htmlType="submit">
            {t('audit.search')}
          </Button>
        </Flex>
      </Form>
      {query.error ? (
        <ProblemView error={query.error} retry={() => void query.refetch()} />
      ) : (
        <Table<AuditRecord>
          size="small"
          aria-label={t('menu.audit')}
          rowKey="id"
          loading={query.isPending}
          dataSource={items}
          pagination={false}
          scroll={{ x: 'max-content' }}
          locale={{ emptyText: <EmptyState text={t('audit.empty')} /> }}
          expandable={{ expandedRowRender: (item) => <pre className="code mono">{JSON.stringify({ id: item.id, object: item.object, trace: item.trace, content: item.content }, null, 2)}</pre> }}
          columns={[
            { title: t('audit.when'), dataIndex: 'at', render: (at: string) => <Time at={at} /> },
            { title: t('audit.actor'), dataIndex: 'actor', render: (actor: string) => names(actor) },
            { title: t('audit.kind'), dataIndex: 'kind', render: (kind: string) => <span className="mono">{kind}</span> },
            { title: t('audit.service'), dataIndex: 'service' },
            { title: t('audit.object'), render: (_, item) => item.name ?? item.object },
            { title: t('audit.result'), dataIndex: 'result', render: (result: string) => <State value={result} /> },
            { title: t('audit.reason'), dataIndex: 'reason' },
            { title: t('audit.from'), dataIndex: 'from', render: (from?: string) => from ?? '–' },
          ]}
          footer={() =>
            query.hasNextPage ? (
              <Button onClick={() => void query.fetchNextPage()} loading={query.isFetchingNextPage}>
                {t('common.more')}
              </Button>
            ) : (
              t('common.end')
            )
          }
        />
      )}
    </>
  );
}
