// Whose signatures count: public keys (cosign, in-toto) and certificates (Notation).

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { registry, type TrustedKey } from '../../api/registry';
import { DataTable } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { NameField, TextField, TextsField } from '../../parts/fields';
import { useAction } from '../../parts/query';
import { settingsKey, type Props } from './Registry';

interface Values {
  name: string;
  pem: string;
  subject?: string[];
}

export default function Keys({ base, settings }: Props) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const refresh = [settingsKey(base), ['signatures']];
  const trust = useAction((body: Values) => registry.trust(base, body), { done: t('parts.saved'), refresh, onDone: () => setOpen(false) });
  const drop = useAction((name: string) => registry.distrust(base, name), { done: t('parts.deleted'), refresh });
  return (
    <Card
      title={t('registry.keys')}
      extra={
        <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
          {t('registry.addKey')}
        </Button>
      }
    >
      <DataTable<TrustedKey>
        label={t('registry.keys')}
        query={{ items: settings.keys, isPending: false, error: null, refetch: () => {} }}
        rowKey="name"
        empty={t('registry.noKeys')}
        expandable={{ expandedRowRender: (key) => <pre className="code mono">{key.pem}</pre> }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('account.kind'), dataIndex: 'kind' },
          { title: t('registry.fingerprint'), dataIndex: 'fingerprint', render: (text: string) => <span className="mono">{text}</span> },
          { title: t('registry.subject'), dataIndex: 'subject', render: (list?: string[]) => list?.join(', ') },
          { title: t('common.actions'), key: 'do', render: (_, key) => <DeleteButton name={key.name} onConfirm={() => drop.mutate(key.name)} /> },
        ]}
      />
      <FormDialog<Values> open={open} wide title={t('registry.addKey')} ok={t('common.save')} pending={trust.isPending} error={trust.error} onClose={() => setOpen(false)} onSubmit={trust.mutate}>
        <NameField />
        <TextField name="pem" label={t('registry.pem')} help={t('registry.pemHelp')} required rows={8} placeholder="-----BEGIN PUBLIC KEY-----" />
        <TextsField name="subject" label={t('registry.subject')} help={t('registry.subjectHelp')} />
      </FormDialog>
    </Card>
  );
}
