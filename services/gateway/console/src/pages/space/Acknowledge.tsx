// Saying what a sign of an intrusion was, so that it does not count as open any more.

import { CheckOutlined } from '@ant-design/icons';
import { Button, Tooltip } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { signs, type Sign } from '../../api/signs';
import { FormDialog } from '../../parts/dialogs';
import { TextField } from '../../parts/fields';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';

export function Acknowledge({ sign, place: [org, project, space] }: { sign: Sign; place: [string, string, string] }) {
  const { t } = useTranslation();
  const may = useMay('apps.write', { org, project, space });
  const [open, setOpen] = useState(false);
  const save = useAction(({ reason }: { reason: string }) => signs.acknowledge(org, project, space, sign.number, reason), { done: t('signs.done'), refresh: [['signs']], onDone: () => setOpen(false) });
  return (
    <>
      <Tooltip title={may === false ? t('signs.mayNot') : undefined}>
        <Button type="primary" icon={<CheckOutlined />} disabled={!may} onClick={() => setOpen(true)}>
          {t('signs.acknowledge')}
        </Button>
      </Tooltip>
      <FormDialog<{ reason: string }> open={open} title={t('signs.acknowledge')} ok={t('signs.acknowledge')} pending={save.isPending} error={save.error} onClose={() => setOpen(false)} onSubmit={save.mutate}>
        <TextField name="reason" label={t('signs.reason')} help={t('signs.reasonHelp')} required focus />
      </FormDialog>
    </>
  );
}
