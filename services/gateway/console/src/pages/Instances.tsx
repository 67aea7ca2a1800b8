// Service instances of a space, and the bindings that applications use them by.

import { LinkOutlined } from '@ant-design/icons';
import { Alert, Button, Flex, Modal, Popconfirm, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { catalog, type ServiceInstance } from '../api/catalog';
import { kept } from '../api/kept';
import { DataTable, LinkButton, PageHeader, State, Time } from '../parts/basics';
import { DeleteByName } from '../parts/dialogs';
import { NameDialog } from '../parts/forms';
import { useMay } from '../parts/may';
import { useAction, useLiveList } from '../parts/query';
import { entriesOf } from './offered';

export default function Instances() {
  const { t } = useTranslation();
  const params = useParams();
  const url = catalog.instances(params.org!, params.project!, params.space!);
  const key = ['instances', url];
  const query = useLiveList<ServiceInstance>(key, url);
  const write = useMay('services.write', { org: params.org, project: params.project, space: params.space });
  const [binding, setBinding] = useState<string | null>(null);
  const [secret, setSecret] = useState<{ name: string; credentials: Record<string, unknown> } | null>(null);
  const keeps = useMay('apps.configs-write', { org: params.org, project: params.project, space: params.space });
  const keep = useAction(
    (one: { name: string; credentials: Record<string, unknown> }) =>
      kept.set(kept.of(params.org!, params.project!, params.space!), one.name, { secret: true, entries: entriesOf(one.credentials), merge: false, remove: [], immutable: false, reason: t('services.keptBecause', { name: one.name }) }, null),
    { done: t('services.kept'), onDone: () => setSecret(null) },
  );
  const remove = useAction((name: string) => catalog.remove(url, name), { done: t('services.deleting'), refresh: [key] });
  const unbind = useAction((input: { instance: string; name: string }) => catalog.unbind(url, input.instance, input.name), { done: t('services.unbound'), refresh: [key] });
  const bind = useAction((name: string) => catalog.bind(url, binding!, name), {
    refresh: [key],
    onDone: (made, name) => {
      setSecret({ name: `${binding}-${name}`.slice(0, 63), credentials: made.credentials ?? made });
      setBinding(null);
    },
  });
  const offer = write && (
    <LinkButton primary to="/catalog">
      {t('services.create')}
    </LinkButton>
  );
  return (
    <>
      <PageHeader title={t('menu.services')} sub={`${params.org}/${params.project}/${params.space}`} live={query.live} actions={offer} />
      <DataTable<ServiceInstance>
        label={t('menu.services')}
        query={query}
        rowKey="name"
        empty={t('services.empty')}
        emptyAction={offer}
        search={(one) => `${one.name} ${one.offering} ${one.plan} ${one.state}`}
        inAddress
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('services.offering'), render: (_, one) => `${one.offering} / ${one.plan}` },
          {
            title: t('common.state'),
            render: (_, one) => (
              <Flex vertical>
                <span>
                  <State value={one.state} />
                </span>
                {one.reason && <Typography.Text type="secondary">{one.reason}</Typography.Text>}
              </Flex>
            ),
          },
          {
            title: t('services.bindings'),
            render: (_, one) => (
              <Flex gap={4} wrap>
                {(one.bindings ?? []).map((each) => !write ? <Tag key={each.name}>{each.name}</Tag> : (
                  <Popconfirm key={each.name} title={t('services.confirmUnbind', { name: each.name })} okText={t('services.unbind')} cancelText={t('common.cancel')} onConfirm={() => unbind.mutate({ instance: one.name, name: each.name })}>
                    <Button size="small" aria-label={t('services.unbindOf', { name: each.name })}>
                      {each.name}
                    </Button>
                  </Popconfirm>
                ))}
                {(one.bindings ?? []).length === 0 && <Tag>{t('services.none')}</Tag>}
              </Flex>
            ),
          },
          { title: t('common.created'), dataIndex: 'created_at', render: (at?: string) => <Time at={at} /> },
          {
            title: t('common.actions'),
            render: (_, one) => write && (
              <Flex gap="small">
                <Button size="small" icon={<LinkOutlined />} onClick={() => setBinding(one.name)}>
                  {t('services.bind')}
                </Button>
                <DeleteByName small name={one.name} title={t('services.confirmDelete', { name: one.name })} label={t('common.delete')} pending={remove.isPending} onDelete={(close) => remove.mutate(one.name, { onSuccess: close })}>
                  {(one.bindings ?? []).length > 0 && <Alert type="warning" showIcon title={t('services.stillBound', { names: one.bindings!.map((each) => each.name).join(', ') })} />}
                </DeleteByName>
              </Flex>
            ),
          },
        ]}
      />
      <NameDialog open={binding !== null} title={t('services.bindOf', { name: binding ?? '' })} pending={bind.isPending} error={bind.error} onCancel={() => setBinding(null)} onName={(name) => bind.mutate(name)} />
      <Modal open={secret !== null} title={t('services.credentials')} onCancel={() => setSecret(null)} onOk={() => setSecret(null)} okText={t('common.close')} cancelButtonProps={{ style: { display: 'none' } }} destroyOnHidden>
        <div className="stack">
          <Alert type="warning" showIcon title={t('services.once')} />
          <Typography.Paragraph className="code mono" copyable={{ text: JSON.stringify(secret?.credentials, null, 2), tooltips: [t('common.copy'), t('common.copied')] }}>
            {JSON.stringify(secret?.credentials, null, 2)}
          </Typography.Paragraph>
          {keeps && secret && (
            <>
              <Typography.Text type="secondary">{t('services.keepHelp', { name: secret.name })}</Typography.Text>
              <div>
                <Button type="primary" loading={keep.isPending} onClick={() => keep.mutate(secret)}>
                  {t('services.keep')}
                </Button>
              </div>
            </>
          )}
        </div>
      </Modal>
    </>
  );
}
