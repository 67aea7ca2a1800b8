// What still names a person, erased or not: what auditors ask for after an erasure. Asked for by a button: it reads the whole log.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Flex, Table, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { get } from '../../api/http';
import { people, type Remains } from '../../api/people';
import { Answer, Time } from '../../parts/basics';

export function RemainsCard({ user }: { user: string }) {
  const { t } = useTranslation();
  const [asked, setAsked] = useState(false);
  const query = useQuery({ queryKey: ['remains', user], queryFn: ({ signal }) => get<Remains>(people.remains(user), undefined, signal), enabled: asked, retry: false, staleTime: Infinity });
  return (
    <Card title={t('remains.tab')}>
      <div className="stack">
        <Typography.Text type="secondary">{t('remains.help')}</Typography.Text>
        {asked ? (
          <Answer query={query}>{() => <Found of={query.data!} />}</Answer>
        ) : (
          <Flex>
            <Button onClick={() => setAsked(true)}>{t('remains.look')}</Button>
          </Flex>
        )}
      </div>
    </Card>
  );
}

function Found({ of }: { of: Remains }) {
  const { t } = useTranslation();
  const erased = of.state === 'erased';
  return (
    <div className="stack">
      <Alert
        type={erased && of.readable_values > 0 ? 'error' : erased ? 'success' : 'info'}
        showIcon
        title={
          erased ? (
            <>
              {t('remains.erased')} <Time at={of.key.destroyed_at} />
            </>
          ) : (
            t('remains.here')
          )
        }
        description={
          <>
            <p>{t('remains.readable', { readable: of.readable_values, sealed: of.sealed_values, tried: of.tried_values })}</p>
            <p>{t('remains.addresses', { count: of.addressed_records })}</p>
          </>
        }
      />
      <Table<Remains['log'][number]>
        size="small"
        aria-label={t('remains.log')}
        title={() => t('remains.log')}
        rowKey="kind"
        pagination={{ pageSize: 20, hideOnSinglePage: true }}
        scroll={{ x: 'max-content' }}
        dataSource={of.log}
        columns={[
          { title: t('remains.kind'), dataIndex: 'kind', render: (kind: string) => <span className="mono">{kind}</span> },
          { title: t('remains.events'), dataIndex: 'events' },
          { title: t('remains.sealed'), dataIndex: 'sealed_values' },
          { title: t('remains.canRead'), dataIndex: 'readable_values' },
        ]}
      />
      <Table<Remains['tables'][number]>
        size="small"
        aria-label={t('remains.tables')}
        title={() => t('remains.tables')}
        rowKey={(one) => `${one.table}.${one.column}`}
        pagination={{ pageSize: 20, hideOnSinglePage: true }}
        scroll={{ x: 'max-content' }}
        dataSource={of.tables}
        columns={[
          { title: t('remains.table'), dataIndex: 'table', render: (table: string) => <span className="mono">{table}</span> },
          { title: t('remains.column'), dataIndex: 'column', render: (column: string) => <span className="mono">{column}</span> },
          { title: t('remains.rows'), dataIndex: 'rows' },
          { title: t('remains.purpose'), dataIndex: 'purpose', render: (purpose: string) => purpose || <Typography.Text type="warning">{t('remains.nobodySays')}</Typography.Text> },
        ]}
      />
    </div>
  );
}
