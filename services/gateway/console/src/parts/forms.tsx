// Rules and dialogs that several forms share.

import { Form, Input, Modal, type FormRule } from 'antd';
import type { TFunction } from 'i18next';
import { useTranslation } from 'react-i18next';

import { useFaults } from './useFaults';

/** A DNS label, as the services check it too. */
export const NAME = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function nameRules(t: TFunction): FormRule[] {
  return [
    { required: true, message: t('form.required') },
    { pattern: NAME, message: t('form.name') },
  ];
}

/** Asks for one name. */
export function NameDialog(props: { open: boolean; title: string; pending: boolean; error?: unknown; onCancel: () => void; onName: (name: string) => void }) {
  const { t } = useTranslation();
  const [form] = Form.useForm<{ name: string }>();
  useFaults(form, props.error);
  return (
    <Modal open={props.open} title={props.title} okText={t('common.create')} cancelText={t('common.cancel')} confirmLoading={props.pending} onCancel={props.onCancel} onOk={() => form.submit()} destroyOnHidden>
      <Form form={form} layout="vertical" preserve={false} onFinish={({ name }) => props.pending || props.onName(name)}>
        <Form.Item name="name" label={t('common.name')} rules={nameRules(t)} extra={t('form.nameHelp')}>
          <Input autoFocus maxLength={63} />
        </Form.Item>
      </Form>
    </Modal>
  );
}
