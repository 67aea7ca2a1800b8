// How much a project's images take, counted both ways, its limit, and what scanning adds to each image.

import { useQuery } from '@tanstack/react-query';
import { Button, Card, Flex, InputNumber, Progress, Select, Statistic, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { get } from '../../api/http';
import { registry, type StorageUsage } from '../../api/registry';
import { Answer } from '../../parts/basics';
import { bytes } from '../../parts/format';
import { useAction } from '../../parts/query';
import { settingsKey, type Props } from './Registry';

const GIB = 1024 ** 3;

export default function Storage({ base, settings }: Props) {
  return (
    <div className="stack">
      <Usage base={base} settings={settings} />
      <Scanning base={base} settings={settings} />
      <Wanted base={base} settings={settings} />
    </div>
  );
}

function Usage({ base, settings }: Props) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['registry-usage', base], queryFn: () => get<StorageUsage>(registry.usage(base)), refetchInterval: 15_000 });
  const present = settings.quota_bytes === null || settings.quota_bytes === undefined ? null : settings.quota_bytes / GIB;
  const [limit, setLimit] = useState<number | null>(present);
  const save = useAction((gib: number | null) => registry.setQuota(base, gib === null ? null : Math.round(gib * GIB)), { done: t('parts.saved'), refresh: [settingsKey(base), ['registry-usage', base]] });
  return (
    <Card title={t('registry.storage')}>
      <Answer query={query}>
        {() => {
          const { images, image_bytes, unique_bytes, quota_bytes } = query.data!;
          return (
            <div className="stack">
              <div className="grid-narrow">
                <Statistic title={t('registry.images')} value={images} />
                <Statistic title={t('registry.unique')} value={bytes(unique_bytes)} />
                <Statistic title={t('registry.sum')} value={bytes(image_bytes)} />
                <Statistic title={t('registry.shared')} value={bytes(Math.max(0, image_bytes - unique_bytes))} />
              </div>
              {quota_bytes ? <Progress aria-label={t('registry.quota')} percent={Math.min(100, Math.round((unique_bytes / quota_bytes) * 100))} status={unique_bytes >= quota_bytes ? 'exception' : 'normal'} /> : null}
              <Typography.Text type="secondary">{t('registry.uniqueHelp')}</Typography.Text>
            </div>
          );
        }}
      </Answer>
      <Flex gap="small" align="center" wrap style={{ marginTop: 16 }}>
        <label htmlFor="registry-quota">{t('registry.quota')}</label>
        <InputNumber id="registry-quota" min={0} step={1} suffix="GiB" placeholder={t('parts.none')} value={limit} onChange={setLimit} style={{ width: 160 }} />
        <Button disabled={limit === present} loading={save.isPending} onClick={() => save.mutate(limit)}>
          {t('common.save')}
        </Button>
        <Typography.Text type="secondary">{t('quota.help')}</Typography.Text>
      </Flex>
    </Card>
  );
}

function Scanning({ base, settings }: Props) {
  const { t } = useTranslation();
  const save = useAction((attach: string | null) => registry.setScanning(base, attach), { done: t('parts.saved'), refresh: [settingsKey(base)] });
  return (
    <Card title={t('registry.scanning')}>
      <Flex gap="small" align="center" wrap>
        <label htmlFor="registry-sbom">{t('registry.attach')}</label>
        <Select
          id="registry-sbom"
          style={{ width: 180 }}
          value={settings.scanning.attach_sbom ?? ''}
          loading={save.isPending}
          onChange={(value: string) => save.mutate(value === '' ? null : value)}
          options={[
            { value: '', label: t('parts.none') },
            { value: 'cyclonedx', label: 'CycloneDX' },
            { value: 'spdx', label: 'SPDX' },
          ]}
        />
      </Flex>
    </Card>
  );
}

function Wanted({ base, settings }: Props) {
  const { t } = useTranslation();
  const save = useAction((wanted: string[]) => registry.setPlatforms(base, wanted), { done: t('parts.saved'), refresh: [settingsKey(base)] });
  return (
    <Card title={t('platforms.wanted')}>
      <Flex vertical gap="small">
        <Select
          mode="tags"
          aria-label={t('platforms.wanted')}
          style={{ maxWidth: 480 }}
          value={settings.wanted_platforms}
          loading={save.isPending}
          onChange={(wanted: string[]) => save.mutate(wanted)}
          options={['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/riscv64', 'linux/s390x', 'linux/ppc64le', 'windows/amd64'].map((value) => ({ value, label: value }))}
        />
        <Typography.Text type="secondary">{t('platforms.wantedHelp')}</Typography.Text>
      </Flex>
    </Card>
  );
}
