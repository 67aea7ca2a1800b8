// Where one is signed in, or where somebody else is, and ending it.

import { Card, Flex, Tag, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { account, type BrowserSession } from '../../api/account';
import { people } from '../../api/people';
import { DataTable, Time } from '../../parts/basics';
import { browserOf } from '../../parts/browser';
import { AskButton } from '../../parts/dialogs';
import { useAction, useList } from '../../parts/query';

/** `user`: somebody else's, for administrators. */
export default function Sessions({ user }: { user?: string }) {
  const { t } = useTranslation();
  const url = user === undefined ? account.sessions : people.sessions(user);
  const query = useList<BrowserSession>(['sessions', url], url, { interval: 30_000 });
  const refresh = [['sessions', url]];
  const end = useAction((id: string) => (user === undefined ? account.endSession(id) : people.endSession(user, id)), { done: t('account.ended'), refresh });
  const endOthers = useAction(account.endOthers, { done: t('account.othersEnded'), refresh });
  return (
    <Card
      title={t('account.sessions')}
      extra={user === undefined && <AskButton size="middle" disabled={query.items.length < 2} loading={endOthers.isPending} ask={t('account.confirmOthers')} label={t('account.endOthers')} onConfirm={() => endOthers.mutate()} />}
    >
      <DataTable<BrowserSession>
        label={t('account.sessions')}
        query={query}
        rowKey="id"
        empty={t('account.noSessions')}
        columns={[
          {
            title: t('account.browser'),
            render: (_, one) => (
              <Flex gap={4} align="center">
                <Typography.Text title={one.user_agent}>{browserOf(one.user_agent)}</Typography.Text>
                {one.current && <Tag color="green">{t('account.thisOne')}</Tag>}
              </Flex>
            ),
          },
          { title: t('audit.from'), dataIndex: 'from', render: (from: string) => <span className="mono">{from}</span> },
          { title: t('account.signedIn'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('account.lastSeen'), dataIndex: 'last_seen_at', render: (at: string) => <Time at={at} /> },
          { title: t('account.ends'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, one) => !one.current && <AskButton ask={t('account.confirmEnd')} label={t('account.end')} onConfirm={() => end.mutate(one.id)} /> },
        ]}
      />
    </Card>
  );
}
