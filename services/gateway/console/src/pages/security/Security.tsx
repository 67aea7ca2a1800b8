// What protects the whole platform: its policy, the keys that sign, and how programs and machines come in.

import { lazy } from 'react';
import { useTranslation } from 'react-i18next';

import { PageHeader } from '../../parts/basics';
import { PolicyForm } from '../../parts/PolicyForm';
import { PageTabs } from '../../parts/tabs';
import { VerifyRecord } from './VerifyRecord';

const Keys = lazy(() => import('./Keys'));
const Issuers = lazy(() => import('./Issuers'));
const Registrations = lazy(() => import('./Registrations'));
const Sets = lazy(() => import('./Sets'));
const Machines = lazy(() => import('./Machines'));

export default function Security() {
  const { t } = useTranslation();
  return (
    <>
      <PageHeader title={t('menu.security')} sub={t('protection.sub')} actions={<VerifyRecord />} />
      <PageTabs
        items={[
          { key: 'policy', label: t('protection.policy'), children: <PolicyForm /> },
          { key: 'keys', label: t('protection.keys'), children: <Keys /> },
          { key: 'issuers', label: t('protection.issuers'), children: <Issuers /> },
          { key: 'registrations', label: t('protection.registrations'), children: <Registrations /> },
          { key: 'machines', label: t('protection.machines'), children: <Machines /> },
          { key: 'sets', label: t('sets.tab'), children: <Sets /> },
        ]}
      />
    </>
  );
}
