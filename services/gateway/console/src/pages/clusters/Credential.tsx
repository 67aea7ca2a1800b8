// Another way into a cluster: a renewed credential, another address. It is tested before it counts.

import { Button, Form, Modal } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { clusters, type Cluster } from '../../api/clusters';
import type { ApiError } from '../../api/http';
import { ProblemView } from '../../parts/basics';
import { usePlatformAdmin } from '../../parts/me';
import { useAction } from '../../parts/query';
import { AccessFields, accessOf, type AccessForm } from './AccessFields';
import { testKey } from './Clusters';

export function Credential({ cluster }: { cluster: Cluster }) {
  const { t } = useTranslation();
  const admin = usePlatformAdmin();
  const [open, setOpen] = useState(false);
  const [refused, setRefused] = useState<ApiError | null>(null);
  const [form] = Form.useForm<AccessForm>();
  const set = useAction(
    async (values: AccessForm) => {
      setRefused(null);
      try {
        return await clusters.access(cluster.name, accessOf(values));
      } catch (error) {
        setRefused(error as ApiError);
        throw error;
      }
    },
    { done: t('clusters.renewed'), refresh: [['clusters'], testKey(cluster.name)], onDone: () => setOpen(false) },
  );
  const close = () => {
    setRefused(null);
    setOpen(false);
  };
  return (
    <>
      <Button onClick={() => setOpen(true)}>{t('clusters.renew')}</Button>
      <Modal open={open} width={760} title={t('clusters.renewOf', { name: cluster.name })} okText={t('clusters.testAndSet')} cancelText={t('common.cancel')} confirmLoading={set.isPending} onCancel={close} onOk={() => form.submit()} destroyOnHidden>
        <Form<AccessForm> form={form} layout="vertical" preserve={false} initialValues={{ way: 'kubeconfig' }} onFinish={set.mutate}>
          <AccessFields form={form} inCluster={admin} />
        </Form>
        {refused && <ProblemView error={refused} />}
      </Modal>
    </>
  );
}
