// The small pieces every page is made of.

import { ReloadOutlined } from '@ant-design/icons';
import { Alert, Badge, Button, Empty, Flex, Input, Result, Skeleton, Table, Tag, Tooltip, Typography, type TableProps } from 'antd';
import { useEffect, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { usePlace } from '../place';
import { useClear } from './clear';
import { ageOf, formatTime } from './format';
import { compare, matching, useListing, type Listing } from './listing';
import { useNow } from './now';
import { explain, passing } from './problem';
import type { Live } from './query';

export function PageHeader(props: { title: string; sub?: ReactNode; actions?: ReactNode; live?: Live }) {
  useEffect(() => {
    document.title = `${props.title} · Gantry`;
  }, [props.title]);
  return (
    <Flex className="page-header" justify="space-between" align="flex-start" gap="middle" wrap>
      <div>
        <Flex gap="small" align="center">
          <Typography.Title level={1} className="page-title">
            {props.title}
          </Typography.Title>
          {props.live && <LiveMark live={props.live} />}
        </Flex>
        {props.sub && <Typography.Text type="secondary">{props.sub}</Typography.Text>}
      </div>
      <Flex gap="small" wrap>
        {props.actions}
      </Flex>
    </Flex>
  );
}

export function LiveMark({ live }: { live: Live }) {
  const { t } = useTranslation();
  if (live === 'off') return null;
  const status = live === 'live' ? 'success' : live === 'connecting' ? 'processing' : 'warning';
  return <Badge status={status} text={t(`live.${live}`)} />;
}

export function ProblemView({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useTranslation();
  const text = explain(error, t);
  return (
    <Alert
      type="error"
      showIcon
      role="alert"
      title={text.title}
      description={
        <>
          {text.detail && <p>{text.detail}</p>}
          {text.faults.length > 0 && (
            <ul>
              {[...new Set(text.faults)].map((fault) => (
                <li key={fault}>{fault}</li>
              ))}
            </ul>
          )}
          <p>{text.advice}</p>
          {text.requestId && <Typography.Text type="secondary">{t('problem.requestId', { id: text.requestId })}</Typography.Text>}
        </>
      }
      action={
        retry && (
          <Button size="small" icon={<ReloadOutlined />} onClick={retry}>
            {t('common.retry')}
          </Button>
        )
      }
    />
  );
}

interface Asked {
  isPending: boolean;
  error: unknown;
  refetch: () => unknown;
  data?: unknown;
}

/** What is shown was read earlier: asking again failed, for now. */
function Stale({ query }: { query: Asked }) {
  const { t } = useTranslation();
  const text = explain(query.error, t);
  return (
    <Alert
      className="toolbar"
      type="warning"
      showIcon
      role="status"
      title={t('stale.title')}
      description={[text.title, text.detail].filter(Boolean).join(': ')}
      action={
        <Button size="small" icon={<ReloadOutlined />} onClick={() => void query.refetch()}>
          {t('common.retry')}
        </Button>
      }
    />
  );
}

/**
 * Shows a question's waiting and failing; its answer is the caller's. What was read stays while asking again fails for a time: a
 * half-filled form, a log or a terminal in it must not go because the gateway starts anew.
 */
export function Answer({ query, children }: { query: Asked; children: () => ReactNode }) {
  const there = query.data !== undefined;
  if (query.isPending) return <Skeleton active />;
  if (query.error && !(there && passing(query.error))) return <ProblemView error={query.error} retry={() => void query.refetch()} />;
  return (
    <>
      {query.error ? <Stale query={query} /> : null}
      {children()}
    </>
  );
}

/** From so many rows on, one wants to search. */
const MANY = 6;

interface DataTableProps<T> extends TableProps<T> {
  query: Asked & { items: T[] };
  empty: string;
  emptyAction?: ReactNode;
  label: string;
  /** What is searched of a row, for lists that come whole. */
  search?: (row: T) => string;
  /** Words, order and page stand in the address: for the one list that a page is about. */
  inAddress?: boolean;
}

type Columns<T> = NonNullable<TableProps<T>['columns']>;

/** Columns that show a field order by it; those that show more have their own order, or none. */
function ordered<T extends object>(columns: Columns<T>, rows: T[], listing: Listing): Columns<T> {
  const value = (row: T, field: string): unknown => (row as Record<string, unknown>)[field];
  return columns.map((column, index) => {
    const named = 'dataIndex' in column && typeof column.dataIndex === 'string' ? column.dataIndex : undefined;
    // Lists and trees have no order.
    const field = named !== undefined && rows.every((row) => typeof (value(row, named) ?? '') !== 'object') ? named : undefined;
    // Each that can be ordered by needs a name: the table looks at none without one as soon as another has one.
    const key = column.key ?? named ?? `column-${index}`;
    const sorter = column.sorter ?? (field === undefined ? undefined : (a: T, b: T) => compare(value(a, field), value(b, field)));
    if (sorter === undefined) return column;
    return { ...column, key, sorter, showSorterTooltip: false, sortOrder: listing.sort === String(key) ? (listing.down ? 'descend' : 'ascend') : null };
  }) as Columns<T>;
}

export function DataTable<T extends object>(props: DataTableProps<T>) {
  const { query, empty, emptyAction, label, search, inAddress = false, columns, ...rest } = props;
  const { t } = useTranslation();
  const clear = useClear();
  const [listing, change] = useListing(inAddress);
  if (query.error && query.items.length === 0) return <ProblemView error={query.error} retry={() => void query.refetch()} />;
  const shown = search ? matching(query.items, listing.q, search) : query.items;
  // One that comes page by page is ordered by the service.
  const comesWhole = rest.pagination === undefined;
  const more = (query.data as { next?: string | null } | undefined)?.next;
  return (
    <>
      {query.error ? <Stale query={query} /> : null}
      {search && (query.items.length >= MANY || listing.q !== '') && (
        <Input allowClear={clear} className="filter toolbar" aria-label={t('parts.text')} placeholder={t('parts.text')} value={listing.q} onChange={(event) => change({ q: event.target.value, page: 1 })} />
      )}
      <Table<T>
        size="middle"
        aria-label={label}
        loading={query.isPending}
        dataSource={shown}
        columns={comesWhole && columns ? ordered(columns, query.items, listing) : columns}
        pagination={shown.length > 20 ? { current: Math.min(listing.page, Math.ceil(shown.length / listing.size)), pageSize: listing.size, showSizeChanger: true, showTotal: (count) => t('parts.count', { count }) } : false}
        onChange={(page, _filters, sorter, { action }) => {
          if (action === 'paginate') change({ page: page.pageSize === listing.size ? (page.current ?? 1) : 1, size: page.pageSize ?? listing.size });
          if (action !== 'sort') return;
          const by = Array.isArray(sorter) ? sorter[0] : sorter;
          change({ sort: by?.order ? String(by.columnKey ?? '') : '', down: by?.order === 'descend', page: 1 });
        }}
        scroll={{ x: 'max-content' }}
        locale={{ emptyText: <EmptyState text={listing.q.trim() === '' ? empty : t('parts.noMatch')} action={listing.q.trim() === '' ? emptyAction : undefined} /> }}
        {...rest}
      />
      {comesWhole && more && <Typography.Paragraph type="secondary">{t('parts.first', { count: query.items.length })}</Typography.Paragraph>}
    </>
  );
}

export function EmptyState({ text, action }: { text: string; action?: ReactNode }) {
  return (
    <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={text}>
      {action}
    </Empty>
  );
}

export function Time({ at }: { at?: string | null }) {
  const { i18n, t } = useTranslation();
  const now = useNow();
  if (!at) return <>–</>;
  return (
    <Tooltip title={formatTime(at, i18n.language)}>
      <time dateTime={at}>{ageOf(at, now, i18n.language) || t('common.now')}</time>
    </Tooltip>
  );
}

const COLOURS: Record<string, string> = {
  running: 'green', ready: 'green', ok: 'green', succeeded: 'green', active: 'green', available: 'green', provisioned: 'green', finished: 'green', online: 'green', issued: 'green', clean: 'green', deployed: 'green',
  pending: 'gold', placed: 'gold', starting: 'gold', queued: 'gold', waiting: 'gold', created: 'gold', requested: 'gold', releasing: 'blue', rolling: 'blue', provisioning: 'gold', deleting: 'orange', stopping: 'orange', draining: 'orange', cordoned: 'orange', waiting_approval: 'purple', awaiting_approval: 'purple',
  failed: 'red', denied: 'red', error: 'red', lost: 'red', unhealthy: 'red', degraded: 'red', offline: 'red', not_ready: 'red', suspended: 'red',
};

/** A state in its colour and in the user's words; unknown ones as they are. */
export function State({ value }: { value?: string | null }) {
  const { t } = useTranslation();
  if (!value) return <>–</>;
  const key = value.toLowerCase().replaceAll('-', '_');
  return <Tag color={COLOURS[key] ?? 'default'}>{t(`state.${key}`, { defaultValue: value })}</Tag>;
}

/** A link that looks like a button; it opens within the console. */
export function LinkButton({ to, primary, small, icon, children }: { to: string; primary?: boolean; small?: boolean; icon?: ReactNode; children: ReactNode }) {
  const navigate = useNavigate();
  return (
    <Button
      href={to}
      icon={icon}
      size={small ? 'small' : undefined}
      type={primary ? 'primary' : 'default'}
      onClick={(event) => {
        // A new tab stays a new tab.
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        void navigate(to);
      }}
    >
      {children}
    </Button>
  );
}

/** Where a page needs a place and none is chosen. */
export function NeedPlace({ level }: { level: 'org' | 'project' | 'space' }) {
  const { t } = useTranslation();
  const place = usePlace();
  const next = place.org ? `/orgs/${encodeURIComponent(place.org)}` : '/orgs';
  return (
    <Result
      status="info"
      title={t(`place.need.${level}`)}
      extra={
        <LinkButton primary to={next}>
          {t('place.choose')}
        </LinkButton>
      }
    />
  );
}
