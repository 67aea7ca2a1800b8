// Deleting a pool of public addresses: only one of which no address is in use, and who has some is shown.

import { Alert, Button, Modal } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { pools, type Pool } from '../../api/pools';
import { useAction } from '../../parts/query';
import { Claims } from './Claims';

export function DeletePool({ pool }: { pool: Pool }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const drop = useAction(() => pools.remove(pool.name), { done: t('parts.deleted'), refresh: [['address-pools']], onDone: () => setOpen(false) });
  const used = pool.claims.length > 0;
  return (
    <>
      <Button danger size="small" onClick={() => setOpen(true)}>
        {t('common.delete')}
      </Button>
      <Modal
        open={open}
        width={used ? 760 : 520}
        title={t('pools.deleteOf', { name: pool.name })}
        okText={t('common.delete')}
        cancelText={t('common.cancel')}
        okButtonProps={{ danger: true, disabled: used }}
        confirmLoading={drop.isPending}
        onOk={() => drop.mutate()}
        onCancel={() => setOpen(false)}
        destroyOnHidden
      >
        {used ? (
          <div className="stack">
            <Alert type="warning" showIcon title={t('pools.inUse')} />
            <Claims of={pool} />
          </div>
        ) : (
          t('pools.deleteHelp')
        )}
      </Modal>
    </>
  );
}
