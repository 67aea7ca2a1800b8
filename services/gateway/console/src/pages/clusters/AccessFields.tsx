// How a cluster is reached: a kubeconfig with a choice among its contexts, an address with a token, or the cluster the platform is on.

import { UploadOutlined } from '@ant-design/icons';
import { Alert, Button, Form, Input, Segmented, Select, Upload, type FormInstance } from 'antd';
import { useTranslation } from 'react-i18next';

import { readKubeconfig, type Access } from '../../api/clusters';
import { TextField } from '../../parts/fields';

export type Way = 'kubeconfig' | 'server' | 'in_cluster';

export interface AccessForm {
  way: Way;
  kubeconfig?: string;
  context?: string;
  server?: string;
  ca_pem?: string;
  token?: string;
}

const FLATTEN = 'kubectl config view --raw --flatten --minify';

export function accessOf(form: AccessForm): Access {
  if (form.way === 'in_cluster') return { in_cluster: true };
  if (form.way === 'server') return { server: form.server?.trim(), ca_pem: form.ca_pem ?? '', token: form.token?.trim() };
  return { kubeconfig: form.kubeconfig, context: form.context ?? '' };
}

/** `inCluster`: only the platform's administrators may say it. */
export function AccessFields({ form, inCluster }: { form: FormInstance; inCluster: boolean }) {
  const { t } = useTranslation();
  const way = (Form.useWatch('way', form) as Way | undefined) ?? 'kubeconfig';
  const text = (Form.useWatch('kubeconfig', form) as string | undefined) ?? '';
  const read = readKubeconfig(text);
  const current = read?.contexts.some((one) => one.name === read.current) ? read.current : undefined;
  const ways: Way[] = ['kubeconfig', 'server', ...(inCluster ? (['in_cluster'] as const) : [])];
  return (
    <>
      <Form.Item name="way" label={t('clusters.way')}>
        <Segmented options={ways.map((value) => ({ value, label: t(`clusters.ways.${value}`) }))} />
      </Form.Item>
      {way === 'kubeconfig' && (
        <>
          <Form.Item
            name="kubeconfig"
            label={t('clusters.kubeconfig')}
            extra={t('clusters.kubeconfigHelp', { command: FLATTEN })}
            rules={[
              { required: true, message: t('form.required') },
              { validator: async (_, value?: string) => (!value || readKubeconfig(value) ? undefined : Promise.reject(new Error(t('clusters.noKubeconfig')))) },
            ]}
          >
            <Input.TextArea rows={8} className="mono" spellCheck={false} placeholder={'apiVersion: v1\nkind: Config\n…'} />
          </Form.Item>
          <Upload
            showUploadList={false}
            beforeUpload={async (file) => {
              form.setFieldsValue({ kubeconfig: await file.text(), context: undefined });
              await form.validateFields(['kubeconfig']).catch(() => undefined);
              return Upload.LIST_IGNORE;
            }}
          >
            <Button icon={<UploadOutlined />}>{t('clusters.upload')}</Button>
          </Upload>
          {read && read.files.length > 0 && <Alert className="gap" type="warning" showIcon title={t('clusters.namesFiles', { files: read.files.join(', ') })} description={t('clusters.flatten', { command: FLATTEN })} />}
          {read && (
            <Form.Item name="context" className="gap" label={t('clusters.context')} rules={current ? [] : [{ required: true, message: t('form.required') }]}>
              <Select
                allowClear
                placeholder={current ? t('clusters.currentContext', { name: current }) : undefined}
                options={read.contexts.map((one) => ({ value: one.name, label: one.server ? `${one.name} · ${one.server}` : one.name }))}
              />
            </Form.Item>
          )}
        </>
      )}
      {way === 'server' && (
        <>
          <TextField name="server" label={t('clusters.server')} required placeholder="https://10.0.0.1:6443" />
          <TextField name="ca_pem" label={t('clusters.ca')} help={t('clusters.caHelp')} rows={4} placeholder="-----BEGIN CERTIFICATE-----" />
          <TextField name="token" label={t('clusters.token')} help={t('clusters.tokenHelp')} required secret />
        </>
      )}
      {way === 'in_cluster' && <Alert type="info" showIcon title={t('clusters.inClusterHelp')} />}
    </>
  );
}
