// Image repositories of a project: what they hold and take, and what the scan of the newest image found.

import { SearchOutlined, SettingOutlined } from '@ant-design/icons';
import { Flex, Input, Tag as Label, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { registry, type Image } from '../../api/registry';
import { DataTable, LinkButton, PageHeader, Time } from '../../parts/basics';
import { bytes } from '../../parts/format';
import { useLiveList } from '../../parts/query';
import { to } from '../../place';
import { Summary } from './Summary';
import { useClear } from '../../parts/clear';

export default function Images() {
  const { t } = useTranslation();
  const clear = useClear();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const query = useLiveList<Image>(['images', org, project], registry.images(org, project), { query: { limit: 500 } });
  const [q, setQ] = useState('');
  const items = query.items.filter((image) => image.repository.includes(q.trim().toLowerCase()));
  return (
    <>
      <PageHeader
        title={t('menu.images')}
        sub={`${org}/${project}`}
        live={query.live}
        actions={
          <>
            <LinkButton icon={<SearchOutlined />} to={to.findImages(q.trim())}>
              {t('find.link')}
            </LinkButton>
            <LinkButton icon={<SettingOutlined />} to={to.registry(org, project)}>
              {t('images.rules')}
            </LinkButton>
          </>
        }
      />
      {query.items.length > 5 && (
        <Flex className="toolbar">
          <Input allowClear={clear} aria-label={t('images.filter')} placeholder={t('images.filter')} className="filter" value={q} onChange={(event) => setQ(event.target.value)} />
        </Flex>
      )}
      <DataTable<Image>
        label={t('menu.images')}
        query={{ ...query, items }}
        rowKey="name"
        empty={t('images.empty', { registry: window.location.host, place: `${org}/${project}` })}
        columns={[
          { title: t('common.name'), dataIndex: 'repository', render: (name: string) => <Link to={to.image(org, project, name)}>{name}</Link> },
          {
            title: t('images.reference'),
            render: (_, image) => (
              <Typography.Text code copyable={{ text: `${image.reference}:${image.tags[0]?.tag ?? 'latest'}`, tooltips: [t('common.copy'), t('common.copied')] }}>
                {image.reference}
              </Typography.Text>
            ),
          },
          {
            title: t('images.tags'),
            render: (_, image) => (
              <Flex gap={4} wrap>
                {image.tags.slice(0, 3).map((tag) => (
                  <Label key={tag.tag}>{tag.tag}</Label>
                ))}
                {image.tag_count > 3 && <span>{`+${image.tag_count - 3}`}</span>}
              </Flex>
            ),
          },
          { title: t('images.platforms'), dataIndex: 'platforms', render: (list: string[]) => list.join(', ') },
          { title: t('images.size'), render: (_, image) => bytes(image.size_bytes) },
          { title: t('images.stored'), render: (_, image) => bytes(image.stored_bytes) },
          { title: t('images.scan'), render: (_, image) => <Summary scan={image.scan} /> },
          { title: t('images.pushed'), render: (_, image) => <Time at={image.pushed_at} /> },
        ]}
      />
    </>
  );
}
