// Records of the audit trail, the newest first, and one of them with everything it says.

import { Button, Descriptions, Drawer, Flex, Table, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import type { Query } from '../api/http';
import { monitoring, type AuditRecord } from '../api/monitoring';
import { State, Time } from './basics';
import { changesOf, type FieldChange } from './changes';
import { formatTime } from './format';
import { Kind } from './Kind';
import { long } from './long';
import { useNames } from './names';
import { PagedTable, usePaged } from './paged';
import { to } from '../place';

export function AuditTable({ filter }: { filter: Query }) {
  const { t } = useTranslation();
  const query = usePaged<AuditRecord>(['audit'], monitoring.audit, { query: filter, interval: 10_000 });
  const names = useNames(query.items.map((item) => item.actor));
  const [open, setOpen] = useState<AuditRecord | null>(null);
  return (
    <>
      <PagedTable<AuditRecord>
        size="small"
        label={t('menu.audit')}
        query={query}
        rowKey="id"
        empty={t('audit.empty')}
        columns={[
          { title: t('audit.when'), dataIndex: 'at', render: (at: string) => <Time at={at} /> },
          { title: t('audit.actor'), dataIndex: 'actor', render: (actor: string) => <Actor subject={actor} name={names(actor)} /> },
          {
            title: t('audit.kind'),
            dataIndex: 'kind',
            render: (kind: string, item) => (
              <Button type="link" size="small" className="plain-button kind-button" onClick={() => setOpen(item)}>
                <Kind kind={kind} />
              </Button>
            ),
          },
          { title: t('audit.service'), dataIndex: 'service', render: (service: string) => t(`service.${service}`, { defaultValue: service }) },
          { title: t('audit.object'), render: (_, item) => <span className="mono cell" title={item.object}>{item.name ?? shortObject(item.object)}</span> },
          { title: t('audit.result'), dataIndex: 'result', render: (result: string) => <State value={result} /> },
          { title: t('audit.reason'), dataIndex: 'reason', render: long },
          { title: t('audit.from'), dataIndex: 'from', render: (from?: string) => from ?? '–' },
        ]}
      />
      <Drawer open={open !== null} onClose={() => setOpen(null)} size="large" title={open && <Kind kind={open.kind} />} destroyOnHidden>
        {open && <Detail item={open} who={names(open.actor)} />}
      </Drawer>
    </>
  );
}

/** `instance:…5b39aef`: the end of an id tells things apart. */
export const shortObject = (object: string) => object.replace(/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{5}([0-9a-f]{7})/g, '…$1');

/** A person who has a name here also has a page; whoever was erased has neither. */
function Actor({ subject, name }: { subject: string; name: string }) {
  return subject.startsWith('user:') && name !== subject.slice(5, 13) ? <Link to={to.user(subject.slice(5))}>{name}</Link> : <>{name}</>;
}

function Ended({ state, at }: { state: string; at?: string | null }) {
  return (
    <Flex gap={4}>
      <State value={state} />
      {at && <Time at={at} />}
    </Flex>
  );
}

function Detail({ item, who }: { item: AuditRecord; who: string }) {
  const { t, i18n } = useTranslation();
  const changes = changesOf(item);
  const text = (value: string) => (
    <Typography.Text className="mono" copyable={{ tooltips: [t('common.copy'), t('common.copied')] }}>
      {value}
    </Typography.Text>
  );
  return (
    <div className="stack">
      <Descriptions
        column={1}
        size="small"
        bordered
        items={[
          { key: 'at', label: t('audit.when'), children: <time dateTime={item.at}>{formatTime(item.at, i18n.language)}</time> },
          { key: 'actor', label: t('audit.actor'), children: <Actor subject={item.actor} name={who} /> },
          { key: 'from', label: t('audit.from'), children: item.from ?? '–' },
          { key: 'result', label: t('audit.result'), children: <State value={item.result} /> },
          ...(item.state ? [{ key: 'state', label: t('common.state'), children: <Ended state={item.state} at={item.ended_at} /> }] : []),
          { key: 'reason', label: t('audit.reason'), children: item.reason || '–' },
          { key: 'object', label: t('audit.object'), children: text(item.object) },
          ...(item.trace ? [{ key: 'trace', label: t('audit.trace'), children: text(item.trace) }] : []),
          { key: 'id', label: t('audit.id'), children: text(item.id) },
        ]}
      />
      {changes.length > 0 && (
        <Table<FieldChange>
          size="small"
          aria-label={t('audit.changes')}
          rowKey="field"
          dataSource={changes}
          pagination={false}
          columns={[
            { title: t('audit.field'), dataIndex: 'field', render: (field: string) => <span className="mono">{field}</span> },
            { title: t('audit.before'), dataIndex: 'before', render: (value: string) => <span className="mono removed">{value}</span> },
            { title: t('audit.after'), dataIndex: 'after', render: (value: string) => <span className="mono added">{value}</span> },
          ]}
        />
      )}
      <Typography.Title level={5}>{t('audit.content')}</Typography.Title>
      <pre className="code mono">{JSON.stringify(item.content ?? null, null, 2)}</pre>
    </div>
  );
}
