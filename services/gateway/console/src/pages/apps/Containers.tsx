// Which container of an instance, where it has several.

import { Flex, Select } from 'antd';
import { useTranslation } from 'react-i18next';

import type { Instance } from '../../api/scheduler';

export function Containers({ of, value, onChange }: { of: Instance; value?: string; onChange: (name?: string) => void }) {
  const { t } = useTranslation();
  if (!of.containers || of.containers.length === 0) return null;
  return (
    <Flex gap="small" align="center" wrap>
      {t('terminal.container')}
      <Select
        aria-label={t('terminal.container')}
        title={t('terminal.containerHelp')}
        style={{ minWidth: 180 }}
        value={value ?? ''}
        onChange={(name) => onChange(name === '' ? undefined : name)}
        options={[{ value: '', label: t('terminal.main') }, ...of.containers.map((name) => ({ value: name, label: name }))]}
      />
    </Flex>
  );
}
