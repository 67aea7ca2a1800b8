// One person: profile, state, limits, linked accounts, what was done last, and the end of the account.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Descriptions, Flex, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate, useParams } from 'react-router';

import type { Link as Linked } from '../../api/account';
import { ApiError, get } from '../../api/http';
import { people, type Account } from '../../api/people';
import { AuditTable } from '../../parts/AuditTable';
import { Answer, DataTable, PageHeader, ProblemView, State, Time } from '../../parts/basics';
import { DeleteByName, FormDialog } from '../../parts/dialogs';
import { TextField } from '../../parts/fields';
import { usePlatformAdmin } from '../../parts/me';
import { QuotaCard } from '../../parts/QuotaCard';
import { useAction, useList } from '../../parts/query';
import { PageTabs } from '../../parts/tabs';
import Sessions from '../account/Sessions';
import { UserActions } from './People';
import { RemainsCard } from './RemainsCard';

export default function User() {
  const { t } = useTranslation();
  const id = useParams().user!;
  const admin = usePlatformAdmin();
  const query = useQuery({ queryKey: ['user', id], queryFn: () => get<Account>(people.user(id)) });
  // Whoever was erased has no page, but what is kept can still be asked for.
  if (admin && query.error instanceof ApiError && query.error.status === 404) {
    return (
      <div className="stack">
        <ProblemView error={query.error} />
        <RemainsCard user={id} />
      </div>
    );
  }
  return (
    <Answer query={query}>
      {() => {
        const user = query.data!;
        return (
          <>
            <PageHeader title={user.display_name || user.username} sub={user.username} actions={admin && <Actions user={user} />} />
            <PageTabs
              items={[
                { key: 'profile', label: t('account.profile'), children: <Profile user={user} /> },
                ...(admin
                  ? [
                      { key: 'quota', label: t('org.quota'), children: <QuotaCard name="user" url={people.userQuota(id)} /> },
                      { key: 'sessions', label: t('account.sessions'), children: <Sessions user={id} /> },
                      { key: 'links', label: t('account.links'), children: <Links id={id} /> },
                      { key: 'audit', label: t('menu.audit'), children: <AuditTable filter={{ actor: `user:${id}` }} /> },
                      { key: 'remains', label: t('remains.tab'), children: <RemainsCard user={id} /> },
                    ]
                  : []),
              ]}
            />
          </>
        );
      }}
    </Answer>
  );
}

function Profile({ user }: { user: Account }) {
  const { t } = useTranslation();
  return (
    <Card>
      <Descriptions
        column={{ xs: 1, md: 2 }}
        items={[
          { key: 'username', label: t('org.username'), children: user.username },
          { key: 'name', label: t('people.name'), children: user.display_name || '–' },
          { key: 'email', label: t('people.email'), children: user.email || '–' },
          {
            key: 'state',
            label: t('common.state'),
            children: (
              <Flex gap={4}>
                <State value={user.state} />
                {user.must_change_password && <Tag color="gold">{t('people.mustChange')}</Tag>}
              </Flex>
            ),
          },
          { key: 'created', label: t('common.created'), children: <Time at={user.created_at} /> },
          {
            key: 'subject',
            label: t('people.subject'),
            children: (
              <Typography.Text className="mono" copyable={{ tooltips: [t('common.copy'), t('common.copied')] }}>
                {`user:${user.id}`}
              </Typography.Text>
            ),
          },
        ]}
      />
    </Card>
  );
}

function Actions({ user }: { user: Account }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [editing, setEditing] = useState(false);
  const [merging, setMerging] = useState(false);
  const refresh = [['user', user.id], ['users']];
  const save = useAction((body: { display_name?: string; email?: string }) => people.changeUser(user.id, body), { done: t('parts.saved'), refresh, onDone: () => setEditing(false) });
  const merge = useAction((from: string) => people.merge(user.id, from), { done: t('people.merged'), refresh, onDone: () => setMerging(false) });
  const erase = useAction(() => people.erase(user.id), { done: t('people.erased'), refresh: [['users']], onDone: () => void navigate('/people') });
  return (
    <>
      <Button onClick={() => setEditing(true)}>{t('parts.edit')}</Button>
      <UserActions user={user} size="middle" />
      <Button onClick={() => setMerging(true)}>{t('people.merge')}</Button>
      <DeleteByName name={user.username} title={t('people.eraseOf', { name: user.username })} label={t('people.erase')} pending={erase.isPending} onDelete={() => erase.mutate()}>
        <Alert type="warning" showIcon title={t('people.eraseHelp')} />
      </DeleteByName>
      <FormDialog<{ display_name?: string; email?: string }> open={editing} title={t('parts.edit')} ok={t('common.save')} pending={save.isPending} error={save.error} initial={user} onClose={() => setEditing(false)} onSubmit={save.mutate}>
        <TextField name="display_name" label={t('people.name')} max={100} />
        <TextField name="email" label={t('people.email')} required max={254} />
      </FormDialog>
      <FormDialog<{ from: string }> open={merging} title={t('people.mergeInto', { name: user.username })} ok={t('people.merge')} pending={merge.isPending} error={merge.error} onClose={() => setMerging(false)} onSubmit={({ from }) => merge.mutate(from.trim())}>
        <Alert type="warning" showIcon title={t('people.mergeHelp', { name: user.username })} style={{ marginBottom: 16 }} />
        <TextField name="from" label={t('people.mergeFrom')} required max={64} />
      </FormDialog>
    </>
  );
}

function Links({ id }: { id: string }) {
  const { t } = useTranslation();
  const query = useList<Linked>(['links', id], people.userLinks(id));
  return (
    <DataTable<Linked>
      label={t('account.links')}
      query={query}
      rowKey="id"
      empty={t('account.noLinks')}
      columns={[
        { title: t('account.source'), dataIndex: 'upstream' },
        { title: t('common.name'), render: (_, link) => link.display_name || link.subject },
        { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
      ]}
    />
  );
}
