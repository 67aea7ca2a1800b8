// The organisations the user belongs to, and making one.

import { PlusOutlined } from '@ant-design/icons';
import { Button } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router';

import { identity, type Org } from '../../api/identity';
import { DataTable, PageHeader, Time } from '../../parts/basics';
import { FormDialog } from '../../parts/dialogs';
import { NameField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';
import { to } from '../../place';

export default function Orgs() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const query = useList<Org>(['orgs'], identity.orgs);
  const [open, setOpen] = useState(false);
  const create = useAction(identity.createOrg, {
    done: t('orgs.created'),
    refresh: [['orgs'], ['places']],
    onDone: (_, input) => {
      setOpen(false);
      void navigate(to.org(input.name));
    },
  });
  const button = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
      {t('orgs.create')}
    </Button>
  );
  return (
    <>
      <PageHeader title={t('menu.orgs')} sub={t('orgs.sub')} actions={button} />
      <DataTable<Org>
        label={t('menu.orgs')}
        query={query}
        rowKey="name"
        empty={t('orgs.empty')}
        emptyAction={button}
        search={(org) => `${org.name} ${org.display_name}`}
        inAddress
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string) => <Link to={to.org(name)}>{name}</Link>, sorter: (a, b) => a.name.localeCompare(b.name) },
          { title: t('common.displayName'), dataIndex: 'display_name' },
          { title: t('common.created'), dataIndex: 'created_at', render: (at?: string) => <Time at={at} /> },
        ]}
      />
      <FormDialog<{ name: string; display_name?: string }>
        open={open}
        title={t('orgs.create')}
        pending={create.isPending}
        error={create.error}
        onClose={() => setOpen(false)}
        onSubmit={(values) => create.mutate({ name: values.name, display_name: values.display_name || values.name })}
      >
        <NameField />
        <TextField name="display_name" label={t('common.displayName')} max={100} />
      </FormDialog>
    </>
  );
}
