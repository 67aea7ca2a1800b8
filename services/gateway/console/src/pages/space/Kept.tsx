// Configs and secrets of a space: versions, who uses them, new contents, and contents in clear for those who may.

import { App, Alert, Button, Flex, Form, Input, Modal, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { kept, type Kept as One, type KeptVersion, type Revealed } from '../../api/kept';
import { DataTable, PageHeader, Time } from '../../parts/basics';
import { AskButton, DeleteButton, FormDialog } from '../../parts/dialogs';
import { CheckField, NumberField, TextField } from '../../parts/fields';
import { bytes } from '../../parts/format';
import { useMay } from '../../parts/may';
import { useAction, useList } from '../../parts/query';
import { to } from '../../place';

interface ContentForm {
  name: string;
  secret?: boolean;
  immutable?: boolean;
  entries?: { key: string; value?: string }[];
  remove?: string;
  reason?: string;
}

/** What is being written: a new one, or the next version of one, with the ETag that it had when the dialog was opened. */
interface Writing {
  one: One | null;
  etag: string | null;
}

export default function Kept() {
  const { t } = useTranslation();
  const { message } = App.useApp();
  const params = useParams();
  const [org, project, space] = [params.org!, params.project!, params.space!];
  const base = kept.of(org, project, space);
  const key = ['configs', base];
  const query = useList<One>(key, base, { interval: 15_000 });
  const may = useMay('apps.configs-write', { org, project, space });
  const reads = useMay('apps.secrets-reveal', { org, project, space });
  const [writing, setWriting] = useState<Writing | null>(null);
  const [asking, setAsking] = useState<One | null>(null);
  const [shown, setShown] = useState<Revealed | null>(null);
  const refresh = [key, ['config-versions']];
  const write = useAction((form: ContentForm) => save(base, writing!, form), { done: t('parts.saved'), refresh, onDone: () => setWriting(null) });
  const begin = useAction((one: One) => kept.tag(base, one), { onDone: (etag, one) => setWriting({ one, etag }) });
  const drop = useAction((one: One) => kept.remove(base, one), { done: t('parts.deleted'), refresh });
  const rollout = useAction((one: One) => kept.rollOut(base, one), {
    refresh,
    onDone: ({ items }) => {
      const failed = items.filter((item) => item.problem);
      for (const item of failed) void message.error(`${item.app}: ${item.problem}`, 10);
      if (failed.length === 0) void message.success(t('kept.rolledOut', { apps: items.map((item) => item.app).join(', ') }));
    },
  });
  const reveal = useAction((form: { version: number; reason?: string }) => kept.reveal(base, asking!, form.version, form.reason ?? ''), {
    onDone: (content) => {
      setAsking(null);
      setShown(content);
    },
  });
  return (
    <>
      <PageHeader
        title={t('kept.title')}
        sub={<Link to={to.apps(org, project, space)}>{`${org}/${project}/${space}`}</Link>}
        actions={
          may && (
            <Button type="primary" onClick={() => setWriting({ one: null, etag: '"0"' })}>
              {t('kept.new')}
            </Button>
          )
        }
      />
      <DataTable<One>
        label={t('kept.title')}
        query={query}
        rowKey={(one) => `${one.name}${one.secret ? '.secret' : ''}`}
        empty={t('kept.none')}
        expandable={{ expandedRowRender: (one) => <Versions base={base} one={one} refresh={key} /> }}
        columns={[
          { title: t('common.name'), render: (_, one) => <span className="mono">{one.name}</span> },
          {
            title: t('kept.kind'),
            render: (_, one) => (
              <Flex gap={4} wrap>
                <Tag color={one.secret ? 'purple' : 'default'}>{t(one.secret ? 'kept.secret' : 'kept.config')}</Tag>
                {one.immutable && <Tag>{t('kept.immutable')}</Tag>}
              </Flex>
            ),
          },
          { title: t('kept.version'), dataIndex: 'version' },
          { title: t('kept.keys'), render: (_, one) => <span className="mono">{one.keys.join(', ')}</span> },
          {
            title: t('kept.usedBy'),
            render: (_, one) => (
              <Flex gap={4} wrap>
                {one.used_by.map((use) => (
                  <Link key={use.app} to={to.app(org, project, space, use.app)}>
                    <Tag color={use.restart_needed ? 'orange' : 'green'}>{use.restart_needed ? t('kept.outdated', { app: use.app, version: use.version }) : use.app}</Tag>
                  </Link>
                ))}
              </Flex>
            ),
          },
          { title: t('kept.changed'), render: (_, one) => <Time at={one.changed_at} /> },
          {
            title: t('common.actions'),
            render: (_, one) => (
              <Flex gap={4} wrap>
                {may && (
                  <Button size="small" disabled={one.immutable} loading={begin.isPending} onClick={() => begin.mutate(one)}>
                    {t('kept.next')}
                  </Button>
                )}
                {(one.secret ? reads : may) && (
                  <Button size="small" onClick={() => setAsking(one)}>
                    {t('kept.show')}
                  </Button>
                )}
                {may && one.used_by.some((use) => use.restart_needed) && (
                  <AskButton
                    ask={t('kept.confirmRollout', { apps: one.used_by.filter((use) => use.restart_needed).map((use) => use.app).join(', ') })}
                    label={t('kept.rollout')}
                    loading={rollout.isPending}
                    onConfirm={() => rollout.mutate(one)}
                  />
                )}
                {may && <DeleteButton name={one.name} ask={t('kept.confirmDelete', { name: one.name })} disabled={one.used_by.length > 0} onConfirm={() => drop.mutate(one)} />}
              </Flex>
            ),
          },
        ]}
      />
      <FormDialog<ContentForm>
        open={writing !== null}
        wide
        title={writing?.one ? t('kept.nextOf', { name: writing.one.name }) : t('kept.new')}
        ok={t('common.save')}
        pending={write.isPending} error={write.error}
        initial={{ name: writing?.one?.name, secret: writing?.one?.secret ?? true, entries: [{ key: writing?.one?.keys[0] ?? 'content' }] }}
        onClose={() => setWriting(null)}
        onSubmit={write.mutate}
      >
        <ContentFields one={writing?.one ?? null} />
      </FormDialog>
      <FormDialog<{ version: number; reason?: string }>
        open={asking !== null}
        title={t('kept.showOf', { name: asking?.name })}
        ok={t('kept.show')}
        pending={reveal.isPending} error={reveal.error}
        initial={{ version: asking?.version }}
        onClose={() => setAsking(null)}
        onSubmit={reveal.mutate}
      >
        <Alert type="warning" showIcon title={t('kept.recorded')} />
        <NumberField name="version" label={t('kept.version')} required min={1} max={asking?.version} />
        <TextField name="reason" label={t('kept.reason')} required={asking?.secret} focus />
      </FormDialog>
      <Clear content={shown} onClose={() => setShown(null)} />
    </>
  );
}

function ContentFields({ one }: { one: One | null }) {
  const { t } = useTranslation();
  return (
    <>
      {one === null ? (
        <>
          <TextField name="name" label={t('common.name')} help={t('kept.nameHelp')} required focus max={200} />
          <CheckField name="secret" label={t('kept.isSecret')} />
          <CheckField name="immutable" label={t('kept.isImmutable')} />
        </>
      ) : (
        <Alert type="info" showIcon title={t('kept.merges')} />
      )}
      <Form.List name="entries">
        {(fields, { add, remove }) => (
          <div className="stack">
            {fields.map((field, n) => (
              <div key={field.key}>
                <Form.Item name={[field.name, 'key']} label={t('kept.key')} rules={[{ required: true, message: t('kept.keyNeeded') }]}>
                  <Input maxLength={253} autoComplete="off" />
                </Form.Item>
                <Form.Item name={[field.name, 'value']} label={t('kept.content')}>
                  <Input.TextArea rows={3} autoComplete="off" spellCheck={false} className="mono" />
                </Form.Item>
                <Button size="small" onClick={() => remove(field.name)} aria-label={t('kept.dropEntry', { number: n + 1 })}>
                  {t('kept.drop')}
                </Button>
              </div>
            ))}
            <Button onClick={() => add({ key: '' })}>{t('kept.add')}</Button>
          </div>
        )}
      </Form.List>
      {one !== null && <TextField name="remove" label={t('kept.remove')} help={t('kept.removeHelp', { keys: one.keys.join(', ') })} />}
      <TextField name="reason" label={t('kept.reason')} />
    </>
  );
}

function save(base: string, { one, etag }: Writing, form: ContentForm) {
  const entries = Object.fromEntries((form.entries ?? []).map((entry) => [entry.key, entry.value ?? '']));
  const content = {
    secret: one?.secret ?? form.secret ?? false,
    entries,
    merge: one !== null,
    remove: (form.remove ?? '').split(/[\s,]+/).filter(Boolean),
    immutable: form.immutable ?? false,
    reason: form.reason ?? '',
  };
  return kept.set(base, one?.name ?? form.name, content, etag);
}

function Versions({ base, one, refresh }: { base: string; one: One; refresh: string[] }) {
  const { t } = useTranslation();
  const query = useList<KeptVersion>(['config-versions', base, one.name, String(one.secret), String(one.version)], kept.versions(base, one));
  const back = useAction((version: number) => kept.rollBack(base, one, version), { done: t('kept.cameBack'), refresh: [refresh, ['config-versions']] });
  return (
    <DataTable<KeptVersion>
      size="small"
      label={t('kept.versionsOf', { name: one.name })}
      query={query}
      rowKey="version"
      empty={t('parts.none')}
      columns={[
        { title: t('kept.version'), dataIndex: 'version' },
        { title: t('kept.fingerprint'), render: (_, item) => <span className="mono">{item.fingerprint}</span> },
        { title: t('kept.keys'), render: (_, item) => <span className="mono">{item.keys.join(', ')}</span> },
        { title: t('images.size'), render: (_, item) => bytes(item.bytes) },
        { title: t('kept.reason'), dataIndex: 'reason' },
        { title: t('kept.changed'), render: (_, item) => <Time at={item.at} /> },
        {
          title: t('common.actions'),
          key: 'do',
          render: (_, item) =>
            item.version !== one.version && (
              <AskButton ask={t('kept.confirmBack', { version: item.version })} label={t('kept.back')} disabled={one.immutable} loading={back.isPending} onConfirm={() => back.mutate(item.version)} />
            ),
        },
      ]}
    />
  );
}

/** Gone from the page with the dialog. */
function Clear({ content, onClose }: { content: Revealed | null; onClose: () => void }) {
  const { t } = useTranslation();
  const all = [...Object.entries(content?.entries ?? {}), ...Object.entries(content?.binary ?? {})];
  return (
    <Modal open={content !== null} width={640} title={t('kept.clear', { name: content?.name, version: content?.version })} okText={t('common.close')} cancelButtonProps={{ style: { display: 'none' } }} onOk={onClose} onCancel={onClose} destroyOnHidden>
      <div className="stack">
        {all.map(([key, text]) => (
          <div key={key}>
            <Typography.Text strong>{key}</Typography.Text>
            <Typography.Paragraph className="code mono" copyable={{ text, tooltips: [t('common.copy'), t('common.copied')] }}>
              {text}
            </Typography.Paragraph>
          </div>
        ))}
      </div>
    </Modal>
  );
}
