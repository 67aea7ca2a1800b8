// The own account: profile, security, sessions, tokens and connected applications.

import { lazy } from 'react';
import { useTranslation } from 'react-i18next';

import { PageHeader } from '../../parts/basics';
import { PageTabs } from '../../parts/tabs';
import { useSession } from '../../session';

const Profile = lazy(() => import('./Profile'));
const Security = lazy(() => import('./Security'));
const Sessions = lazy(() => import('./Sessions'));
const Tokens = lazy(() => import('./Tokens'));
const Applications = lazy(() => import('./Applications'));

export default function Account() {
  const { t } = useTranslation();
  const { user } = useSession();
  return (
    <>
      <PageHeader title={t('account.title')} sub={user?.username} />
      <PageTabs
        items={[
          { key: 'profile', label: t('account.profile'), children: <Profile /> },
          { key: 'security', label: t('account.security'), children: <Security /> },
          { key: 'sessions', label: t('account.sessions'), children: <Sessions /> },
          { key: 'tokens', label: t('account.tokens'), children: <Tokens /> },
          { key: 'applications', label: t('account.applications'), children: <Applications /> },
        ]}
      />
    </>
  );
}
