// What an image must be before it is handed out or deployed.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Flex, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { registry, type Policy } from '../../api/registry';
import { DataTable } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { CheckField, ChoiceField, NameField, TextField, TextsField } from '../../parts/fields';
import { useAction } from '../../parts/query';
import { settingsKey, type Props } from './Registry';
import { Severity } from '../images/Summary';

const NEW: Partial<Policy> = { repositories: '*', at: ['pull', 'deploy'], provenance_level: 0 };

export default function Policies({ base, settings }: Props) {
  const { t } = useTranslation();
  const [edited, setEdited] = useState<Partial<Policy> | null>(null);
  const refresh = [settingsKey(base), ['signatures']];
  const save = useAction((body: Policy) => registry.setPolicy(base, body), { done: t('parts.saved'), refresh, onDone: () => setEdited(null) });
  const drop = useAction((name: string) => registry.removePolicy(base, name), { done: t('parts.deleted'), refresh });
  const submit = (values: Policy) => save.mutate({ ...values, name: edited?.name ?? values.name, block_severity: values.block_severity || null, repositories: values.repositories || '*' });
  return (
    <Card
      title={t('registry.policies')}
      extra={
        <Button type="primary" icon={<PlusOutlined />} onClick={() => setEdited(NEW)}>
          {t('registry.addPolicy')}
        </Button>
      }
    >
      <DataTable<Policy>
        label={t('registry.policies')}
        query={{ items: settings.policies, isPending: false, error: null, refetch: () => {} }}
        rowKey="name"
        empty={t('registry.noPolicies')}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('registry.repositories'), dataIndex: 'repositories' },
          { title: t('registry.at'), dataIndex: 'at', render: (at?: string[]) => at?.map((one) => <Tag key={one}>{t(`moment.${one}`)}</Tag>) },
          { title: t('registry.demands'), render: (_, policy) => <Demands policy={policy} /> },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, policy) => (
              <Flex gap="small">
                <Button size="small" onClick={() => setEdited(policy)}>
                  {t('parts.edit')}
                </Button>
                <DeleteButton name={policy.name} onConfirm={() => drop.mutate(policy.name)} />
              </Flex>
            ),
          },
        ]}
      />
      <FormDialog<Policy> open={edited !== null} wide title={edited?.name ?? t('registry.addPolicy')} ok={t('common.save')} pending={save.isPending} error={save.error} initial={edited ?? undefined} onClose={() => setEdited(null)} onSubmit={submit}>
        {!edited?.name && <NameField />}
        <TextField name="repositories" label={t('registry.repositories')} help={t('registry.patternHelp')} max={255} />
        <ChoiceField name="at" label={t('registry.at')} many required options={['pull', 'deploy'].map((value) => ({ value, label: t(`moment.${value}`) }))} />
        <CheckField name="must_be_scanned" label={t('registry.mustBeScanned')} />
        <ChoiceField name="block_severity" label={t('registry.blocks')} options={['low', 'medium', 'high', 'critical'].map((value) => ({ value, label: t(`severity.${value}`) }))} />
        <CheckField name="only_fixable" label={t('registry.onlyFixable')} />
        <ChoiceField name="signed_by" label={t('registry.signedBy')} many options={[{ value: '*', label: t('registry.anyKey') }, ...settings.keys.map(({ name }) => ({ value: name, label: name }))]} />
        <ChoiceField name="provenance_level" label={t('images.provenance')} options={[0, 1, 2, 3].map((value) => ({ value: value as unknown as string, label: t(`slsa.level${value}`) }))} />
        <TextsField name="builders" label={t('registry.builders')} help={t('registry.buildersHelp')} />
        <TextsField name="denied_licences" label={t('registry.licences')} help={t('registry.licencesHelp')} />
      </FormDialog>
    </Card>
  );
}

function Demands({ policy }: { policy: Policy }) {
  const { t } = useTranslation();
  return (
    <Flex gap={4} wrap>
      {policy.must_be_scanned && <Tag>{t('registry.mustBeScanned')}</Tag>}
      {policy.block_severity && (
        <span>
          {t('registry.below')} <Severity level={policy.block_severity} />
        </span>
      )}
      {(policy.signed_by?.length ?? 0) > 0 && <Tag color="blue">{`${t('registry.signedBy')}: ${policy.signed_by!.join(', ')}`}</Tag>}
      {(policy.provenance_level ?? 0) > 0 && <Tag color="purple">{t(`slsa.level${policy.provenance_level}`)}</Tag>}
      {(policy.denied_licences?.length ?? 0) > 0 && <Tag>{`${t('registry.licences')}: ${policy.denied_licences!.join(', ')}`}</Tag>}
    </Flex>
  );
}
