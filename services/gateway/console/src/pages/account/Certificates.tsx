// Certificates that sign one in. They are bound on identity's own page, where the browser can be asked for one.

import { Button, Card, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { certificates, type Certificate } from '../../api/certificates';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton } from '../../parts/dialogs';
import { useAction, useList } from '../../parts/query';

export default function Certificates() {
  const { t } = useTranslation();
  const query = useList<Certificate>(['certificates'], certificates.mine);
  const drop = useAction(certificates.remove, { done: t('parts.deleted'), refresh: [['certificates']] });
  return (
    <Card title={t('certificates.title')} extra={<Button href="/account#certificates">{t('certificates.bind')}</Button>}>
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
          { key: 'do', render: (_, one) => <DeleteButton name={one.label} onConfirm={() => drop.mutate(one.id)} /> },
        ]}
      />
    </Card>
  );
}
