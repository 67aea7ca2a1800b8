// Certificates that sign one in. They are bound on identity's own page, where the browser can be asked for one; what is chosen here
// stands in its form already.

import { Button, Card, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { certificates, type Certificate } from '../../api/certificates';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { ChoiceField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

interface Wish {
  label?: string;
  by: 'certificate' | 'name';
}

export default function Certificates() {
  const { t } = useTranslation();
  const query = useList<Certificate>(['certificates'], certificates.mine);
  const drop = useAction(certificates.remove, { done: t('parts.deleted'), refresh: [['certificates']] });
  const [open, setOpen] = useState(false);
  const bind = ({ label, by }: Wish) => window.location.assign(`/account?${new URLSearchParams({ certificate: label ?? '', by })}#certificates`);
  return (
    <Card title={t('certificates.title')} extra={<Button onClick={() => setOpen(true)}>{t('certificates.bind')}</Button>}>
      <DataTable<Certificate>
        label={t('certificates.title')}
        query={query}
        rowKey="id"
        empty={t('certificates.none')}
        columns={[
          { title: t('common.name'), dataIndex: 'label' },
          { title: t('certificates.subject'), dataIndex: 'subject', render: (subject: string) => <Typography.Text className="mono">{subject}</Typography.Text> },
          { title: t('certificates.by'), dataIndex: 'by', render: (by: string) => t(by === 'name' ? 'certificates.byName' : 'certificates.byItself') },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, one) => <DeleteButton name={one.label} onConfirm={() => drop.mutate(one.id)} /> },
        ]}
      />
      <FormDialog<Wish> open={open} title={t('certificates.bind')} ok={t('certificates.bind')} pending={false} initial={{ by: 'certificate' }} onClose={() => setOpen(false)} onSubmit={bind}>
        <Typography.Paragraph type="secondary">{t('certificates.bindHelp')}</Typography.Paragraph>
        <TextField name="label" label={t('certificates.label')} max={100} />
        <ChoiceField
          name="by"
          label={t('certificates.by')}
          required
          options={[
            { value: 'certificate', label: t('certificates.byItself') },
            { value: 'name', label: t('certificates.byName') },
          ]}
        />
      </FormDialog>
    </Card>
  );
}
