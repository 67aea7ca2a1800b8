// Directories and providers that people sign in by: list, connect, try out, synchronise.

import { PlusOutlined } from '@ant-design/icons';
import { Alert, Button, Drawer, Flex, Form, Input, Modal, Popconfirm, Segmented, Select, Switch, Table, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { canSync, kindOf, lines, presets, upstreams, type Settings, type Step, type Sync, type Trial, type Upstream } from '../api/upstreams';
import { DataTable, PageHeader, State, Time } from '../parts/basics';
import { FormDialog } from '../parts/dialogs';
import { nameRules } from '../parts/forms';
import { OwnerBar, useOwner } from '../parts/owner';
import { useAction, useList } from '../parts/query';
import { useFaults } from '../parts/useFaults';

export default function Upstreams() {
  const { t } = useTranslation();
  const owner = useOwner();
  const { admin, org, none } = owner;
  const query = useList<Upstream>(['upstreams'], upstreams.all, { query: { org }, enabled: owner.enabled });
  const [creating, setCreating] = useState(false);
  const [report, setReport] = useState<string | null>(null);
  const button = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setCreating(true)}>
      {t('upstreams.connect')}
    </Button>
  );
  return (
    <>
      <PageHeader title={t('menu.upstreams')} sub={t('upstreams.sub')} actions={!none && button} />
      <OwnerBar owner={owner} everything={t('upstreams.everywhere')} />
      <DataTable<Upstream>
        label={t('menu.upstreams')}
        query={{ ...query, isPending: query.isPending && !none }}
        rowKey="name"
        empty={t(none ? 'upstreams.notAdmin' : 'upstreams.empty')}
        emptyAction={none ? undefined : button}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('common.displayName'), render: (_, up) => up.settings.display_name },
          { title: t('upstreams.kind'), render: (_, up) => t(`upstreams.kinds.${kindOf(up)}`) },
          { title: t('upstreams.of'), render: (_, up) => up.org ?? t('upstreams.platform') },
          { title: t('upstreams.domains'), render: (_, up) => up.settings.domains?.map((domain) => <Tag key={domain}>{domain}</Tag>) },
          { title: t('upstreams.enabled'), render: (_, up) => <Enabled upstream={up} /> },
          { title: t('common.changed'), dataIndex: 'changed_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), render: (_, up) => <Actions upstream={up} onReport={() => setReport(up.name)} /> },
        ]}
      />
      <Create open={creating} org={org} admin={admin} onClose={() => setCreating(false)} />
      <Reports name={report} onClose={() => setReport(null)} />
    </>
  );
}

function Enabled({ upstream }: { upstream: Upstream }) {
  const { t } = useTranslation();
  const change = useAction((enabled: boolean) => upstreams.change(upstream, { ...upstream.settings, enabled }), { done: t('upstreams.changed'), refresh: [['upstreams']] });
  return <Switch size="small" aria-label={`${t('upstreams.enabled')} ${upstream.name}`} checked={upstream.settings.enabled !== false} loading={change.isPending} onChange={(on) => change.mutate(on)} />;
}

function Actions({ upstream, onReport }: { upstream: Upstream; onReport: () => void }) {
  const { t } = useTranslation();
  const [steps, setSteps] = useState<Trial | null>(null);
  const test = useAction(() => upstreams.test(upstream.name), { onDone: setSteps });
  const sync = useAction(() => upstreams.sync(upstream.name), { done: t('upstreams.begun'), refresh: [['syncs', upstream.name]], onDone: onReport });
  const remove = useAction(() => upstreams.remove(upstream.name), { done: t('upstreams.deleted'), refresh: [['upstreams']] });
  const [editing, setEditing] = useState(false);
  const change = useAction((settings: Settings) => upstreams.change(upstream, settings), { done: t('upstreams.changed'), refresh: [['upstreams']], onDone: () => setEditing(false) });
  return (
    <Flex gap="small" wrap>
      <Button size="small" loading={test.isPending} onClick={() => test.mutate()}>
        {t('upstreams.test')}
      </Button>
      <Button size="small" onClick={() => setEditing(true)}>
        {t('upstreams.settings')}
      </Button>
      {canSync(upstream) && (
        <>
          <Button size="small" loading={sync.isPending} onClick={() => sync.mutate()}>
            {t('upstreams.sync')}
          </Button>
          <Button size="small" onClick={onReport}>
            {t('upstreams.reports')}
          </Button>
        </>
      )}
      <Popconfirm title={t('upstreams.confirmDelete', { name: upstream.name })} okText={t('common.delete')} cancelText={t('common.cancel')} onConfirm={() => remove.mutate()}>
        <Button size="small" danger>
          {t('common.delete')}
        </Button>
      </Popconfirm>
      <FormDialog<{ settings: string }>
        open={editing}
        wide
        title={t('upstreams.settingsOf', { name: upstream.name })}
        ok={t('common.save')}
        pending={change.isPending} error={change.error}
        initial={{ settings: JSON.stringify(upstream.settings, null, 2) }}
        onClose={() => setEditing(false)}
        onSubmit={({ settings }) => change.mutate(JSON.parse(settings) as Settings)}
      >
        <Form.Item name="settings" label={t('upstreams.settings')} extra={t('upstreams.settingsHelp')} rules={[{ validator: (_, text: string) => (isObject(text) ? Promise.resolve() : Promise.reject(new Error(t('upstreams.notJson')))) }]}>
          <Input.TextArea rows={22} className="mono" spellCheck={false} />
        </Form.Item>
      </FormDialog>
      <Steps name={upstream.name} trial={steps} onClose={() => setSteps(null)} />
    </Flex>
  );
}

/** What each step of a trial found, and what to change. */
function Steps({ name, trial, onClose }: { name: string; trial: Trial | null; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Modal open={trial !== null} title={t('upstreams.testOf', { name: name })} footer={null} width={760} onCancel={onClose}>
      <Alert type={trial?.ok ? 'success' : 'error'} title={t(trial?.ok ? 'upstreams.works' : 'upstreams.worksNot')} style={{ marginBottom: 16 }} />
      <Table<Step>
        size="small"
        pagination={false}
        rowKey={(step) => `${step.server} ${step.step} ${step.detail}`}
        dataSource={trial?.steps ?? []}
        columns={[
          { title: t('upstreams.step'), dataIndex: 'step', render: (step: string) => t(`upstreams.steps.${step}`, { defaultValue: step }) },
          { title: t('upstreams.server'), dataIndex: 'server' },
          { title: t('common.state'), dataIndex: 'ok', render: (ok: boolean) => <Tag color={ok ? 'green' : 'red'}>{t(ok ? 'upstreams.fine' : 'upstreams.fault')}</Tag> },
          { title: t('common.details'), dataIndex: 'detail' },
        ]}
      />
    </Modal>
  );
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function Reports({ name, onClose }: { name: string | null; onClose: () => void }) {
  const { t } = useTranslation();
  const query = useList<Sync>(['syncs', name], upstreams.syncs(name ?? '-'), { enabled: name !== null, interval: 2_000 });
  return (
    <Drawer open={name !== null} onClose={onClose} size="large" title={t('upstreams.reportsOf', { name })}>
      <DataTable<Sync>
        label={t('upstreams.reports')}
        query={query}
        rowKey="id"
        empty={t('upstreams.noReports')}
        expandable={{
          rowExpandable: (run) => run.report.remarks.length > 0 || run.report.fault !== null,
          expandedRowRender: (run) => (
            <ul>
              {run.report.fault && <li>{run.report.fault}</li>}
              {run.report.remarks.map((remark) => (
                <li key={remark}>{remark}</li>
              ))}
            </ul>
          ),
        }}
        columns={[
          { title: t('upstreams.started'), dataIndex: 'started_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.state'), dataIndex: 'result', render: (result: string) => <State value={result} /> },
          { title: t('upstreams.extent'), render: (_, run) => t(`upstreams.extents.${run.extent}`, { defaultValue: run.extent }) },
          { title: t('upstreams.seen'), render: (_, run) => run.report.seen },
          { title: t('upstreams.made'), render: (_, run) => run.report.created },
          { title: t('common.changed'), render: (_, run) => run.report.changed },
          { title: t('upstreams.suspended'), render: (_, run) => run.report.suspended },
          { title: t('upstreams.skipped'), render: (_, run) => run.report.skipped },
          { title: t('upstreams.took'), render: (_, run) => `${run.report.milliseconds} ms` },
        ]}
      />
    </Drawer>
  );
}

interface Values {
  name: string;
  display_name?: string;
  secret?: string;
  domains?: string;
  allow_private?: boolean;
  ca_pem?: string;
  flavour?: 'open_ldap' | 'active_directory';
  servers?: string;
  bind_dn?: string;
  user_base?: string;
  group_base?: string;
  issuer?: string;
  client_id?: string;
  preset?: string;
  agent_id?: string;
}

type Kind = 'ldap' | 'oidc' | 'oauth2';

function settingsOf(kind: Kind, values: Values): Settings {
  const common = { display_name: values.display_name ?? '', domains: lines(values.domains), allow_private: values.allow_private ?? false, ...(values.ca_pem ? { ca_pem: values.ca_pem } : {}) };
  const connection =
    kind === 'ldap'
      ? { ldap: { flavour: values.flavour ?? 'open_ldap', servers: lines(values.servers), bind_dn: values.bind_dn ?? '', user_base: values.user_base ?? '', group_base: values.group_base ?? '' } }
      : kind === 'oauth2'
        ? { oauth2: { preset: values.preset ?? '', client_id: values.client_id ?? '', ...(values.agent_id ? { agent_id: values.agent_id } : {}) } }
        : { oidc: { issuer: values.issuer ?? '', client_id: values.client_id ?? '', scopes: ['profile', 'email', 'groups'] } };
  return { ...common, connection };
}

/** `org`: whose it will be, the platform's if empty. What concerns others only the platform's administrators may set. */
function Create({ open, org, admin, onClose }: { open: boolean; org: string; admin: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  const [kind, setKind] = useState<Kind>('ldap');
  const [form] = Form.useForm<Values>();
  const create = useAction(upstreams.create, { done: t('upstreams.created'), refresh: [['upstreams']], onDone: onClose });
  const [trial, setTrial] = useState<Trial | null>(null);
  const tryOut = useAction((values: Values) => upstreams.tryOut({ ...(org === '' ? {} : { org }), secret: values.secret, settings: settingsOf(kind, values) }), { onDone: setTrial });
  useFaults(form, create.error ?? tryOut.error);
  const needed = [{ required: true, message: t('form.required') }];
  const text = (name: keyof Values, rules = needed, extra?: string) => (
    <Form.Item name={name} label={t(`upstreams.fields.${name}`)} rules={rules} extra={extra}>
      <Input />
    </Form.Item>
  );
  return (
    <Modal open={open} width={640} title={t('upstreams.connect')} okText={t('common.create')} cancelText={t('common.cancel')} confirmLoading={create.isPending} onCancel={onClose} onOk={() => form.submit()} mask={{ closable: false }} destroyOnHidden
      footer={(buttons) => (
        <>
          <Button
            loading={tryOut.isPending}
            onClick={() =>
              void form.validateFields().then(
                (values) => tryOut.mutate(values),
                () => undefined,
              )
            }
          >
            {t('upstreams.test')}
          </Button>
          {buttons}
        </>
      )}
    >
      <Segmented
        block
        value={kind}
        onChange={setKind}
        options={[
          { value: 'ldap', label: t('upstreams.kinds.ldap') },
          { value: 'oidc', label: t('upstreams.kinds.oidc') },
          { value: 'oauth2', label: t('upstreams.kinds.oauth2') },
        ]}
        style={{ marginBottom: 16 }}
      />
      <Form form={form} layout="vertical" preserve={false} onFinish={(values) => create.mutate({ name: values.name, ...(org === '' ? {} : { org }), secret: values.secret, settings: settingsOf(kind, values) })}>
        <Form.Item name="name" label={t('common.name')} rules={nameRules(t)} extra={t('form.nameHelp')}>
          <Input autoFocus maxLength={63} />
        </Form.Item>
        {text('display_name', [])}
        {kind === 'ldap' ? (
          <>
            <Form.Item name="flavour" label={t('upstreams.fields.flavour')} initialValue="open_ldap">
              <Segmented options={[{ value: 'open_ldap', label: 'OpenLDAP' }, { value: 'active_directory', label: 'Active Directory' }]} />
            </Form.Item>
            {text('servers', needed, t('upstreams.serversHelp'))}
            {text('bind_dn')}
            {text('user_base')}
            {text('group_base', [])}
          </>
        ) : kind === 'oidc' ? (
          <>
            {text('issuer')}
            {text('client_id')}
          </>
        ) : (
          <>
            <Form.Item name="preset" label={t('upstreams.fields.preset')} initialValue="github">
              <Select options={presets.map((value) => ({ value, label: t(`upstreams.presets.${value}`) }))} />
            </Form.Item>
            {text('client_id')}
            {text('agent_id', [], t('upstreams.agentHelp'))}
          </>
        )}
        <Form.Item name="secret" label={t(`upstreams.secret.${kind}`)} rules={kind === 'oidc' ? [] : needed}>
          <Input.Password autoComplete="new-password" />
        </Form.Item>
        {admin && text('domains', [], t('upstreams.domainsHelp'))}
        <Form.Item name="ca_pem" label={t('upstreams.fields.ca_pem')}>
          <Input.TextArea rows={3} placeholder="-----BEGIN CERTIFICATE-----" />
        </Form.Item>
        {admin && (
          <Form.Item name="allow_private" label={t('upstreams.fields.allow_private')} valuePropName="checked">
            <Switch />
          </Form.Item>
        )}
      </Form>
      <Steps name={t('upstreams.connect')} trial={trial} onClose={() => setTrial(null)} />
    </Modal>
  );
}
