// One organisation: its projects, members, who may do what, and its limits.

import { PlusOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Button, Card, Checkbox, Form, Input, Modal, Popconfirm, Select, Tabs, Tag } from 'antd';
import type { TFunction } from 'i18next';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';

import { billing } from '../api/billing';
import { get, type Page } from '../api/http';
import { identity, type Binding, type Member, type Org as OrgType, type Project, type Role } from '../api/identity';
import { Answer, DataTable, PageHeader, Time } from '../parts/basics';
import { nameRules } from '../parts/forms';
import { Accounts, Matrix, Roles, Teams } from '../parts/OrgAccess';
import { QuotaCard } from '../parts/QuotaCard';
import { useAction, useList } from '../parts/query';
import { forgetPlace, to } from '../place';

export default function Org() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const org = useParams().org!;
  const query = useQuery({ queryKey: ['org', org], queryFn: () => get<OrgType>(identity.org(org)) });
  const remove = useAction(() => identity.deleteOrg(org), {
    done: t('orgs.deleted'),
    refresh: [['orgs'], ['places']],
    onDone: () => {
      forgetPlace();
      void navigate('/orgs');
    },
  });
  return (
    <>
      <PageHeader
        title={query.data?.display_name || org}
        sub={org}
        actions={
          <Popconfirm title={t('orgs.confirmDelete', { name: org })} okText={t('common.delete')} cancelText={t('common.cancel')} onConfirm={() => remove.mutate()}>
            <Button danger>{t('common.delete')}</Button>
          </Popconfirm>
        }
      />
      <Answer query={query}>
        {() => (
          <Tabs
            items={[
              { key: 'projects', label: t('org.projects'), children: <Projects org={org} /> },
              { key: 'members', label: t('org.members'), children: <Members org={org} /> },
              { key: 'rights', label: t('org.rights'), children: <Rights org={org} /> },
              { key: 'teams', label: t('access.teams'), children: <Teams org={org} /> },
              { key: 'roles', label: t('access.roles'), children: <Roles org={org} /> },
              { key: 'accounts', label: t('access.accounts'), children: <Accounts org={org} /> },
              { key: 'matrix', label: t('access.matrix'), children: <Matrix org={org} /> },
              { key: 'quota', label: t('org.quota'), children: <QuotaCard name="org" url={billing.orgQuota(org)} /> },
            ]}
          />
        )}
      </Answer>
    </>
  );
}

function Projects({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = useList<Project>(['projects', org], identity.projects(org));
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<{ name: string; public: boolean }>();
  const create = useAction((body: { name: string; public: boolean }) => identity.createProject(org, body), {
    done: t('org.projectCreated'),
    refresh: [['projects', org], ['places']],
    onDone: () => setOpen(false),
  });
  const button = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
      {t('org.createProject')}
    </Button>
  );
  return (
    <Card extra={button} title={t('org.projects')}>
      <DataTable<Project>
        label={t('org.projects')}
        query={query}
        rowKey="name"
        empty={t('org.noProjects')}
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string) => <Link to={to.project(org, name)}>{name}</Link> },
          { title: t('org.visibility'), dataIndex: 'public', render: (is: boolean) => <Tag>{t(is ? 'org.public' : 'org.private')}</Tag> },
          { title: t('common.created'), dataIndex: 'created_at', render: (at?: string) => <Time at={at} /> },
        ]}
      />
      <Modal open={open} title={t('org.createProject')} okText={t('common.create')} cancelText={t('common.cancel')} confirmLoading={create.isPending} onCancel={() => setOpen(false)} onOk={() => form.submit()} destroyOnHidden>
        <Form form={form} layout="vertical" preserve={false} initialValues={{ public: false }} onFinish={(values) => create.mutate(values)}>
          <Form.Item name="name" label={t('common.name')} rules={nameRules(t)} extra={t('form.nameHelp')}>
            <Input autoFocus maxLength={63} />
          </Form.Item>
          <Form.Item name="public" valuePropName="checked" extra={t('org.publicHelp')}>
            <Checkbox>{t('org.public')}</Checkbox>
          </Form.Item>
        </Form>
      </Modal>
    </Card>
  );
}

function Members({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = useList<Member>(['members', org], identity.members(org));
  const [form] = Form.useForm<{ user: string; role: Role }>();
  const add = useAction((input: { user: string; role: Role }) => identity.putMember(org, input.user, input.role), { done: t('org.memberAdded'), refresh: [['members', org]], onDone: () => form.resetFields() });
  const remove = useAction((user: string) => identity.removeMember(org, user), { done: t('org.memberRemoved'), refresh: [['members', org]] });
  return (
    <Card
      title={t('org.members')}
      extra={
        <Form form={form} layout="inline" initialValues={{ role: 'viewer' }} onFinish={(input) => add.mutate(input)}>
          <Form.Item name="user" rules={[{ required: true, message: t('form.required') }]}>
            <Input aria-label={t('org.username')} placeholder={t('org.username')} />
          </Form.Item>
          <Form.Item name="role">
            <Select aria-label={t('org.role')} options={roles(t)} style={{ width: 110 }} />
          </Form.Item>
          <Button htmlType="submit" icon={<PlusOutlined />} loading={add.isPending}>
            {t('org.addMember')}
          </Button>
        </Form>
      }
    >
      <DataTable<Member>
        label={t('org.members')}
        query={query}
        rowKey="user"
        empty={t('org.noMembers')}
        columns={[
          { title: t('org.username'), dataIndex: 'username' },
          { title: t('common.displayName'), dataIndex: 'display_name' },
          { title: t('org.role'), dataIndex: 'role', render: (role: Role | null) => (role ? <Tag>{t(`role.${role}`)}</Tag> : '–') },
          { title: t('org.since'), dataIndex: 'added_at', render: (at: string) => <Time at={at} /> },
          {
            title: t('common.actions'),
            render: (_, row) => (
              <Popconfirm title={t('org.confirmRemove', { name: row.username })} okText={t('common.remove')} cancelText={t('common.cancel')} onConfirm={() => remove.mutate(row.user)}>
                <Button size="small">{t('common.remove')}</Button>
              </Popconfirm>
            ),
          },
        ]}
      />
    </Card>
  );
}

const roles = (t: TFunction) => (['viewer', 'editor', 'admin'] as const).map((role) => ({ value: role, label: t(`role.${role}`) }));

interface Grant {
  subject: string;
  role: Role;
  /** Empty: the whole organisation. */
  project: string;
}

function Rights({ org }: { org: string }) {
  const { t } = useTranslation();
  const projects = useList<Project>(['projects', org], identity.projects(org));
  const members = useList<Member>(['members', org], identity.members(org));
  const names = projects.items.map((project) => project.name);
  // The service lists one place at a time.
  const query = useQuery({
    queryKey: ['bindings', org, names],
    queryFn: async () => {
      const places = [{ org }, ...names.map((project) => ({ org, project }))];
      const pages = await Promise.all(places.map((place) => get<Page<Binding>>(identity.bindings, place)));
      return pages.flatMap((page) => page.items);
    },
  });
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<Grant>();
  const grant = useAction(({ subject, role, project }: Grant) => identity.grant({ subject, role, org, ...(project === '' ? {} : { project }) }), {
    done: t('org.granted'),
    refresh: [['bindings', org], ['members', org]],
    onDone: () => setOpen(false),
  });
  const revoke = useAction(identity.revoke, { done: t('org.revoked'), refresh: [['bindings', org], ['members', org]] });
  return (
    <Card
      title={t('org.rights')}
      extra={
        <Button icon={<PlusOutlined />} onClick={() => setOpen(true)}>
          {t('org.grant')}
        </Button>
      }
    >
      <DataTable<Binding>
        label={t('org.rights')}
        query={{ ...query, items: query.data ?? [] }}
        rowKey="id"
        empty={t('org.noRights')}
        columns={[
          { title: t('org.who'), render: (_, row) => row.name ?? row.subject },
          { title: t('org.role'), dataIndex: 'role', render: (role: Role) => <Tag>{t(`role.${role}`)}</Tag> },
          { title: t('org.where'), dataIndex: 'scope_name' },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          {
            title: t('common.actions'),
            render: (_, row) => (
              <Popconfirm title={t('org.confirmRevoke')} okText={t('org.revoke')} cancelText={t('common.cancel')} onConfirm={() => revoke.mutate(row.id)}>
                <Button size="small">{t('org.revoke')}</Button>
              </Popconfirm>
            ),
          },
        ]}
      />
      <Modal open={open} title={t('org.grant')} okText={t('org.grant')} cancelText={t('common.cancel')} confirmLoading={grant.isPending} onCancel={() => setOpen(false)} onOk={() => form.submit()} destroyOnHidden>
        <Form form={form} layout="vertical" preserve={false} initialValues={{ role: 'viewer', project: '' }} onFinish={(values) => grant.mutate(values)}>
          <Form.Item name="subject" label={t('org.who')} rules={[{ required: true, message: t('form.required') }]}>
            <Select showSearch={{ optionFilterProp: 'label' }} options={members.items.map((one) => ({ value: `user:${one.user}`, label: one.username }))} />
          </Form.Item>
          <Form.Item name="role" label={t('org.role')}>
            <Select options={roles(t)} />
          </Form.Item>
          <Form.Item name="project" label={t('org.where')}>
            <Select options={[{ value: '', label: `${t('level.org')} ${org}` }, ...names.map((name) => ({ value: name, label: `${t('level.project')} ${name}` }))]} />
          </Form.Item>
        </Form>
      </Modal>
    </Card>
  );
}
