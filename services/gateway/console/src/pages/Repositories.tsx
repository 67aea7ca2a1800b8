// Source repositories of a project: where to clone from, and starting a pipeline.

import { PlayCircleOutlined, PlusOutlined } from '@ant-design/icons';
import { Button, Flex, Form, Input, Modal, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate, useParams } from 'react-router';

import { cicd, type Repository } from '../api/cicd';
import { DataTable, PageHeader, Time } from '../parts/basics';
import { DeleteByName } from '../parts/dialogs';
import { NameDialog } from '../parts/forms';
import { useMay } from '../parts/may';
import { useAction, useLiveList } from '../parts/query';
import { to } from '../place';

export default function Repositories() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const key = ['repositories', org, project];
  const query = useLiveList<Repository>(key, cicd.repositories(org, project), { query: { limit: 500 } });
  const write = useMay('pipelines.write', { org, project });
  const admin = useMay('pipelines.admin', { org, project });
  const [creating, setCreating] = useState(false);
  const [running, setRunning] = useState<string | null>(null);
  const [form] = Form.useForm<{ ref: string }>();
  const create = useAction((name: string) => cicd.createRepository(org, project, name), { done: t('repositories.created'), refresh: [key], onDone: () => setCreating(false) });
  const remove = useAction((name: string) => cicd.removeRepository(org, project, name), { done: t('repositories.deleted'), refresh: [key] });
  const start = useAction((input: { repository: string; ref: string }) => cicd.start(org, project, input.repository, input.ref), {
    done: t('runs.started'),
    onDone: (run) => void navigate(to.run(org, project, run.id)),
  });
  const button = write && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setCreating(true)}>
      {t('repositories.create')}
    </Button>
  );
  return (
    <>
      <PageHeader title={t('menu.repositories')} sub={`${org}/${project}`} live={query.live} actions={button} />
      <DataTable<Repository>
        label={t('menu.repositories')}
        query={query}
        rowKey="name"
        empty={t('repositories.empty')}
        emptyAction={button}
        search={(row) => `${row.name} ${row.clone_url}`}
        inAddress
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          {
            title: t('repositories.clone'),
            dataIndex: 'clone_url',
            render: (url: string) => (
              <Typography.Text code copyable={{ text: `git clone ${url}`, tooltips: [t('common.copy'), t('common.copied')] }}>
                {url}
              </Typography.Text>
            ),
          },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          {
            title: t('common.actions'),
            render: (_, row) => (
              <Flex gap="small">
                {write && (
                  <Button size="small" icon={<PlayCircleOutlined />} onClick={() => setRunning(row.name)}>
                    {t('runs.start')}
                  </Button>
                )}
                {admin && (
                  <DeleteByName small name={row.name} title={t('repositories.confirmDelete', { name: row.name })} label={t('common.delete')} pending={remove.isPending} onDelete={(close) => remove.mutate(row.name, { onSuccess: close })} />
                )}
              </Flex>
            ),
          },
        ]}
        footer={() => <Typography.Text type="secondary">{t('repositories.help')}</Typography.Text>}
      />
      <NameDialog open={creating} title={t('repositories.create')} pending={create.isPending} error={create.error} onCancel={() => setCreating(false)} onName={(name) => create.mutate(name)} />
      <Modal open={running !== null} title={t('runs.startOf', { name: running ?? '' })} okText={t('runs.start')} cancelText={t('common.cancel')} confirmLoading={start.isPending} onCancel={() => setRunning(null)} onOk={() => form.submit()} destroyOnHidden>
        <Form form={form} layout="vertical" preserve={false} initialValues={{ ref: 'main' }} onFinish={({ ref }) => running && start.mutate({ repository: running, ref })}>
          <Form.Item name="ref" label={t('runs.ref')} rules={[{ required: true, message: t('form.required') }]} extra={t('runs.refHelp')}>
            <Input autoFocus />
          </Form.Item>
        </Form>
      </Modal>
    </>
  );
}
