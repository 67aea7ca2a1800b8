// Personal access tokens: for docker, git and scripts, instead of the password.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Flex, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { account, SCOPES, type NewToken, type Token } from '../../api/account';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog, SecretOnce } from '../../parts/dialogs';
import { ChoiceField, NumberField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

export default function Tokens() {
  const { t } = useTranslation();
  const query = useList<Token>(['tokens'], account.tokens);
  const [open, setOpen] = useState(false);
  const [secret, setSecret] = useState<string>();
  const refresh = [['tokens']];
  const create = useAction(account.createToken, {
    refresh,
    onDone: (made) => {
      setOpen(false);
      setSecret(made.secret);
    },
  });
  const revoke = useAction(account.revokeToken, { done: t('account.tokenRevoked'), refresh });
  const button = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
      {t('account.createToken')}
    </Button>
  );
  return (
    <Card title={t('account.tokens')} extra={button}>
      <DataTable<Token>
        label={t('account.tokens')}
        query={query}
        rowKey="id"
        empty={t('account.noTokens')}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('access.begins'), dataIndex: 'hint', render: (hint: string) => <Typography.Text code>{hint}…</Typography.Text> },
          {
            title: t('account.scopes'),
            dataIndex: 'scope',
            render: (scope: string) => (
              <Flex gap={4} wrap>
                {scope.split(' ').map((one) => (
                  <Tag key={one}>{one}</Tag>
                ))}
              </Flex>
            ),
          },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('access.expires'), dataIndex: 'expires_at', render: (at: string | null) => <Time at={at} /> },
          { title: t('access.lastUsed'), dataIndex: 'last_used_at', render: (at: string | null) => (at ? <Time at={at} /> : t('parts.never')) },
          { title: t('common.actions'), key: 'do', render: (_, token) => <DeleteButton name={token.name} onConfirm={() => revoke.mutate(token.id)} /> },
        ]}
      />
      <FormDialog<NewToken> open={open} title={t('account.createToken')} pending={create.isPending} error={create.error} initial={{ scopes: ['api'], expires_in_days: 90 }} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <TextField name="name" label={t('common.name')} required max={60} focus help={t('account.tokenNameHelp')} />
        <ChoiceField name="scopes" label={t('account.scopes')} required many options={SCOPES.map((value) => ({ value, label: `${value}: ${t(`tokenScope.${value.replace(':', '_')}`)}` }))} />
        <NumberField name="expires_in_days" label={t('parts.days')} required min={1} max={366} />
      </FormDialog>
      <SecretOnce secret={secret} title={t('account.newToken')} onClose={() => setSecret(undefined)}>
        <Typography.Text type="secondary">{t('account.tokenUse', { registry: window.location.host })}</Typography.Text>
      </SecretOnce>
    </Card>
  );
}
