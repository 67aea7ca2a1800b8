// The users of the platform: found, created, suspended, made to choose a new password.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Flex, Form, Input, Modal, Popconfirm, Select } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { people, type Account } from '../api/people';
import { DataTable, PageHeader, State, Time } from '../parts/basics';
import { useAction, useLiveList } from '../parts/query';

export default function People() {
  const { t } = useTranslation();
  const [q, setQ] = useState('');
  const [state, setState] = useState<string>();
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<{ username: string; email: string; display_name?: string }>();
  const query = useLiveList<Account>(['users'], people.users, { query: { q, state, limit: 100 } });
  const refresh = [['users']];
  const create = useAction(people.createUser, { done: t('people.created'), refresh, onDone: () => setOpen(false) });
  const suspend = useAction((id: string) => people.suspend(id, ''), { done: t('people.suspended'), refresh });
  const resume = useAction(people.resume, { done: t('people.resumed'), refresh });
  const reset = useAction(people.requireReset, { done: t('people.resetDone'), refresh });
  return (
    <>
      <PageHeader
        title={t('people.title')}
        sub={t('people.sub')}
        live={query.live}
        actions={
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
            {t('people.create')}
          </Button>
        }
      />
      <Card>
        <Flex gap="small" wrap style={{ marginBottom: 16 }}>
          <Input.Search allowClear aria-label={t('people.search')} placeholder={t('people.search')} style={{ width: 320 }} onSearch={(text) => setQ(text.trim())} />
          <Select
            allowClear
            aria-label={t('common.state')}
            placeholder={t('common.state')}
            style={{ width: 160 }}
            value={state}
            onChange={setState}
            options={['active', 'suspended'].map((value) => ({ value, label: t(`state.${value}`) }))}
          />
        </Flex>
        <DataTable<Account>
          label={t('people.title')}
          query={query}
          rowKey="id"
          empty={t('people.none')}
          columns={[
            { title: t('org.username'), dataIndex: 'username' },
            { title: t('people.name'), dataIndex: 'display_name' },
            { title: t('people.email'), dataIndex: 'email' },
            { title: t('common.state'), dataIndex: 'state', render: (value: string) => <State value={value} /> },
            { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
            {
              key: 'do',
              render: (_, user) => (
                <Flex gap="small">
                  {user.state === 'active' ? (
                    <Popconfirm title={t('people.confirmSuspend', { name: user.username })} okText={t('people.suspend')} cancelText={t('common.cancel')} onConfirm={() => suspend.mutate(user.id)}>
                      <Button size="small" danger>
                        {t('people.suspend')}
                      </Button>
                    </Popconfirm>
                  ) : (
                    <Button size="small" onClick={() => resume.mutate(user.id)}>
                      {t('people.resume')}
                    </Button>
                  )}
                  <Popconfirm title={t('people.confirmReset', { name: user.username })} okText={t('people.reset')} cancelText={t('common.cancel')} onConfirm={() => reset.mutate(user.id)}>
                    <Button size="small">{t('people.reset')}</Button>
                  </Popconfirm>
                </Flex>
              ),
            },
          ]}
        />
      </Card>
      <Modal open={open} title={t('people.create')} okText={t('common.create')} cancelText={t('common.cancel')} confirmLoading={create.isPending} onCancel={() => setOpen(false)} onOk={() => form.submit()} destroyOnHidden>
        <Form form={form} layout="vertical" preserve={false} onFinish={(values) => create.mutate(values)}>
          <Form.Item name="username" label={t('org.username')} rules={[{ required: true, message: t('form.required') }]}>
            <Input autoFocus maxLength={64} />
          </Form.Item>
          <Form.Item name="email" label={t('people.email')} rules={[{ required: true, type: 'email', message: t('form.required') }]}>
            <Input maxLength={254} />
          </Form.Item>
          <Form.Item name="display_name" label={t('people.name')}>
            <Input maxLength={100} />
          </Form.Item>
        </Form>
      </Modal>
    </>
  );
}
