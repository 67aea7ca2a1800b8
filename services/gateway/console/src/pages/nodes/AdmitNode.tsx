// Letting a node in again that was removed. It is in no list any more, so its name is written.

import { Button } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { scheduler } from '../../api/scheduler';
import { FormDialog } from '../../parts/dialogs';
import { TextField } from '../../parts/fields';
import { useAction } from '../../parts/query';

export function AdmitNode() {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const admit = useAction((form: { node: string }) => scheduler.admitNode(form.node.trim()), { done: t('nodes.admitted'), refresh: [['nodes']], onDone: () => setOpen(false) });
  return (
    <>
      <Button onClick={() => setOpen(true)}>{t('nodes.admit')}</Button>
      <FormDialog<{ node: string }> open={open} title={t('nodes.admit')} ok={t('nodes.admit')} pending={admit.isPending} error={admit.error} onClose={() => setOpen(false)} onSubmit={admit.mutate}>
        <TextField name="node" label={t('common.name')} help={t('nodes.admitHelp')} max={63} required focus />
      </FormDialog>
    </>
  );
}
