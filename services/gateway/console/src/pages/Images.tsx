// Images of a project: repositories, their tags, and what the scan found.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Drawer, Flex, Popconfirm, Table, Tag as Label, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { get } from '../api/http';
import { registry, type Finding, type Image, type ScanReport, type ScanSummary, type Tag } from '../api/registry';
import { Answer, DataTable, PageHeader, Time } from '../parts/basics';
import { bytes, short } from '../parts/format';
import { useNames } from '../parts/names';
import { useAction, useLiveList } from '../parts/query';

interface Chosen {
  repository: string;
  digest: string;
}

export default function Images() {
  const { t } = useTranslation();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const key = ['images', org, project];
  const query = useLiveList<Image>(key, registry.images(org, project));
  const names = useNames(query.items.flatMap((image) => image.tags.map((tag) => tag.pushed_by)));
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const remove = useAction((input: { repository: string; tag: string }) => registry.removeTag(org, project, input.repository, input.tag), { done: t('images.deleted'), refresh: [key] });
  return (
    <>
      <PageHeader title={t('menu.images')} sub={`${org}/${project}`} live={query.live} />
      <DataTable<Image>
        label={t('menu.images')}
        query={query}
        rowKey="name"
        empty={t('images.empty', { registry: window.location.host, place: `${org}/${project}` })}
        columns={[
          { title: t('common.name'), dataIndex: 'repository' },
          {
            title: t('images.reference'),
            render: (_, image) => (
              <Typography.Text code copyable={{ text: `${image.reference}:${image.tags[0]?.tag ?? 'latest'}`, tooltips: [t('common.copy'), t('common.copied')] }}>
                {image.reference}
              </Typography.Text>
            ),
          },
          { title: t('images.tags'), render: (_, image) => image.tags.length },
          { title: t('images.size'), render: (_, image) => bytes(image.size_bytes) },
          { title: t('images.stored'), render: (_, image) => bytes(image.stored_bytes) },
          { title: t('images.scan'), render: (_, image) => <Summary scan={image.scan} /> },
          { title: t('images.pushed'), render: (_, image) => <Time at={image.pushed_at} /> },
        ]}
        expandable={{
          defaultExpandAllRows: true,
          expandedRowRender: (image) => (
            <Table<Tag>
              size="small"
              aria-label={image.repository}
              rowKey="tag"
              pagination={false}
              dataSource={image.tags}
              columns={[
                { title: t('images.tag'), dataIndex: 'tag' },
                { title: t('images.digest'), dataIndex: 'digest', render: (digest: string) => <span className="mono">{short(digest)}</span> },
                { title: t('images.size'), dataIndex: 'size_bytes', render: (size: number) => bytes(size) },
                { title: t('images.platforms'), dataIndex: 'platforms', render: (list: string[]) => list.map((one) => <Label key={one}>{one}</Label>) },
                { title: t('images.pushedBy'), dataIndex: 'pushed_by', render: (by: string) => names(by) },
                { title: t('images.pushed'), dataIndex: 'pushed_at', render: (at: string) => <Time at={at} /> },
                {
                  title: t('images.scan'),
                  render: (_, tag) =>
                    tag.scan ? (
                      <Button size="small" type="link" aria-label={t('images.showScan', { tag: tag.tag })} onClick={() => setChosen({ repository: image.repository, digest: tag.digest })}>
                        <Summary scan={tag.scan} />
                      </Button>
                    ) : (
                      <Summary scan={null} />
                    ),
                },
                {
                  title: t('common.actions'),
                  render: (_, tag) => (
                    <Popconfirm title={t('images.confirmDelete', { tag: tag.tag })} okText={t('common.delete')} cancelText={t('common.cancel')} onConfirm={() => remove.mutate({ repository: image.repository, tag: tag.tag })}>
                      <Button size="small">{t('common.delete')}</Button>
                    </Popconfirm>
                  ),
                },
              ]}
            />
          ),
        }}
      />
      <Drawer open={chosen !== null} onClose={() => setChosen(null)} size="large" title={t('images.scanOf', { digest: short(chosen?.digest) })} destroyOnHidden>
        {chosen && <Report org={org} project={project} {...chosen} />}
      </Drawer>
    </>
  );
}

const COLOURS: [keyof ScanSummary, string][] = [
  ['critical', 'red'],
  ['high', 'volcano'],
  ['medium', 'orange'],
  ['low', 'gold'],
  ['unknown', 'default'],
];

function Summary({ scan }: { scan: ScanSummary | null }) {
  const { t } = useTranslation();
  if (!scan) return <Label>{t('images.notScanned')}</Label>;
  const found = COLOURS.filter(([key]) => Number(scan[key]) > 0);
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

function Report({ org, project, repository, digest }: Chosen & { org: string; project: string }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['scan', org, project, repository, digest], queryFn: () => get<ScanReport>(registry.scan(org, project, repository, digest)) });
  return (
    <Answer query={query}>
      {() => {
        const report = query.data!;
        return (
          <div className="stack">
            <Typography.Text>
              {report.system || t('images.unknownSystem')} · {t('images.packages', { count: report.summary.packages })} · {t('images.database', { name: report.summary.database })} · <Time at={report.summary.at} />
            </Typography.Text>
            {report.notes.map((note) => (
              <Alert key={note} type="warning" showIcon title={note} />
            ))}
            <Table<Finding>
              size="small"
              aria-label={t('images.findings')}
              rowKey={(one) => `${one.id}/${one.package}`}
              dataSource={report.findings}
              locale={{ emptyText: t('images.nothing') }}
              pagination={report.findings.length > 20 ? { pageSize: 20 } : false}
              columns={[
                { title: t('images.severity'), dataIndex: 'severity', render: (level: string) => <Label color={COLOURS.find(([key]) => key === level)?.[1]}>{t(`severity.${level}`, { defaultValue: level })}</Label> },
                { title: t('images.advisory'), render: (_, one) => [one.id, ...one.aliases].join(', ') },
                { title: t('images.package'), render: (_, one) => `${one.package} ${one.installed_version}` },
                { title: t('images.fixed'), dataIndex: 'fixed_version', render: (version: string | null) => version ?? '–' },
              ]}
            />
          </div>
        );
      }}
    </Answer>
  );
}
