// What one signs in with besides a password. Passkeys are added on identity's own page, where the browser's ceremony is.

import { Alert, Button, Card, Flex, Modal, QRCode, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { account, type Factor, type Link, type TotpOffer } from '../../api/account';
import { DataTable, Time } from '../../parts/basics';
import { AskButton, DeleteButton, FormDialog } from '../../parts/dialogs';
import { TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';
import Certificates from './Certificates';

export default function Security() {
  return (
    <div className="stack">
      <Factors />
      <Certificates />
      <Links />
    </div>
  );
}

function Factors() {
  const { t } = useTranslation();
  const query = useList<Factor>(['factors'], account.factors);
  const [offer, setOffer] = useState<TotpOffer | null>(null);
  const [codes, setCodes] = useState<string[]>([]);
  const refresh = [['factors']];
  const begin = useAction(account.offerTotp, { onDone: setOffer });
  const add = useAction(account.addTotp, {
    done: t('account.factorAdded'),
    refresh,
    onDone: (made) => {
      setOffer(null);
      setCodes(made.codes);
    },
  });
  const drop = useAction(account.removeFactor, { done: t('parts.deleted'), refresh });
  const renew = useAction(account.newCodes, { onDone: (made) => setCodes(made.codes) });
  return (
    <Card
      title={t('account.factors')}
      extra={
        <Flex gap="small" wrap>
          <Button loading={begin.isPending} onClick={() => begin.mutate()}>
            {t('account.addTotp')}
          </Button>
          <Button href="/account">{t('account.addPasskey')}</Button>
          {query.items.length > 0 && <AskButton size="middle" ask={t('account.confirmCodes')} label={t('account.newCodes')} onConfirm={() => renew.mutate()} />}
        </Flex>
      }
    >
      <DataTable<Factor>
        label={t('account.factors')}
        query={query}
        rowKey="id"
        empty={t('account.noFactors')}
        columns={[
          { title: t('account.kind'), dataIndex: 'kind', render: (kind: string) => t(`factor.${kind}`, { defaultValue: kind }) },
          { title: t('common.name'), dataIndex: 'label' },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.lastUsed'), dataIndex: 'last_used_at', render: (at: string | null) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, factor) => <DeleteButton name={factor.label || factor.kind} onConfirm={() => drop.mutate(factor.id)} /> },
        ]}
      />
      <FormDialog<{ code: string; label?: string }> open={offer !== null} title={t('account.addTotp')} ok={t('account.confirm')} pending={add.isPending} error={add.error} onClose={() => setOffer(null)} onSubmit={(values) => offer && add.mutate({ ...values, pending: offer.pending })}>
        {offer && (
          <Flex vertical align="center" gap="small">
            <Typography.Text>{t('account.scan')}</Typography.Text>
            <QRCode value={offer.uri} type="svg" size={200} aria-label={t('account.picture')} />
            <Typography.Text code copyable>
              {offer.secret}
            </Typography.Text>
          </Flex>
        )}
        <TextField name="code" label={t('account.code')} required max={8} focus />
        <TextField name="label" label={t('common.name')} max={60} />
      </FormDialog>
      <Modal open={codes.length > 0} title={t('account.codes')} okText={t('access.noted')} cancelButtonProps={{ style: { display: 'none' } }} onOk={() => setCodes([])} onCancel={() => setCodes([])}>
        <Alert type="warning" showIcon title={t('account.codesHelp')} />
        <Typography.Paragraph className="code mono" copyable={{ text: codes.join('\n') }}>
          {codes.join('\n')}
        </Typography.Paragraph>
      </Modal>
    </Card>
  );
}

function Links() {
  const { t } = useTranslation();
  const query = useList<Link>(['links'], account.links);
  const drop = useAction(account.unlink, { done: t('parts.deleted'), refresh: [['links']] });
  return (
    <Card title={t('account.links')} extra={<Button href="/account">{t('account.addLink')}</Button>}>
      <DataTable<Link>
        label={t('account.links')}
        query={query}
        rowKey="id"
        empty={t('account.noLinks')}
        columns={[
          { title: t('account.source'), dataIndex: 'upstream' },
          { title: t('common.name'), render: (_, link) => link.display_name || link.subject },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), key: 'do', render: (_, link) => <DeleteButton name={link.upstream} onConfirm={() => drop.mutate(link.id)} /> },
        ]}
      />
    </Card>
  );
}
