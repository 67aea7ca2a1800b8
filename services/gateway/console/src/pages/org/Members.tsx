// Who belongs to an organisation.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Form, Select, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { identity, type Member, type Role } from '../../api/identity';
import { Time } from '../../parts/basics';
import { AskButton, FormDialog } from '../../parts/dialogs';
import { UserSelect } from '../../parts/fields';
import { PagedTable, usePaged } from '../../parts/paged';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';
import { to } from '../../place';

const ROLES = ['viewer', 'editor', 'admin'] as const;

export default function Members({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = usePaged<Member>(['members', org], identity.members(org));
  const admin = useMay('identity.admin', { org });
  const [open, setOpen] = useState(false);
  const refresh = [['members', org], ['bindings', org], ['matrix', org]];
  const put = useAction((input: { user: string; role: Role }) => identity.putMember(org, input.user, input.role), { done: t('org.memberAdded'), refresh, onDone: () => setOpen(false) });
  const remove = useAction((user: string) => identity.removeMember(org, user), { done: t('org.memberRemoved'), refresh });
  const roles = ROLES.map((value) => ({ value, label: t(`role.${value}`) }));
  return (
    <Card
      title={t('org.members')}
      extra={
        admin && (
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
            {t('org.addMember')}
          </Button>
        )
      }
    >
      <PagedTable<Member>
        label={t('org.members')}
        query={query}
        rowKey="user"
        empty={t('org.noMembers')}
        columns={[
          { title: t('org.username'), dataIndex: 'username', render: (name: string, one) => <Link to={to.user(one.user)}>{name}</Link> },
          { title: t('common.displayName'), dataIndex: 'display_name' },
          { title: t('org.role'), dataIndex: 'role', render: (role: Role | null) => (role ? <Tag>{t(`role.${role}`)}</Tag> : '–') },
          { title: t('org.since'), dataIndex: 'added_at', render: (at: string) => <Time at={at} /> },
          ...(admin
            ? [
                {
                  title: t('common.actions'),
                  render: (_: unknown, row: Member) => (
                    <>
                      <Select size="small" aria-label={t('access.roleOf', { name: row.username })} value={row.role} style={{ width: 120, marginRight: 8 }} options={roles} onChange={(role: Role) => put.mutate({ user: row.user, role })} />
                      <AskButton ask={t('org.confirmRemove', { name: row.username })} label={t('common.remove')} onConfirm={() => remove.mutate(row.user)} />
                    </>
                  ),
                },
              ]
            : []),
        ]}
      />
      <FormDialog<{ user: string; role: Role }> open={open} title={t('access.addToOrg')} ok={t('org.addMember')} pending={put.isPending} error={put.error} initial={{ role: 'viewer' }} onClose={() => setOpen(false)} onSubmit={put.mutate}>
        <Form.Item name="user" label={t('org.username')} rules={[{ required: true, message: t('form.required') }]} extra={t('access.notYet')}>
          <UserSelect placeholder={t('people.search')} />
        </Form.Item>
        <Form.Item name="role" label={t('org.role')}>
          <Select options={roles} />
        </Form.Item>
      </FormDialog>
    </Card>
  );
}
