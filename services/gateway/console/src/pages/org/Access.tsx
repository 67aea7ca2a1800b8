// Who belongs to an organisation and what they may do in it.

import { lazy } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { PageHeader } from '../../parts/basics';
import { useMay } from '../../parts/may';
import { PageTabs } from '../../parts/tabs';
import { to } from '../../place';

const Members = lazy(() => import('./Members'));
const Invitations = lazy(() => import('./Invitations'));
const Rights = lazy(() => import('./Rights'));
const Teams = lazy(() => import('./Teams'));
const Roles = lazy(() => import('./Roles'));
const Accounts = lazy(() => import('./Accounts'));
const Matrix = lazy(() => import('./Matrix'));
const WhoCan = lazy(() => import('./WhoCan'));

export default function Access() {
  const { t } = useTranslation();
  const org = useParams().org!;
  const admin = useMay('identity.admin', { org });
  return (
    <>
      <PageHeader title={t('access.title')} sub={<Link to={to.org(org)}>{org}</Link>} />
      <PageTabs
        items={[
          { key: 'members', label: t('org.members'), children: <Members org={org} /> },
          ...(admin ? [{ key: 'invitations', label: t('access.invitations'), children: <Invitations org={org} /> }] : []),
          { key: 'rights', label: t('org.rights'), children: <Rights org={org} /> },
          { key: 'teams', label: t('access.teams'), children: <Teams org={org} /> },
          { key: 'roles', label: t('access.roles'), children: <Roles org={org} /> },
          { key: 'accounts', label: t('access.accounts'), children: <Accounts org={org} /> },
          { key: 'matrix', label: t('access.matrix'), children: <Matrix org={org} /> },
          { key: 'who-can', label: t('access.whoCan'), children: <WhoCan org={org} /> },
        ]}
      />
    </>
  );
}
