// Nobody is signed in: one button, and what went wrong last time.

import { KeyOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Flex, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { useLocation, useSearchParams } from 'react-router';

import { LanguageSwitch, LookSwitch } from '../parts/Switches';
import { signInUrl } from '../session';

export default function Welcome() {
  const { t, i18n } = useTranslation();
  const location = useLocation();
  const [search] = useSearchParams();
  const problem = location.pathname === '/sign-in' ? search.get('problem') : null;
  const back = location.pathname === '/sign-in' ? '/' : location.pathname + location.search;
  return (
    <main className="welcome">
      <Card className="welcome-card">
        <Flex vertical gap="large" align="center">
          <img src="/favicon.svg" alt="" />
          <div>
            <Typography.Title level={1}>Gantry</Typography.Title>
            <Typography.Text type="secondary">{t('welcome.tagline')}</Typography.Text>
          </div>
          {problem && <Alert type="error" showIcon role="alert" title={t('welcome.failed')} description={problem} className="full" />}
          <Button type="primary" size="large" block icon={<KeyOutlined />} href={signInUrl(back, i18n.language)} id="sign-in">
            {t('welcome.signIn')}
          </Button>
          <Button type="link" href="/register">
            {t('welcome.register')}
          </Button>
          <Flex gap="small">
            <LanguageSwitch />
            <LookSwitch />
          </Flex>
        </Flex>
      </Card>
    </main>
  );
}
