// The organisations the user belongs to, and making one.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Form, Input, Modal } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router';

import { identity, type Org } from '../../api/identity';
import { DataTable, PageHeader, Time } from '../../parts/basics';
import { nameRules } from '../../parts/forms';
import { useAction, useList } from '../../parts/query';
import { to } from '../../place';

export default function Orgs() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const query = useList<Org>(['orgs'], identity.orgs);
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<{ name: string; display_name: string }>();
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
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string) => <Link to={to.org(name)}>{name}</Link>, sorter: (a, b) => a.name.localeCompare(b.name) },
          { title: t('common.displayName'), dataIndex: 'display_name' },
          { title: t('common.created'), dataIndex: 'created_at', render: (at?: string) => <Time at={at} /> },
        ]}
      />
      <Modal open={open} title={t('orgs.create')} okText={t('common.create')} cancelText={t('common.cancel')} confirmLoading={create.isPending} onCancel={() => setOpen(false)} onOk={() => form.submit()} destroyOnHidden>
        <Form form={form} layout="vertical" preserve={false} onFinish={(values) => create.mutate({ name: values.name, display_name: values.display_name || values.name })}>
          <Form.Item name="name" label={t('common.name')} rules={nameRules(t)} extra={t('form.nameHelp')}>
            <Input autoFocus maxLength={63} />
          </Form.Item>
          <Form.Item name="display_name" label={t('common.displayName')}>
            <Input maxLength={100} />
          </Form.Item>
        </Form>
      </Modal>
    </>
  );
}
