// Recomputes the chain of hashes over the facts of security: sign-ins, tokens, refusals.

import { SafetyCertificateOutlined } from '@ant-design/icons';
import { Button, Modal, Result } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { protection, type RecordProof } from '../../api/protection';
import { useAction } from '../../parts/query';

export function VerifyRecord() {
  const { t } = useTranslation();
  const [proof, setProof] = useState<RecordProof | null>(null);
  const verify = useAction(protection.verifyRecord, { onDone: setProof });
  return (
    <>
      <Button icon={<SafetyCertificateOutlined />} loading={verify.isPending} onClick={() => verify.mutate()}>
        {t('record.verify')}
      </Button>
      <Modal open={proof !== null} footer={null} onCancel={() => setProof(null)}>
        {proof && <Result status={proof.whole ? 'success' : 'error'} title={t(proof.whole ? 'record.whole' : 'record.broken', { at: proof.first_bad })} subTitle={t('record.checked', { count: proof.records })} />}
      </Modal>
    </>
  );
}
