// Names of a space for what runs elsewhere: registered here, or written in an application's document.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Flex, Form, Input, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { portsOf, services } from '../../api/services';
import { DataTable, LinkButton } from '../../parts/basics';
import { AskButton, FormDialog } from '../../parts/dialogs';
import { NameField, TextField } from '../../parts/fields';
import { useAction } from '../../parts/query';
import { to } from '../../place';
import type { useSpaceApps } from '../nodes/useSpaceApps';
import type { NetOutside } from './reach';

const EXAMPLE = 'spec:\n  outside:\n    billing:\n      address: billing.example.org\n      ports: [443]';

interface Props {
  place: [string, string, string];
  query: ReturnType<typeof useSpaceApps>;
  shown: NetOutside[];
}

export function Outside({ place: [org, project, space], query, shown }: Props) {
  const { t } = useTranslation();
  const [edited, setEdited] = useState<NetOutside | 'new' | null>(null);
  const of = services.all(org, project, space);
  const remove = useAction((name: string) => services.deregister(of, name), { done: t('network.deregistered'), refresh: [['apps', org, project, space]] });
  const may = !query.hidden;
  const add = may && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setEdited('new')}>
      {t('network.register')}
    </Button>
  );
  return (
    <div className="stack">
      {add && <Flex>{add}</Flex>}
      <DataTable<NetOutside>
        label={t('network.outside')}
        query={{ ...query, items: shown }}
        rowKey="key"
        empty={t('network.noOutside')}
        columns={[
          { title: t('network.calledHere'), dataIndex: 'name' },
          { title: t('network.realAddress'), dataIndex: 'address', render: (address: string) => <span className="mono">{address || '–'}</span> },
          { title: t('editor.ports'), render: (_, one) => one.ports.join(', ') || '–' },
          { title: t('deploy.app'), render: (_, one) => (one.registered ? t('network.registered') : <Link to={to.app(org, project, space, one.app)}>{one.app}</Link>) },
          {
            title: t('common.actions'),
            render: (_, one) =>
              may && (
                <Flex gap="small" wrap>
                  {one.registered ? (
                    <>
                      <Button size="small" onClick={() => setEdited(one)}>
                        {t('network.change')}
                      </Button>
                      <AskButton danger ask={t('network.confirmDeregister', { name: one.name })} label={t('network.deregister')} onConfirm={() => remove.mutate(one.name)} />
                    </>
                  ) : (
                    <LinkButton small to={to.deploy(org, project, space, one.app)}>
                      {t('network.editIn', { name: one.app })}
                    </LinkButton>
                  )}
                </Flex>
              ),
          },
        ]}
      />
      <Typography.Paragraph type="secondary">{t('network.outsideHelp')}</Typography.Paragraph>
      <pre className="code mono">{EXAMPLE}</pre>
      {may && <Register of={edited} at={of} apps={['apps', org, project, space]} onClose={() => setEdited(null)} />}
    </div>
  );
}

interface Values {
  name?: string;
  address: string;
  ports?: string;
  reason?: string;
}

function Register({ of, at, apps, onClose }: { of: NetOutside | 'new' | null; at: string; apps: string[]; onClose: () => void }) {
  const { t } = useTranslation();
  const before = of === 'new' ? null : of;
  const save = useAction((form: Values) => services.register(at, before?.name ?? form.name!, { address: form.address.trim(), ports: portsOf(form.ports) ?? [], reason: form.reason?.trim() ?? '' }), { done: t('parts.saved'), refresh: [apps], onDone: onClose });
  return (
    <FormDialog<Values>
      open={of !== null}
      title={before ? t('network.changeOf', { name: before.name }) : t('network.register')}
      ok={t('common.save')}
      pending={save.isPending} error={save.error}
      initial={{ address: before?.address, ports: before?.ports.join(', ') }}
      onClose={onClose}
      onSubmit={save.mutate}
    >
      {!before && <NameField label={t('network.calledHere')} />}
      <TextField name="address" label={t('network.realAddress')} help={t('network.addressHelp')} required max={253} placeholder="billing.example.org" />
      <Form.Item name="ports" label={t('editor.ports')} extra={t('network.portsHelp')} rules={[{ validator: async (_, text?: string) => (portsOf(text) === null ? Promise.reject(new Error(t('network.badPorts'))) : undefined) }]}>
        <Input placeholder="443" />
      </Form.Item>
      <TextField name="reason" label={t('deploy.reason')} max={200} />
    </FormDialog>
  );
}
