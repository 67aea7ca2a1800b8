// People asked by e-mail to join; the link works once, also where registration is closed.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Form, Input, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { people, type Invitation } from '../../api/people';
import { DataTable, Time } from '../../parts/basics';
import { AskButton, FormDialog, SecretOnce } from '../../parts/dialogs';
import { ChoiceField, NumberField } from '../../parts/fields';
import { useNames } from '../../parts/names';
import { useAction, useList } from '../../parts/query';

interface Values {
  email: string;
  role?: string;
  expires_in_days?: number;
}

export default function Invitations({ org }: { org: string }) {
  const { t } = useTranslation();
  const key = ['invitations', org];
  const query = useList<Invitation>(key, people.invitations(org));
  const names = useNames(query.items.map((one) => one.invited_by));
  const [open, setOpen] = useState(false);
  const [link, setLink] = useState<string | null>();
  const invite = useAction((body: Values) => people.invite(org, body), {
    done: t('access.invited'),
    refresh: [key],
    onDone: (made) => {
      setOpen(false);
      setLink(made.link);
    },
  });
  const drop = useAction((id: string) => people.uninvite(org, id), { done: t('access.uninvited'), refresh: [key] });
  const button = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
      {t('access.invite')}
    </Button>
  );
  return (
    <Card title={t('access.invitations')} extra={button}>
      <DataTable<Invitation>
        label={t('access.invitations')}
        query={query}
        rowKey="id"
        empty={t('access.noInvitations')}
        columns={[
          { title: t('people.email'), dataIndex: 'email' },
          { title: t('org.role'), dataIndex: 'role', render: (role: string) => <Tag>{t(`role.${role}`, { defaultValue: role })}</Tag> },
          { title: t('access.invitedBy'), dataIndex: 'invited_by', render: (by: string) => names(by) },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, one) => <AskButton danger ask={t('access.confirmUninvite', { name: one.email })} label={t('access.withdraw')} onConfirm={() => drop.mutate(one.id)} /> },
        ]}
      />
      <FormDialog<Values> open={open} title={t('access.invite')} ok={t('access.invite')} pending={invite.isPending} error={invite.error} initial={{ role: 'viewer', expires_in_days: 7 }} onClose={() => setOpen(false)} onSubmit={invite.mutate}>
        <Form.Item name="email" label={t('people.email')} rules={[{ required: true, type: 'email', message: t('people.emailNeeded') }]}>
          <Input maxLength={254} autoFocus />
        </Form.Item>
        <ChoiceField name="role" label={t('org.role')} required options={['viewer', 'editor', 'admin'].map((value) => ({ value, label: t(`role.${value}`) }))} />
        <NumberField name="expires_in_days" label={t('parts.days')} required min={1} max={30} />
      </FormDialog>
      <SecretOnce secret={link} title={t('access.link')} onClose={() => setLink(null)} />
    </Card>
  );
}
