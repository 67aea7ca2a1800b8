// Who may do one thing in one place, and why; and whether one person may.

import { Alert, Button, Card, Flex, Form, Select } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import type { Query } from '../../api/http';
import { identity, type Project, type SpaceOf } from '../../api/identity';
import { people, type Because, type Holder, type Permission, type Verdict } from '../../api/people';
import { EmptyState } from '../../parts/basics';
import { UserSelect } from '../../parts/fields';
import { PagedTable, usePaged } from '../../parts/paged';
import { useAction, useList } from '../../parts/query';

interface Values {
  permission: string;
  project?: string;
  space?: string;
  subject?: string;
}

const choices = (items: { name: string }[]) => items.map(({ name }) => ({ value: name, label: name }));

export default function WhoCan({ org }: { org: string }) {
  const { t } = useTranslation();
  const [form] = Form.useForm<Values>();
  const project = Form.useWatch('project', form);
  const published = useList<Permission>(['permissions'], people.permissions);
  const projects = useList<Project>(['projects', org], identity.projects(org), { query: { limit: 500 } });
  const spaces = useList<SpaceOf>(['spaces', org, project], identity.spaces(org, project ?? '-'), { enabled: Boolean(project) });
  const [asked, setAsked] = useState<Query | null>(null);
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const check = useAction(people.check, { onDone: setVerdict });
  const submit = ({ subject, ...rest }: Values) => {
    setVerdict(null);
    setAsked(subject ? null : { ...rest, org });
    if (subject) check.mutate({ ...rest, subject, org });
  };
  return (
    <Card title={t('access.whoCan')}>
      <Form<Values> form={form} layout="inline" className="toolbar" onFinish={submit}>
        <Flex gap="small" wrap align="flex-start">
          <Form.Item name="permission" rules={[{ required: true, message: t('form.required') }]}>
            <Select aria-label={t('access.permission')} placeholder={t('access.permission')} showSearch style={{ width: 260 }} options={published.items.map(({ name, description }) => ({ value: name, label: name, title: description }))} />
          </Form.Item>
          <Form.Item name="project">
            <Select allowClear aria-label={t('level.project')} placeholder={t('level.project')} style={{ width: 160 }} options={choices(projects.items)} onChange={() => form.setFieldValue('space', undefined)} />
          </Form.Item>
          <Form.Item name="space">
            <Select allowClear disabled={!project} aria-label={t('level.space')} placeholder={t('level.space')} style={{ width: 140 }} options={choices(spaces.items)} />
          </Form.Item>
          <Form.Item name="subject">
            <UserSelect org={org} prefix="user:" label={t('access.everybody')} />
          </Form.Item>
          <Button type="primary" htmlType="submit" loading={check.isPending}>
            {t('access.ask')}
          </Button>
        </Flex>
      </Form>
      {verdict && (
        <Alert
          showIcon
          type={verdict.allowed ? 'success' : 'warning'}
          title={t(verdict.allowed ? 'access.may' : 'access.mayNot')}
          description={
            <>
              <p>{verdict.explanation}</p>
              <Reasons reasons={verdict.reasons} />
            </>
          }
        />
      )}
      {asked && <Holders asked={asked} />}
      {!asked && !verdict && <EmptyState text={t('access.askHelp')} />}
    </Card>
  );
}

function Holders({ asked }: { asked: Query }) {
  const { t } = useTranslation();
  const query = usePaged<Holder>(['who-can'], people.whoCan, { query: asked });
  return (
    <PagedTable<Holder>
      label={t('access.whoCan')}
      query={query}
      rowKey="subject"
      empty={t('access.nobodyMay')}
      columns={[
        { title: t('org.who'), dataIndex: 'name' },
        { title: t('access.because'), dataIndex: 'reasons', render: (reasons: Because[]) => <Reasons reasons={reasons} /> },
      ]}
    />
  );
}

function Reasons({ reasons }: { reasons: Because[] }) {
  const { t } = useTranslation();
  return (
    <ul className="plain">
      {reasons.map((one) => (
        <li key={JSON.stringify(one)}>
          {t('access.reason', { role: t(`role.${one.role}`, { defaultValue: one.role }), scope: one.scope })}
          {one.teams.length > 0 && ` ${t('access.byTeam', { teams: one.teams.join(' › ') })}`}
          {one.condition && ` ${t('access.ifSo', { condition: one.condition })}`}
        </li>
      ))}
    </ul>
  );
}
