// The session has ended while a page is open: the page stays as it is, and one signs in beside it.

import { KeyOutlined } from '@ant-design/icons';
import { Button, Modal, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { signInUrl } from '../session';

export function SessionEnded({ again }: { again: () => void }) {
  const { t, i18n } = useTranslation();
  return (
    <Modal
      open
      title={t('ended.title')}
      closable={false}
      keyboard={false}
      mask={{ closable: false }}
      // Above the dialog that may be open.
      zIndex={2000}
      footer={[
        <Button key="leave" href={signInUrl(window.location.pathname + window.location.search, i18n.language)}>
          {t('ended.leave')}
        </Button>,
        <Button key="again" onClick={again}>
          {t('ended.done')}
        </Button>,
        <Button key="in" type="primary" icon={<KeyOutlined />} href={signInUrl('/', i18n.language)} target="_blank" rel="noreferrer">
          {t('ended.signIn')}
        </Button>,
      ]}
    >
      <Typography.Paragraph>{t('ended.text')}</Typography.Paragraph>
    </Modal>
  );
}
