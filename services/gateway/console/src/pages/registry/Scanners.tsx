// Scanners outside that a project's images are given to, by Harbor's pluggable scanner API.

import { PlusOutlined } from '@ant-design/icons';
import { App, Button, Card, Flex, Form, Select, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { registry, type Scanner } from '../../api/registry';
import { DataTable } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { CheckField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';
import { endpointOf, EndpointFields, type EndpointForm } from './Caches';
import type { Props } from './Registry';

interface ScannerForm extends EndpointForm {
  auth?: Scanner['scanner']['auth'];
  repositories?: string;
  sbom?: boolean;
}

/** What the form does not show stays as it was. */
const bodyOf = (form: ScannerForm, was?: Scanner['scanner']) => ({ ...was, ...endpointOf(form), auth: form.auth ?? 'none', repositories: form.repositories || '*', sbom: form.sbom ?? false, ...(form.password ? { password: form.password } : {}) });

export default function Scanners({ base }: Props) {
  const { t } = useTranslation();
  const { message } = App.useApp();
  const key = ['scanners', base];
  const query = useList<Scanner>(key, registry.scanners(base));
  const [open, setOpen] = useState<'new' | Scanner['scanner'] | null>(null);
  const was = open === 'new' || open === null ? undefined : open;
  const save = useAction((form: ScannerForm) => registry.setScanner(base, was?.name ?? form.name, bodyOf(form, was)), { done: t('parts.saved'), refresh: [key], onDone: () => setOpen(null) });
  const test = useAction((name: string) => registry.testScanner(base, name), {
    onDone: (trial) => void (trial.ok ? message.success(t('scanners.is', { name: trial.identity?.name, version: trial.identity?.version })) : message.error(trial.error ?? t('upstreams.worksNot'))),
  });
  const drop = useAction((name: string) => registry.removeScanner(base, name), { done: t('parts.deleted'), refresh: [key] });
  return (
    <Card
      title={t('scanners.title')}
      extra={
        <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen('new')}>
          {t('scanners.add')}
        </Button>
      }
    >
      <DataTable<Scanner>
        label={t('scanners.title')}
        query={query}
        rowKey={(one) => one.scanner.name}
        empty={t('scanners.none')}
        columns={[
          { title: t('common.name'), render: (_, one) => one.scanner.name },
          { title: t('flow.url'), render: (_, one) => one.scanner.url },
          { title: t('registry.repositories'), render: (_, one) => one.scanner.repositories },
          { title: t('scanners.sbom'), render: (_, one) => <Tag color={one.scanner.sbom ? 'blue' : 'default'}>{t(one.scanner.sbom ? 'scanners.asked' : 'scanners.notAsked')}</Tag> },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, one) => (
              <Flex gap="small">
                <Button size="small" loading={test.isPending && test.variables === one.scanner.name} onClick={() => test.mutate(one.scanner.name)}>
                  {t('upstreams.test')}
                </Button>
                {one.platform ? (
                  <Tag>{t('scanners.platform')}</Tag>
                ) : (
                  <>
                    <Button size="small" onClick={() => setOpen(one.scanner)}>
                      {t('parts.edit')}
                    </Button>
                    <DeleteButton name={one.scanner.name} onConfirm={() => drop.mutate(one.scanner.name)} />
                  </>
                )}
              </Flex>
            ),
          },
        ]}
      />
      <FormDialog<ScannerForm> open={open !== null} title={was ? t('scanners.change', { name: was.name }) : t('scanners.add')} ok={was ? t('common.save') : undefined} pending={save.isPending} error={save.error} initial={was} onClose={() => setOpen(null)} onSubmit={save.mutate}>
        <EndpointFields named={was !== undefined} />
        <Form.Item name="auth" label={t('scanners.auth')}>
          <Select aria-label={t('scanners.auth')} options={(['none', 'basic', 'bearer', 'api_key'] as const).map((value) => ({ value, label: t(`scannerAuth.${value}`) }))} />
        </Form.Item>
        <TextField name="repositories" label={t('registry.repositories')} help={t('registry.patternHelp')} />
        <CheckField name="sbom" label={t('scanners.askSbom')} />
      </FormDialog>
    </Card>
  );
}
