// The roles that were given in an organisation and its projects, and giving more, perhaps under conditions.

import { PlusOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Button, Card, Collapse, DatePicker, Form, Select, Tag, Tooltip } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { get, type Page } from '../../api/http';
import { identity, type Binding, type Condition, type Project } from '../../api/identity';
import { people, type RoleView, type ServiceAccount, type Team } from '../../api/people';
import { DataTable, Time } from '../../parts/basics';
import { AskButton, FormDialog } from '../../parts/dialogs';
import { ChoiceField, TextsField, UserSelect } from '../../parts/fields';
import { useMay } from '../../parts/may';
import { useAction, useList } from '../../parts/query';

interface Values {
  subject: string;
  role: string;
  /** Empty: the whole organisation. */
  project: string;
  networks?: string[];
  factors?: string[];
  until?: { toISOString(): string };
}

function conditionOf({ networks, factors, until }: Values): Condition | undefined {
  const condition: Condition = {};
  if (networks?.length) condition.networks = networks;
  if (factors?.length) condition.factors = factors;
  if (until) condition.not_after = until.toISOString();
  return Object.keys(condition).length === 0 ? undefined : condition;
}

export default function Rights({ org }: { org: string }) {
  const { t } = useTranslation();
  const projects = useList<Project>(['projects', org], identity.projects(org), { query: { limit: 500 } });
  const names = projects.items.map((project) => project.name);
  // The service lists one place at a time.
  const query = useQuery({
    queryKey: ['bindings', org, names],
    queryFn: async () => {
      const places = [{ org }, ...names.map((project) => ({ org, project }))];
      const pages = await Promise.all(places.map((place) => get<Page<Binding>>(identity.bindings, { ...place, limit: 500 })));
      return pages.flatMap((page) => page.items);
    },
  });
  const may = useMay('identity.bindings-write', { org });
  const [open, setOpen] = useState(false);
  const refresh = [['bindings', org], ['members', org], ['matrix', org]];
  const grant = useAction((values: Values) => identity.grant({ subject: values.subject, role: values.role, org, ...(values.project === '' ? {} : { project: values.project }), condition: conditionOf(values) }), {
    done: t('org.granted'),
    refresh,
    onDone: () => setOpen(false),
  });
  const revoke = useAction(identity.revoke, { done: t('org.revoked'), refresh });
  return (
    <Card
      title={t('org.rights')}
      extra={
        may && (
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
            {t('org.grant')}
          </Button>
        )
      }
    >
      <DataTable<Binding>
        label={t('org.rights')}
        query={{ ...query, items: query.data ?? [] }}
        rowKey="id"
        empty={t('org.noRights')}
        columns={[
          { title: t('org.who'), render: (_, row) => row.name ?? row.subject },
          { title: t('org.role'), dataIndex: 'role_name', render: (role: string) => <Tag>{t(`role.${role}`, { defaultValue: role })}</Tag> },
          { title: t('org.where'), dataIndex: 'scope_name' },
          {
            title: t('access.condition'),
            dataIndex: 'condition',
            render: (condition: Condition | null) =>
              condition && Object.keys(condition).length > 0 ? (
                <Tooltip title={<pre className="mono">{JSON.stringify(condition, null, 2)}</pre>}>
                  <Tag color="gold" tabIndex={0}>
                    {t('access.conditional')}
                  </Tag>
                </Tooltip>
              ) : (
                t('parts.none')
              ),
          },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), render: (_, row) => may && <AskButton ask={t('org.confirmRevoke')} label={t('org.revoke')} onConfirm={() => revoke.mutate(row.id)} /> },
        ]}
      />
      <FormDialog<Values> open={open} title={t('org.grant')} ok={t('org.grant')} pending={grant.isPending} error={grant.error} initial={{ role: 'viewer', project: '' }} onClose={() => setOpen(false)} onSubmit={grant.mutate}>
        <Fields org={org} projects={names} />
      </FormDialog>
    </Card>
  );
}

function Fields({ org, projects }: { org: string; projects: string[] }) {
  const { t } = useTranslation();
  const teams = useList<Team>(['teams', org, 'all'], people.teams(org), { query: { limit: 500 } });
  const accounts = useList<ServiceAccount>(['accounts', org, 'all'], people.accounts(org), { query: { limit: 500 } });
  const roles = useList<RoleView>(['roles', org], people.roles, { query: { org } });
  const others = [
    ...teams.items.map(({ name }) => ({ value: `team:${name}`, label: `${t('access.team')} ${name}` })),
    ...accounts.items.map(({ name, subject }) => ({ value: subject, label: `${t('access.account')} ${name}` })),
  ];
  return (
    <>
      <Form.Item name="subject" label={t('org.who')} rules={[{ required: true, message: t('form.required') }]}>
        <UserSelect org={org} prefix="user:" placeholder={t('access.someone')} more={others} />
      </Form.Item>
      <ChoiceField name="role" label={t('org.role')} required options={roles.items.map((role) => ({ value: role.built_in ? role.name : `role:${role.id}`, label: role.built_in ? t(`role.${role.name}`) : role.name }))} />
      <Form.Item name="project" label={t('org.where')}>
        <Select options={[{ value: '', label: `${t('level.org')} ${org}` }, ...projects.map((name) => ({ value: name, label: `${t('level.project')} ${name}` }))]} />
      </Form.Item>
      <Collapse
        ghost
        items={[
          {
            key: 'condition',
            label: t('access.onlyIf'),
            children: (
              <>
                <TextsField name="networks" label={t('protection.networks')} help={t('protection.networksHelp')} />
                <ChoiceField name="factors" label={t('access.factors')} many options={['pwd', 'otp', 'hwk', 'mfa'].map((value) => ({ value, label: t(`amr.${value}`) }))} />
                <Form.Item name="until" label={t('access.until')}>
                  <DatePicker showTime className="full" />
                </Form.Item>
              </>
            ),
          },
        ]}
      />
    </>
  );
}
