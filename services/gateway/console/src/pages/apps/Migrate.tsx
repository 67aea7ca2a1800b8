// Moving a running instance to another node as it is. Which nodes there are is the operators' to see, so the name is written.

import { Button, Input, Modal } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { inside, type Container } from '../../api/volumes';
import { useAction } from '../../parts/query';

export function Migrate({ at, name, next }: { at: Container; name: string; next: (instance: string) => string }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [open, setOpen] = useState(false);
  const [node, setNode] = useState('');
  const move = useAction(() => inside.migrate(at, node.trim()), {
    done: t('instance.migrated'),
    onDone: (moved) => {
      setOpen(false);
      void navigate(next(moved.instance));
    },
  });
  return (
    <>
      <Button onClick={() => setOpen(true)}>{t('instance.migrate')}</Button>
      <Modal
        open={open}
        title={t('instance.migrateTitle', { name })}
        okText={t('instance.migrate')}
        cancelText={t('common.cancel')}
        okButtonProps={{ disabled: node.trim() === '' }}
        confirmLoading={move.isPending}
        onOk={() => move.mutate()}
        onCancel={() => setOpen(false)}
        destroyOnHidden
      >
        <p>{t('instance.migrateHelp')}</p>
        <Input aria-label={t('apps.node')} placeholder={t('apps.node')} value={node} onChange={(event) => setNode(event.target.value)} />
      </Modal>
    </>
  );
}
