// A token that lets one machine in, once; and how it is used there.

import { Button, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { scheduler, type JoinToken } from '../../api/scheduler';
import { FormDialog, SecretOnce } from '../../parts/dialogs';
import { NumberField, TextField } from '../../parts/fields';
import { useAction } from '../../parts/query';

export function JoinNode() {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const [made, setMade] = useState<JoinToken | null>(null);
  const make = useAction((form: { node?: string; expires_in_minutes: number }) => scheduler.joinToken(form.node || null, form.expires_in_minutes), {
    onDone: (token) => {
      setOpen(false);
      setMade(token);
    },
  });
  return (
    <>
      <Button type="primary" onClick={() => setOpen(true)}>
        {t('nodes.join')}
      </Button>
      <FormDialog<{ node?: string; expires_in_minutes: number }> open={open} title={t('nodes.join')} pending={make.isPending} error={make.error} initial={{ expires_in_minutes: 60 }} onClose={() => setOpen(false)} onSubmit={make.mutate}>
        <TextField name="node" label={t('nodes.joinName')} help={t('nodes.joinNameHelp')} max={63} focus />
        <NumberField name="expires_in_minutes" label={t('nodes.joinMinutes')} required min={1} max={10_080} />
      </FormDialog>
      <SecretOnce secret={made?.secret} title={t('nodes.joinToken')} onClose={() => setMade(null)}>
        <Typography.Paragraph>{t('nodes.joinHow')}</Typography.Paragraph>
        <Typography.Paragraph className="code mono">{`gantryd --target agent join --url ${location.origin} --node ${made?.node ?? 'NAME'}`}</Typography.Paragraph>
      </SecretOnce>
    </>
  );
}
