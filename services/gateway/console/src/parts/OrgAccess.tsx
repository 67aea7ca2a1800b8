// Who may do what in an organisation: its teams, its own roles, its service accounts, and the matrix of all rights.

import { Button, Card, Flex, Form, Input, Modal, Popconfirm, Select, Table, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { people, type Key, type MatrixRow, type Permission, type RoleView, type ServiceAccount, type Team, type TeamMember } from '../api/people';
import { DataTable, State, Time } from './basics';
import { nameRules } from './forms';
import { useAction, useList, useLiveList } from './query';

export function Teams({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = useLiveList<Team>(['teams', org], people.teams(org), { query: { limit: 500 } });
  const [form] = Form.useForm<{ name: string; parent?: string }>();
  const refresh = [['teams', org]];
  const create = useAction((body: { name: string; parent?: string }) => people.createTeam(org, body), { done: t('access.teamCreated'), refresh, onDone: () => form.resetFields() });
  const drop = useAction((team: string) => people.deleteTeam(org, team), { done: t('access.teamDeleted'), refresh });
  return (
    <Card
      title={t('access.teams')}
      extra={
        <Form form={form} layout="inline" onFinish={(values) => create.mutate(values)}>
          <Form.Item name="name" rules={nameRules(t)}>
            <Input aria-label={t('common.name')} placeholder={t('common.name')} maxLength={63} />
          </Form.Item>
          <Form.Item name="parent">
            <Select allowClear aria-label={t('access.parent')} placeholder={t('access.parent')} style={{ width: 160 }} options={query.items.map(({ name }) => ({ value: name, label: name }))} />
          </Form.Item>
          <Button htmlType="submit" type="primary" loading={create.isPending}>
            {t('common.create')}
          </Button>
        </Form>
      }
    >
      <DataTable<Team>
        label={t('access.teams')}
        query={query}
        rowKey="id"
        empty={t('access.noTeams')}
        expandable={{ expandedRowRender: (team) => <TeamMembers org={org} team={team.name} /> }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('people.name'), dataIndex: 'display_name' },
          { title: t('access.parent'), dataIndex: 'parent', render: (name: string | null) => name ?? '–' },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { key: 'do', render: (_, team) => <Delete name={team.name} onConfirm={() => drop.mutate(team.name)} /> },
        ]}
      />
    </Card>
  );
}

function TeamMembers({ org, team }: { org: string; team: string }) {
  const { t } = useTranslation();
  const query = useList<TeamMember>(['team', org, team], people.members(org, team), { query: { limit: 500 } });
  const [name, setName] = useState('');
  const refresh = [['team', org, team]];
  const add = useAction((subject: string) => people.putMember(org, team, subject), { refresh, onDone: () => setName('') });
  const drop = useAction((subject: string) => people.removeMember(org, team, subject), { refresh });
  return (
    <Flex gap="small" wrap align="center">
      {query.items.map((member) => (
        <Tag key={member.subject} closable onClose={(event) => (event.preventDefault(), drop.mutate(member.subject))}>
          {member.name}
        </Tag>
      ))}
      <Input.Search aria-label={t('access.addMember')} placeholder={t('access.addMember')} style={{ width: 240 }} value={name} onChange={(event) => setName(event.target.value)} enterButton={t('org.addMember')} loading={add.isPending} onSearch={(text) => text.trim() && add.mutate(text.trim())} />
    </Flex>
  );
}

export function Roles({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = useList<RoleView>(['roles', org], people.roles, { query: { org } });
  const published = useList<Permission>(['permissions'], people.permissions);
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<{ name: string; description?: string; permissions: string[] }>();
  const refresh = [['roles', org]];
  const create = useAction((body: { name: string; description?: string; permissions: string[] }) => people.createRole({ ...body, org }), { done: t('access.roleCreated'), refresh, onDone: () => setOpen(false) });
  const drop = useAction(people.deleteRole, { done: t('access.roleDeleted'), refresh });
  return (
    <Card
      title={t('access.roles')}
      extra={
        <Button type="primary" onClick={() => setOpen(true)}>
          {t('access.createRole')}
        </Button>
      }
    >
      <DataTable<RoleView>
        label={t('access.roles')}
        query={query}
        rowKey="id"
        empty={t('access.noRoles')}
        expandable={{ expandedRowRender: (role) => role.permissions.map((name) => <Tag key={name}>{name}</Tag>) }}
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string, role) => (role.built_in ? t(`role.${name}`) : name) },
          { title: t('access.description'), dataIndex: 'description' },
          { key: 'do', render: (_, role) => !role.built_in && <Delete name={role.name} onConfirm={() => drop.mutate(role.id)} /> },
        ]}
      />
      <Modal open={open} title={t('access.createRole')} okText={t('common.create')} cancelText={t('common.cancel')} confirmLoading={create.isPending} onCancel={() => setOpen(false)} onOk={() => form.submit()} destroyOnHidden>
        <Form form={form} layout="vertical" preserve={false} onFinish={(values) => create.mutate(values)}>
          <Form.Item name="name" label={t('common.name')} rules={nameRules(t)}>
            <Input autoFocus maxLength={63} />
          </Form.Item>
          <Form.Item name="description" label={t('access.description')}>
            <Input maxLength={500} />
          </Form.Item>
          <Form.Item name="permissions" label={t('access.permissions')} rules={[{ required: true, message: t('form.required') }]}>
            <Select mode="multiple" options={published.items.map(({ name, description }) => ({ value: name, label: name, title: description }))} />
          </Form.Item>
        </Form>
      </Modal>
    </Card>
  );
}

export function Accounts({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = useList<ServiceAccount>(['accounts', org], people.accounts(org), { query: { limit: 500 } });
  const [form] = Form.useForm<{ name: string; description?: string }>();
  const refresh = [['accounts', org]];
  const create = useAction((body: { name: string; description?: string }) => people.createAccount(org, body), { done: t('access.accountCreated'), refresh, onDone: () => form.resetFields() });
  const drop = useAction((name: string) => people.deleteAccount(org, name), { done: t('access.accountDeleted'), refresh });
  return (
    <Card
      title={t('access.accounts')}
      extra={
        <Form form={form} layout="inline" onFinish={(values) => create.mutate(values)}>
          <Form.Item name="name" rules={nameRules(t)}>
            <Input aria-label={t('common.name')} placeholder={t('common.name')} maxLength={63} />
          </Form.Item>
          <Button htmlType="submit" type="primary" loading={create.isPending}>
            {t('common.create')}
          </Button>
        </Form>
      }
    >
      <DataTable<ServiceAccount>
        label={t('access.accounts')}
        query={query}
        rowKey="id"
        empty={t('access.noAccounts')}
        expandable={{ expandedRowRender: (account) => <Keys org={org} name={account.name} /> }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('access.description'), dataIndex: 'description' },
          { title: t('common.state'), dataIndex: 'state', render: (value: string) => <State value={value} /> },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { key: 'do', render: (_, account) => <Delete name={account.name} onConfirm={() => drop.mutate(account.name)} /> },
        ]}
      />
    </Card>
  );
}

function Keys({ org, name }: { org: string; name: string }) {
  const { t } = useTranslation();
  const query = useList<Key>(['keys', org, name], people.keys(org, name));
  const [secret, setSecret] = useState<string>();
  const refresh = [['keys', org, name]];
  const create = useAction(() => people.createKey(org, name), { refresh, onDone: (made) => setSecret(made.secret) });
  const revoke = useAction((id: string) => people.revokeKey(org, name, id), { done: t('access.keyRevoked'), refresh });
  return (
    <Flex vertical gap="small" align="flex-start">
      <DataTable<Key>
        label={t('access.keys')}
        query={query}
        rowKey="id"
        size="small"
        empty={t('access.noKeys')}
        columns={[
          { title: t('access.begins'), dataIndex: 'hint', render: (hint: string) => <Typography.Text code>{hint}…</Typography.Text> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.lastUsed'), dataIndex: 'last_used_at', render: (at: string | null) => <Time at={at} /> },
          { key: 'do', render: (_, key) => <Delete name={key.hint} onConfirm={() => revoke.mutate(key.id)} /> },
        ]}
      />
      <Button onClick={() => create.mutate()} loading={create.isPending}>
        {t('access.createKey')}
      </Button>
      <Modal open={secret !== undefined} title={t('access.keyOnce')} okText={t('access.noted')} cancelButtonProps={{ style: { display: 'none' } }} onOk={() => setSecret(undefined)} onCancel={() => setSecret(undefined)}>
        <Typography.Paragraph copyable code>
          {secret}
        </Typography.Paragraph>
      </Modal>
    </Flex>
  );
}

/** A row for everybody with a role here or above, a column for each area. */
export function Matrix({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = useList<MatrixRow>(['matrix', org], people.matrix, { query: { org, limit: 500 } });
  const published = useList<Permission>(['permissions'], people.permissions);
  const areas = [...new Set(published.items.map((permission) => permission.area))];
  return (
    <Card title={t('access.matrix')}>
      <DataTable<MatrixRow>
        label={t('access.matrix')}
        query={query}
        rowKey="subject"
        empty={t('access.nobody')}
        columns={[
          { title: t('org.who'), dataIndex: 'name', fixed: 'left' },
          Table.EXPAND_COLUMN,
          ...areas.map((area) => ({
            key: area,
            title: area,
            render: (_: unknown, row: MatrixRow) => {
              const of = published.items.filter((permission) => permission.area === area);
              const has = of.filter((permission) => row.permissions.includes(permission.name)).length;
              return has === 0 ? '–' : <Tag color={has === of.length ? 'green' : 'gold'}>{`${has}/${of.length}`}</Tag>;
            },
          })),
        ]}
        expandable={{ expandedRowRender: (row) => row.permissions.map((name) => <Tag key={name}>{name}</Tag>) }}
      />
    </Card>
  );
}

function Delete({ name, onConfirm }: { name: string; onConfirm: () => void }) {
  const { t } = useTranslation();
  return (
    <Popconfirm title={t('access.confirmDelete', { name })} okText={t('common.delete')} cancelText={t('common.cancel')} onConfirm={onConfirm}>
      <Button size="small" danger>
        {t('common.delete')}
      </Button>
    </Popconfirm>
  );
}
