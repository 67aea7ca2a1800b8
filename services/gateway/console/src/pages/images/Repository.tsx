// One repository: its tags, and who moved or deleted which tag when, with the way back.

import { Flex, Input, Tag as Label, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { registry, type Change, type Tag } from '../../api/registry';
import { PageHeader, Time } from '../../parts/basics';
import { AskButton, DeleteButton } from '../../parts/dialogs';
import { bytes, short } from '../../parts/format';
import { useFilters } from '../../parts/listing';
import { useNames } from '../../parts/names';
import { PagedTable, usePaged } from '../../parts/paged';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';
import { PageTabs } from '../../parts/tabs';
import { to } from '../../place';
import { Summary } from './Summary';
import { useClear } from '../../parts/clear';

interface Place {
  org: string;
  project: string;
  repository: string;
}

export default function Repository() {
  const { t } = useTranslation();
  const params = useParams();
  const place = { org: params.org!, project: params.project!, repository: params.repository! };
  return (
    <>
      <PageHeader title={place.repository} sub={<Link to={to.images(place.org, place.project)}>{`${place.org}/${place.project}`}</Link>} />
      <PageTabs
        items={[
          { key: 'tags', label: t('images.tags'), children: <Tags {...place} /> },
          { key: 'history', label: t('images.history'), children: <History {...place} /> },
        ]}
      />
    </>
  );
}

function Tags({ org, project, repository }: Place) {
  const { t } = useTranslation();
  const clear = useClear();
  const [{ q }, filter] = useFilters(['q']);
  const query = usePaged<Tag>(['tags', org, project, repository], registry.tags(org, project, repository), { interval: 10_000, query: q ? { q } : {} });
  const may = useMay('images.delete', { org, project });
  const names = useNames(query.items.map((tag) => tag.pushed_by));
  const remove = useAction((tag: string) => registry.removeTag(org, project, repository, tag), { done: t('images.deleted'), refresh: [['tags', org, project, repository], ['images', org, project], ['history', org, project, repository]] });
  const reference = `${window.location.host}/${org}/${project}/${repository}`;
  return (
    <>
      <Flex className="toolbar">
        <Input.Search allowClear={clear} enterButton={t('audit.search')} aria-label={t('find.tags')} placeholder={t('find.tags')} className="filter" defaultValue={q} onSearch={(text) => filter({ q: text.trim() })} />
      </Flex>
      <PagedTable<Tag>
        label={t('images.tags')}
        query={query}
        rowKey="tag"
        empty={t('images.noTags')}
        columns={[
          { title: t('images.tag'), dataIndex: 'tag', render: (tag: string, one) => <Link to={to.digest(org, project, repository, one.digest)}>{tag}</Link> },
          {
            title: t('images.digest'),
            dataIndex: 'digest',
            render: (digest: string, one) => (
              <Typography.Text className="mono" copyable={{ text: `${reference}:${one.tag}@${digest}`, tooltips: [t('images.copyReference'), t('common.copied')] }}>
                {short(digest)}
              </Typography.Text>
            ),
          },
          { title: t('images.size'), dataIndex: 'size_bytes', render: (size: number) => bytes(size) },
          {
            title: t('images.platforms'),
            dataIndex: 'platforms',
            render: (list: string[]) => (
              <Flex gap={4} wrap>
                {list.map((one) => (
                  <Label key={one}>{one}</Label>
                ))}
              </Flex>
            ),
          },
          { title: t('images.scan'), dataIndex: 'scan', render: (_, tag) => <Summary scan={tag.scan} /> },
          { title: t('images.pushedBy'), dataIndex: 'pushed_by', render: (by: string) => names(by) },
          { title: t('images.pushed'), dataIndex: 'pushed_at', render: (at: string) => <Time at={at} /> },
          { title: t('common.actions'), render: (_, tag) => may && <DeleteButton name={tag.tag} ask={t('images.confirmDelete', { tag: tag.tag })} onConfirm={() => remove.mutate(tag.tag)} /> },
        ]}
      />
    </>
  );
}

function History({ org, project, repository }: Place) {
  const { t } = useTranslation();
  const clear = useClear();
  const [tag, setTag] = useState('');
  const key = ['history', org, project, repository];
  const query = usePaged<Change>(key, registry.history(org, project, repository), { query: { tag } });
  const may = useMay('images.write', { org, project });
  const names = useNames(query.items.map((change) => change.by));
  const restore = useAction((change: Change) => registry.restoreTag(org, project, repository, change.tag, change.digest), { done: t('images.restored'), refresh: [key, ['tags', org, project, repository], ['images', org, project]] });
  const image = (digest: string | null) =>
    digest ? (
      <Link className="mono" to={to.digest(org, project, repository, digest)}>
        {short(digest)}
      </Link>
    ) : (
      '–'
    );
  return (
    <>
      <Flex className="toolbar">
        <Input.Search allowClear={clear} enterButton={t('audit.search')} aria-label={t('images.tag')} placeholder={t('images.tag')} className="filter" onSearch={(text) => setTag(text.trim())} />
      </Flex>
      <PagedTable<Change>
        label={t('images.history')}
        query={query}
        rowKey={(change) => `${change.at}/${change.tag}/${change.action}`}
        empty={t('images.noHistory')}
        columns={[
          { title: t('audit.when'), dataIndex: 'at', render: (at: string) => <Time at={at} /> },
          { title: t('images.tag'), dataIndex: 'tag' },
          { title: t('images.happened'), dataIndex: 'action', render: (action: Change['action'], change) => <Label color={action === 'deleted' ? 'red' : 'blue'}>{t(action === 'deleted' ? 'images.wasDeleted' : change.previous ? 'images.wasMoved' : 'images.wasMade')}</Label> },
          { title: t('images.digest'), dataIndex: 'digest', render: image },
          { title: t('images.previous'), dataIndex: 'previous', render: image },
          { title: t('images.pushedBy'), dataIndex: 'by', render: (by: string) => names(by) },
          { title: t('common.actions'), render: (_, change) => may && <AskButton ask={t('images.confirmRestore', { tag: change.tag, digest: short(change.digest) })} label={t('images.restore')} loading={restore.isPending && restore.variables === change} onConfirm={() => restore.mutate(change)} /> },
        ]}
      />
    </>
  );
}
