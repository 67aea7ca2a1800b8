// Roles: the built-in ones, and those an organisation makes from the published permissions.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Checkbox, Flex, Form, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { people, type Permission, type RoleView } from '../../api/people';
import { DataTable } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { NameField, TextField } from '../../parts/fields';
import { useMay } from '../../parts/may';
import { useAction, useList } from '../../parts/query';

interface Values {
  name: string;
  description?: string;
  permissions: string[];
}

export default function Roles({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = useList<RoleView>(['roles', org], people.roles, { query: { org } });
  const may = useMay('identity.roles-write', { org });
  const [open, setOpen] = useState(false);
  const [edited, setEdited] = useState<RoleView | null>(null);
  const refresh = [['roles', org], ['matrix', org]];
  const close = () => (setOpen(false), setEdited(null));
  const create = useAction((body: Values) => people.createRole({ ...body, org }), { done: t('access.roleCreated'), refresh, onDone: close });
  const change = useAction((body: Values) => people.changeRole(edited!.id, { description: body.description ?? '', permissions: body.permissions }), { done: t('parts.saved'), refresh, onDone: close });
  const drop = useAction(people.deleteRole, { done: t('access.roleDeleted'), refresh });
  return (
    <Card
      title={t('access.roles')}
      extra={
        may && (
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
            {t('access.createRole')}
          </Button>
        )
      }
    >
      <DataTable<RoleView>
        label={t('access.roles')}
        query={query}
        rowKey="id"
        empty={t('access.noRoles')}
        expandable={{
          expandedRowRender: (role) => (
            <Flex gap={4} wrap>
              {role.permissions.map((name) => (
                <Tag key={name}>{name}</Tag>
              ))}
            </Flex>
          ),
        }}
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string, role) => (role.built_in ? t(`role.${name}`) : name) },
          { title: t('access.description'), dataIndex: 'description' },
          { title: t('access.permissions'), render: (_, role) => role.permissions.length },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, role) =>
              may && !role.built_in && (
                <Flex gap="small">
                  <Button size="small" onClick={() => setEdited(role)}>
                    {t('parts.edit')}
                  </Button>
                  <DeleteButton name={role.name} onConfirm={() => drop.mutate(role.id)} />
                </Flex>
              ),
          },
        ]}
      />
      <FormDialog<Values> open={open} wide title={t('access.createRole')} pending={create.isPending} error={create.error} onClose={close} onSubmit={create.mutate}>
        <NameField />
        <RoleFields />
      </FormDialog>
      <FormDialog<Values> open={edited !== null} wide title={edited?.name ?? ''} ok={t('common.save')} pending={change.isPending} error={change.error} initial={edited ?? undefined} onClose={close} onSubmit={change.mutate}>
        <RoleFields />
      </FormDialog>
    </Card>
  );
}

function RoleFields() {
  const { t } = useTranslation();
  return (
    <>
      <TextField name="description" label={t('access.description')} max={500} />
      <Form.Item name="permissions" label={t('access.permissions')} rules={[{ required: true, type: 'array', min: 1, message: t('form.required') }]}>
        <PermissionPicker />
      </Form.Item>
    </>
  );
}

/** Every published permission, area by area. */
function PermissionPicker({ value: given, onChange }: { value?: string[]; onChange?: (value: string[]) => void }) {
  const value = given ?? [];
  const published = useList<Permission>(['permissions'], people.permissions);
  const areas = [...new Set(published.items.map((permission) => permission.area))];
  return (
    <div className="picker">
      {areas.map((area) => {
        const of = published.items.filter((permission) => permission.area === area);
        const chosen = of.filter((permission) => value.includes(permission.name)).map((permission) => permission.name);
        const others = value.filter((name) => !of.some((permission) => permission.name === name));
        return (
          <fieldset key={area}>
            <legend>
              <Checkbox indeterminate={chosen.length > 0 && chosen.length < of.length} checked={chosen.length === of.length} onChange={(event) => onChange?.(event.target.checked ? [...others, ...of.map((permission) => permission.name)] : others)}>
                <Typography.Text strong>{area}</Typography.Text>
              </Checkbox>
            </legend>
            <Checkbox.Group value={chosen} onChange={(list) => onChange?.([...others, ...list])} options={of.map(({ name, description }) => ({ value: name, label: name, title: description }))} />
          </fieldset>
        );
      })}
    </div>
  );
}
