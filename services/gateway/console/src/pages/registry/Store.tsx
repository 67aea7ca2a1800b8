// The store of all images: collecting what no image needs, and what checking found damaged.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import { get } from '../../api/http';
import { registry, type Collection, type Damage } from '../../api/registry';
import { Answer, DataTable, PageHeader, Time } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { bytes, duration, short } from '../../parts/format';
import { useNames } from '../../parts/names';
import { useAction, useList } from '../../parts/query';

export default function Store() {
  const { t } = useTranslation();
  return (
    <>
      <PageHeader title={t('menu.store')} sub={t('registry.storeSub')} />
      <div className="stack">
        <Collections />
        <Checks />
      </div>
    </>
  );
}

function Collections() {
  const { t, i18n } = useTranslation();
  const query = useList<Collection>(['collections'], registry.collections, { interval: 30_000 });
  const names = useNames(query.items.map((one) => one.by));
  const collect = useAction(registry.collect, { done: t('registry.collected'), refresh: [['collections']] });
  return (
    <Card
      title={t('registry.collections')}
      extra={
        <Flex gap="small">
          <Button loading={collect.isPending && collect.variables} onClick={() => collect.mutate(true)}>
            {t('deploy.dryRun')}
          </Button>
          <AskButton size="middle" loading={collect.isPending && !collect.variables} ask={t('registry.confirmCollect')} label={t('registry.collect')} onConfirm={() => collect.mutate(false)} />
        </Flex>
      }
    >
      <DataTable<Collection>
        label={t('registry.collections')}
        query={query}
        rowKey="at"
        empty={t('registry.noCollections')}
        columns={[
          { title: t('audit.when'), dataIndex: 'at', render: (at: string) => <Time at={at} /> },
          { title: t('images.pushedBy'), dataIndex: 'by', render: (by: string) => names(by) },
          { title: t('common.state'), dataIndex: 'dry_run', render: (dry: boolean) => <Tag color={dry ? 'default' : 'green'}>{t(dry ? 'deploy.dryRun' : 'registry.freed')}</Tag> },
          { title: t('registry.blobs'), dataIndex: 'blobs' },
          { title: t('registry.uploads'), dataIndex: 'uploads' },
          { title: t('images.size'), dataIndex: 'bytes', render: (size: number) => bytes(size) },
          { title: t('runs.took'), dataIndex: 'took_ms', render: (ms: number) => duration(ms, i18n.language) },
        ]}
      />
    </Card>
  );
}

function Checks() {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['damage'], queryFn: () => get<Damage>(registry.damage), refetchInterval: 10_000 });
  const check = useAction(registry.check, { done: t('registry.checking'), refresh: [['damage']] });
  return (
    <Card
      title={t('registry.damage')}
      extra={
        <Button loading={check.isPending} onClick={() => check.mutate()}>
          {t('registry.check')}
        </Button>
      }
    >
      <Answer query={query}>
        {() => (
          <div className="stack">
            {query.data!.waiting > 0 && <Alert type="info" showIcon title={t('registry.waiting', { count: query.data!.waiting })} />}
            <DataTable<Damage['items'][number]>
              label={t('registry.damage')}
              query={{ ...query, items: query.data!.items }}
              rowKey={(one) => `${one.digest}/${one.image ?? ''}`}
              empty={t('registry.noDamage')}
              columns={[
                { title: t('images.digest'), dataIndex: 'digest', render: (digest: string) => <span className="mono">{short(digest)}</span> },
                { title: t('registry.repository'), dataIndex: 'repository', render: (name: string | null) => name ?? '–' },
                { title: t('images.tags'), dataIndex: 'tags', render: (tags: string[]) => tags.join(', ') },
                { title: t('images.size'), dataIndex: 'size_bytes', render: (size: number) => bytes(size) },
                { title: t('audit.when'), dataIndex: 'found_at', render: (at: string) => <Time at={at} /> },
              ]}
            />
          </div>
        )}
      </Answer>
    </Card>
  );
}
