// One organisation: its projects, members, who may do what, and its limits.

import { PlusOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Button, Card, Checkbox, Form, Input, Modal, Popconfirm, Select, Tabs, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';

import { billing } from '../api/billing';
import { get } from '../api/http';
import { identity, type Binding, type Member, type Org as OrgType, type Project, type Role } from '../api/identity';
import { Answer, DataTable, PageHeader, Time } from '../parts/basics';
import { nameRules } from '../parts/forms';
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
              { key: 'rights', label: t('org.rights'), children: <Rights org={org} id={query.data!.id} /> },
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
  const [form] = Form.useForm<{ user: string }>();
  const add = useAction((user: string) => identity.addMember(org, user), { done: t('org.memberAdded'), refresh: [['members', org]], onDone: () => form.resetFields() });
  const remove = useAction((user: string) => identity.removeMember(org, user), { done: t('org.memberRemoved'), refresh: [['members', org]] });
  return (
    <Card
      title={t('org.members')}
      extra={
        <Form form={form} layout="inline" onFinish={({ user }) => add.mutate(user)}>
          <Form.Item name="user" rules={[{ required: true, message: t('form.required') }]}>
            <Input aria-label={t('org.username')} placeholder={t('org.username')} />
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
          { title: t('org.username'), dataIndex: 'username', render: (name: string | undefined, row) => name ?? row.user },
          { title: t('common.displayName'), dataIndex: 'display_name' },
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

interface Grant {
  subject: string;
  role: Role;
  scope: string;
}

function Rights({ org, id }: { org: string; id: string }) {
  const { t } = useTranslation();
  const query = useList<Binding>(['bindings', org], identity.bindings, { query: { scope: `org:${id}` } });
  const members = useList<Member>(['members', org], identity.members(org));
  const projects = useList<Project>(['projects', org], identity.projects(org));
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<Grant>();
  const grant = useAction(
    (values: Grant) => {
      const [level, scopeId] = values.scope.split(':') as ['org' | 'project', string];
      return identity.grant({ subject: values.subject, role: values.role, scope: { level, id: scopeId } });
    },
    { done: t('org.granted'), refresh: [['bindings', org]], onDone: () => setOpen(false) },
  );
  const revoke = useAction(identity.revoke, { done: t('org.revoked'), refresh: [['bindings', org]] });
  const scopeName = (binding: Binding) => {
    const project = projects.items.find((one) => one.id === binding.scope.id);
    return binding.scope_name ?? (binding.scope.id === id ? org : (project?.name ?? binding.scope.id ?? ''));
  };
  const subjectName = (binding: Binding) => binding.subject_name ?? members.items.find((one) => `user:${one.user}` === binding.subject)?.username ?? binding.subject;
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
        query={query}
        rowKey="id"
        empty={t('org.noRights')}
        columns={[
          { title: t('org.who'), render: (_, row) => subjectName(row) },
          { title: t('org.role'), dataIndex: 'role', render: (role: Role) => <Tag>{t(`role.${role}`)}</Tag> },
          { title: t('org.where'), render: (_, row) => `${t(`level.${row.scope.level}`)} ${scopeName(row)}` },
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
        <Form form={form} layout="vertical" preserve={false} initialValues={{ role: 'viewer', scope: `org:${id}` }} onFinish={(values) => grant.mutate(values)}>
          <Form.Item name="subject" label={t('org.who')} rules={[{ required: true, message: t('form.required') }]}>
            <Select showSearch={{ optionFilterProp: 'label' }} options={members.items.map((one) => ({ value: `user:${one.user}`, label: one.username ?? one.user }))} />
          </Form.Item>
          <Form.Item name="role" label={t('org.role')}>
            <Select options={(['viewer', 'editor', 'admin'] as const).map((role) => ({ value: role, label: t(`role.${role}`) }))} />
          </Form.Item>
          <Form.Item name="scope" label={t('org.where')}>
            <Select options={[{ value: `org:${id}`, label: `${t('level.org')} ${org}` }, ...projects.items.map((one) => ({ value: `project:${one.id}`, label: `${t('level.project')} ${one.name}` }))]} />
          </Form.Item>
        </Form>
      </Modal>
    </Card>
  );
}
