// What a scan found, in counts by severity.

import { Flex, Tag as Label } from 'antd';
import { useTranslation } from 'react-i18next';

import type { ScanSummary } from '../../api/registry';

export const SEVERITIES: [keyof ScanSummary & string, string][] = [
  ['critical', 'red'],
  ['high', 'volcano'],
  ['medium', 'orange'],
  ['low', 'gold'],
  ['unknown', 'default'],
];

export function Severity({ level }: { level: string }) {
  const { t } = useTranslation();
  return <Label color={SEVERITIES.find(([key]) => key === level)?.[1]}>{t(`severity.${level}`, { defaultValue: level })}</Label>;
}

export function Summary({ scan }: { scan: ScanSummary | null }) {
  const { t } = useTranslation();
  if (!scan) return <Label>{t('images.notScanned')}</Label>;
  const found = SEVERITIES.filter(([key]) => Number(scan[key]) > 0);
  if (found.length === 0) return <Label color={scan.database === 'none' ? 'default' : 'green'}>{t(scan.database === 'none' ? 'images.noAdvisories' : 'images.clean', { packages: scan.packages })}</Label>;
  return (
    <Flex gap={4} component="span">
      {found.map(([key, colour]) => (
        <Label key={key} color={colour}>
          {t(`severity.${key}`)} {scan[key]}
        </Label>
      ))}
    </Flex>
  );
}
