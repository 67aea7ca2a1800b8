// The users of the platform: found, created, suspended, made to choose a new password.

import { DownloadOutlined, PlusOutlined, UploadOutlined } from '@ant-design/icons';
import { Button, Card, Dropdown, Flex, Form, Input, Select } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { people, type Account } from '../../api/people';
import { LinkButton, PageHeader, State, Time } from '../../parts/basics';
import { AskButton, FormDialog } from '../../parts/dialogs';
import { CheckField, TextField } from '../../parts/fields';
import { useFilters } from '../../parts/listing';
import { usePlatformAdmin } from '../../parts/me';
import { PagedTable, usePaged } from '../../parts/paged';
import { useAction } from '../../parts/query';
import { to } from '../../place';
import { useClear } from '../../parts/clear';

interface NewUser {
  username: string;
  email: string;
  display_name?: string;
  password?: string;
  must_change_password?: boolean;
}

export default function People() {
  const { t } = useTranslation();
  const clear = useClear();
  const admin = usePlatformAdmin();
  const [{ q, state }, filter] = useFilters(['q', 'state']);
  const [open, setOpen] = useState(false);
  const query = usePaged<Account>(['users'], people.users, { query: { q, state }, interval: 15_000 });
  const create = useAction(people.createUser, { done: t('people.created'), refresh: [['users']], onDone: () => setOpen(false) });
  return (
    <>
      <PageHeader
        title={t('people.title')}
        sub={t('people.sub')}
        actions={
          admin && (
            <>
              <Dropdown
                menu={{
                  items: (['csv', 'json'] as const).map((format) => ({
                    key: format,
                    label: (
                      <a href={people.exported(format)} download={`users.${format}`}>
                        {format.toUpperCase()}
                      </a>
                    ),
                  })),
                }}
              >
                <Button icon={<DownloadOutlined />}>{t('people.export')}</Button>
              </Dropdown>
              <LinkButton icon={<UploadOutlined />} to="/people/import">
                {t('people.import')}
              </LinkButton>
              <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
                {t('people.create')}
              </Button>
            </>
          )
        }
      />
      <Card>
        <Flex gap="small" wrap className="toolbar">
          <Input.Search allowClear={clear} enterButton={t('audit.search')} aria-label={t('people.search')} placeholder={t('people.search')} style={{ width: 380 }} defaultValue={q} onSearch={(text) => filter({ q: text.trim() })} />
          <Select
            allowClear
            aria-label={t('common.state')}
            placeholder={t('common.state')}
            style={{ width: 160 }}
            value={state}
            onChange={(value?: string) => filter({ state: value })}
            options={['active', 'suspended'].map((value) => ({ value, label: t(`state.${value}`) }))}
          />
        </Flex>
        <PagedTable<Account>
          label={t('people.title')}
          query={query}
          rowKey="id"
          empty={t('people.none')}
          columns={[
            { title: t('org.username'), dataIndex: 'username', render: (name: string, user) => <Link to={to.user(user.id)}>{name}</Link> },
            { title: t('people.name'), dataIndex: 'display_name' },
            { title: t('people.email'), dataIndex: 'email' },
            { title: t('common.state'), dataIndex: 'state', render: (value: string) => <State value={value} /> },
            { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
            ...(admin ? [{ title: t('common.actions'), key: 'do', render: (_: unknown, user: Account) => <UserActions user={user} /> }] : []),
          ]}
        />
      </Card>
      <FormDialog<NewUser> open={open} title={t('people.create')} pending={create.isPending} error={create.error} initial={{ must_change_password: true }} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <TextField name="username" label={t('org.username')} required max={64} focus />
        <Form.Item name="email" label={t('people.email')} rules={[{ required: true, type: 'email', message: t('people.emailNeeded') }]}>
          <Input maxLength={254} />
        </Form.Item>
        <TextField name="display_name" label={t('people.name')} max={100} />
        <TextField name="password" label={t('people.password')} secret help={t('people.passwordHelp')} />
        <CheckField name="must_change_password" label={t('people.mustChange')} />
      </FormDialog>
    </>
  );
}

export function UserActions({ user, size = 'small' }: { user: Account; size?: 'small' | 'middle' }) {
  const { t } = useTranslation();
  const refresh = [['users'], ['user', user.id]];
  const suspend = useAction(() => people.suspend(user.id, ''), { done: t('people.suspended'), refresh });
  const resume = useAction(() => people.resume(user.id), { done: t('people.resumed'), refresh });
  const reset = useAction(() => people.requireReset(user.id), { done: t('people.resetDone'), refresh });
  return (
    <Flex gap="small">
      {user.state === 'active' ? (
        <AskButton size={size} danger ask={t('people.confirmSuspend', { name: user.username })} label={t('people.suspend')} onConfirm={() => suspend.mutate()} />
      ) : (
        <Button size={size} onClick={() => resume.mutate()}>
          {t('people.resume')}
        </Button>
      )}
      <AskButton size={size} ask={t('people.confirmReset', { name: user.username })} label={t('people.reset')} onConfirm={() => reset.mutate()} />
    </Flex>
  );
}
