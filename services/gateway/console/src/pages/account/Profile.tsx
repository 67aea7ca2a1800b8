// Name and address, the password, everything that is kept of oneself, and leaving.

import { DownloadOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Flex, Form, Tag, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { account, type Me } from '../../api/account';
import { Answer } from '../../parts/basics';
import { DeleteByName } from '../../parts/dialogs';
import { TextField } from '../../parts/fields';
import { useMe } from '../../parts/me';
import { useFaults } from '../../parts/useFaults';
import { useAction } from '../../parts/query';

export default function Profile() {
  const query = useMe();
  return (
    <Answer query={query}>
      {() => (
        <div className="stack narrow">
          <Names me={query.data!} />
          <Password />
          <Leaving me={query.data!} />
        </div>
      )}
    </Answer>
  );
}

function Names({ me }: { me: Me }) {
  const { t } = useTranslation();
  const save = useAction(account.change, { done: t('parts.saved'), refresh: [['me'], ['session']] });
  const [form] = Form.useForm<Me>();
  useFaults(form, save.error);
  return (
    <Card title={t('account.profile')}>
      <Form<Me> form={form} layout="vertical" initialValues={me} onFinish={({ display_name, email }: Me) => save.mutate({ ...(display_name === me.display_name ? {} : { display_name }), ...(email === me.email ? {} : { email }) })}>
        <TextField name="display_name" label={t('common.displayName')} required max={100} />
        <TextField name="email" label={t('people.email')} required max={254} />
        {me.groups.length > 0 && (
          <Form.Item label={t('account.groups')}>
            <Flex gap={4} wrap>
              {me.groups.map((group) => (
                <Tag key={group}>{group}</Tag>
              ))}
            </Flex>
          </Form.Item>
        )}
        <Button type="primary" htmlType="submit" loading={save.isPending}>
          {t('common.save')}
        </Button>
      </Form>
    </Card>
  );
}

interface Change {
  current_password: string;
  password: string;
  again: string;
}

function Password() {
  const { t } = useTranslation();
  const [form] = Form.useForm<Change>();
  const save = useAction(account.change, { done: t('account.passwordChanged'), onDone: () => form.resetFields() });
  useFaults(form, save.error);
  const submit = ({ current_password, password, again }: Change) => {
    if (again !== password) form.setFields([{ name: 'again', errors: [t('account.differ')] }]);
    else save.mutate({ current_password, password });
  };
  return (
    <Card title={t('account.password')}>
      <Form<Change> form={form} layout="vertical" onFinish={submit}>
        <TextField name="current_password" label={t('account.currentPassword')} required secret />
        <TextField name="password" label={t('account.newPassword')} required secret help={t('account.passwordHelp')} />
        <TextField name="again" label={t('account.again')} required secret />
        <Button htmlType="submit" loading={save.isPending}>
          {t('account.changePassword')}
        </Button>
      </Form>
    </Card>
  );
}

function Leaving({ me }: { me: Me }) {
  const { t } = useTranslation();
  const erase = useAction(() => account.erase(me.username), { onDone: () => window.location.assign('/') });
  return (
    <Card title={t('account.data')}>
      <Typography.Paragraph type="secondary">{t('account.dataHelp')}</Typography.Paragraph>
      <Flex gap="small" wrap>
        <Button icon={<DownloadOutlined />} href={account.exported} download={`${me.username}.json`}>
          {t('account.export')}
        </Button>
        <DeleteByName name={me.username} title={t('account.erase')} label={t('account.erase')} pending={erase.isPending} onDelete={() => erase.mutate()}>
          <Alert type="warning" showIcon title={t('account.eraseHelp')} />
        </DeleteByName>
      </Flex>
    </Card>
  );
}
