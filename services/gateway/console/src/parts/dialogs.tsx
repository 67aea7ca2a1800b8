// Dialogs that pages share: a form, a question before something goes, a secret that is shown once.

import { Alert, App, Button, Form, Input, Modal, Popconfirm, Typography, type ButtonProps } from 'antd';
import { useRef, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';

import { useFaults } from './useFaults';

interface FormDialogProps<T> {
  open: boolean;
  title: string;
  /** What the button says; "Create" if not given. */
  ok?: string;
  pending: boolean;
  /** Why the last sending was refused: its faults are shown at their fields. */
  error?: unknown;
  wide?: boolean;
  initial?: Partial<T>;
  onClose: () => void;
  onSubmit: (values: T) => void;
  children: ReactNode;
}

/** Each time it is opened it begins anew, with what `initial` is then. */
export function FormDialog<T extends object>(props: FormDialogProps<T>) {
  const times = useRef(0);
  const was = useRef(false);
  if (props.open && !was.current) times.current += 1;
  was.current = props.open;
  return <Opened<T> key={times.current} {...props} />;
}

function Opened<T extends object>({ open, title, ok, pending, error, wide, initial, onClose, onSubmit, children }: FormDialogProps<T>) {
  const { t } = useTranslation();
  const { modal } = App.useApp();
  const [form] = Form.useForm<T>();
  useFaults(form, error);
  // Escape and the cross are pressed by mistake; "Cancel" is meant.
  const leave = () => {
    if (!form.isFieldsTouched()) onClose();
    else modal.confirm({ title: t('parts.discard'), okText: t('parts.discardOk'), okButtonProps: { danger: true }, cancelText: t('parts.goOn'), onOk: onClose });
  };
  return (
    <Modal
      open={open}
      title={title}
      width={wide ? 760 : 520}
      okText={ok ?? t('common.create')}
      confirmLoading={pending}
      onCancel={leave}
      onOk={() => form.submit()}
      mask={{ closable: false }}
      destroyOnHidden
      footer={(_, { OkBtn }) => (
        <>
          <Button onClick={onClose}>{t('common.cancel')}</Button>
          <OkBtn />
        </>
      )}
    >
      <Form<T> form={form} layout="vertical" preserve={false} initialValues={initial} onFinish={(values) => pending || onSubmit(values)} scrollToFirstError>
        {children}
        {/* Enter sends the form from any of its fields. */}
        <button type="submit" hidden>
          {ok ?? t('common.create')}
        </button>
      </Form>
    </Modal>
  );
}

/** A button that asks before it does what cannot be taken back. */
export function AskButton({ ask, label, onConfirm, ...button }: { ask: string; label: string; onConfirm: () => void } & Omit<ButtonProps, 'onClick'>) {
  const { t } = useTranslation();
  return (
    <Popconfirm title={ask} okText={label} cancelText={t('common.cancel')} onConfirm={onConfirm}>
      <Button size="small" {...button}>
        {label}
      </Button>
    </Popconfirm>
  );
}

/** `name` says in the question what goes. */
export function DeleteButton({ name, onConfirm, ask, ...button }: { name: string; onConfirm: () => void; ask?: string } & Omit<ButtonProps, 'onClick' | 'name'>) {
  const { t } = useTranslation();
  return <AskButton danger ask={ask ?? t('access.confirmDelete', { name })} label={t('common.delete')} onConfirm={onConfirm} {...button} />;
}

/** What a service shows this once and never again. */
export function SecretOnce({ secret, title, children, onClose }: { secret?: string | null; title: string; children?: ReactNode; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Modal open={Boolean(secret)} title={title} width={640} okText={t('access.noted')} cancelButtonProps={{ style: { display: 'none' } }} onOk={onClose} onCancel={onClose} mask={{ closable: false }} destroyOnHidden>
      <div className="stack">
        <Alert type="warning" showIcon title={t('parts.once')} />
        <Typography.Paragraph className="code mono" data-testid="secret" copyable={{ text: secret ?? '', tooltips: [t('common.copy'), t('common.copied')] }}>
          {secret}
        </Typography.Paragraph>
        {children}
      </div>
    </Modal>
  );
}

/** For what takes a lot along: the name has to be written out. */
interface DeleteByNameProps {
  name: string;
  title: string;
  label: string;
  pending: boolean;
  /** Why it cannot go now: the button says so. */
  refused?: string;
  small?: boolean;
  children?: ReactNode;
  /** `close` shuts the dialog, where the page stays. */
  onDelete: (close: () => void) => void;
  onOpen?: () => void;
}

export function DeleteByName({ name, title, label, pending, refused, small, children, onDelete, onOpen }: DeleteByNameProps) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const [written, setWritten] = useState('');
  const close = () => setOpen(false);
  const begin = () => {
    setWritten('');
    setOpen(true);
    onOpen?.();
  };
  return (
    <>
      <Button danger size={small ? 'small' : undefined} disabled={refused !== undefined} title={refused} onClick={begin}>
        {label}
      </Button>
      <Modal open={open} title={title} okText={label} cancelText={t('common.cancel')} okButtonProps={{ danger: true, disabled: written !== name }} confirmLoading={pending} onCancel={() => setOpen(false)} onOk={() => onDelete(close)} destroyOnHidden>
        <div className="stack">
          {children}
          <label>
            {t('parts.writeName', { name })}
            <Input value={written} autoComplete="off" onChange={(event) => setWritten(event.target.value)} onPressEnter={() => written === name && !pending && onDelete(close)} />
          </label>
        </div>
      </Modal>
    </>
  );
}
