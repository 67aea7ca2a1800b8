// Whose things a page lists: everybody's, for the platform's administrators, or those of one organisation that one administers.

import { Flex, Select } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { useAdministered } from './me';

/** The organisation that is looked at (empty: all), of those in `own`. `enabled`: there is something to ask for. */
export function useOwner() {
  const { admin, own, first, none } = useAdministered();
  const [chosen, choose] = useState<string>();
  const org = chosen ?? (admin ? '' : (first ?? ''));
  return { admin, org, own, none, enabled: admin || org !== '', choose };
}

/** `everything`: what the platform's administrators see of no organisation in particular. */
export function OwnerBar({ owner, everything }: { owner: ReturnType<typeof useOwner>; everything: string }) {
  const { t } = useTranslation();
  const { admin, org, own, choose } = owner;
  return (
    <Flex className="toolbar">
      <Select
        aria-label={t('level.org')}
        style={{ minWidth: 220 }}
        value={org}
        onChange={choose}
        options={[...(admin ? [{ value: '', label: everything }] : []), ...own.map((name) => ({ value: name, label: name }))]}
      />
    </Flex>
  );
}
