// The small pieces every page is made of.

import { ReloadOutlined } from '@ant-design/icons';
import { Alert, Badge, Button, Empty, Flex, Input, Result, Skeleton, Table, Tag, Tooltip, Typography, type TableProps } from 'antd';
import { useEffect, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { usePlace } from '../place';
import { useClear } from './clear';
import { ageOf, formatTime } from './format';
import { explain } from './problem';
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
              {text.faults.map((fault) => (
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
}

/** Shows a question's waiting and failing; its answer is the caller's. */
export function Answer({ query, children }: { query: Asked; children: () => ReactNode }) {
  if (query.isPending) return <Skeleton active />;
  if (query.error) return <ProblemView error={query.error} retry={() => void query.refetch()} />;
  return children();
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
}

export function DataTable<T extends object>(props: DataTableProps<T>) {
  const { query, empty, emptyAction, label, search, ...rest } = props;
  const { t } = useTranslation();
  const clear = useClear();
  const [wanted, setWanted] = useState('');
  if (query.error && query.items.length === 0) return <ProblemView error={query.error} retry={() => void query.refetch()} />;
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = search && words.length > 0 ? query.items.filter((row) => words.every((word) => search(row).toLowerCase().includes(word))) : query.items;
  return (
    <>
      {search && (query.items.length >= MANY || wanted !== '') && (
        <Input allowClear={clear} className="filter toolbar" aria-label={t('parts.text')} placeholder={t('parts.text')} value={wanted} onChange={(event) => setWanted(event.target.value)} />
      )}
      <Table<T>
        size="middle"
        aria-label={label}
        loading={query.isPending}
        dataSource={shown}
        pagination={shown.length > 20 ? { pageSize: 20, showSizeChanger: true } : false}
        scroll={{ x: 'max-content' }}
        locale={{ emptyText: <EmptyState text={words.length > 0 ? t('parts.noMatch') : empty} action={words.length > 0 ? undefined : emptyAction} /> }}
        {...rest}
      />
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
  if (!at) return <>–</>;
  return (
    <Tooltip title={formatTime(at, i18n.language)}>
      <time dateTime={at}>{ageOf(at, Date.now(), i18n.language) || t('common.now')}</time>
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
