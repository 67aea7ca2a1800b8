// What protects one organisation: its policy, provisioning from a directory (SCIM), and outside systems it trusts.

import { lazy } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { PageHeader } from '../../parts/basics';
import { PolicyForm } from '../../parts/PolicyForm';
import { PageTabs } from '../../parts/tabs';
import { to } from '../../place';

const Authorities = lazy(() => import('./Authorities'));
const SignInPages = lazy(() => import('./SignInPages'));
const Scim = lazy(() => import('./Scim'));
const Issuers = lazy(() => import('../security/Issuers'));
const Sets = lazy(() => import('../security/Sets'));
const Registrations = lazy(() => import('../security/Registrations'));

export default function Protection() {
  const { t } = useTranslation();
  const org = useParams().org!;
  return (
    <>
      <PageHeader title={t('protection.orgTitle')} sub={<Link to={to.org(org)}>{org}</Link>} />
      <PageTabs
        items={[
          { key: 'policy', label: t('protection.policy'), children: <PolicyForm org={org} /> },
          { key: 'branding', label: t('branding.tab'), children: <SignInPages org={org} /> },
          { key: 'authorities', label: t('certificates.authorities'), children: <Authorities org={org} /> },
          { key: 'scim', label: t('protection.scim'), children: <Scim org={org} /> },
          { key: 'issuers', label: t('protection.issuers'), children: <Issuers org={org} /> },
          { key: 'registrations', label: t('protection.registrations'), children: <Registrations org={org} /> },
          { key: 'sets', label: t('sets.tab'), children: <Sets org={org} /> },
        ]}
      />
    </>
  );
}
