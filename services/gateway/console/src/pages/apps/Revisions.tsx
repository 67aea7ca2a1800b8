// What was deployed, newest first: by whom, why, what differed; comparing two, and going back to one.

import { Button, Flex, Modal, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { scheduler, type Revision } from '../../api/scheduler';
import { DataTable, EmptyState, LinkButton, Time } from '../../parts/basics';
import { Diff } from '../../parts/Diff';
import { short } from '../../parts/format';
import { useMay } from '../../parts/may';
import { useNames } from '../../parts/names';
import { useAction, useList } from '../../parts/query';
import { long } from '../../parts/long';
import { to } from '../../place';
import { Compare, Difference } from './Compare';
import { AskedForesight } from './Foresight';

export default function Revisions({ url }: { url: string }) {
  const { t } = useTranslation();
  const params = useParams();
  const query = useList<Revision>(['revisions', url], `${url}/revisions`, { interval: 15_000 });
  const names = useNames(query.items.map((one) => one.author));
  const write = useMay('apps.write', { org: params.org, project: params.project, space: params.space });
  const [back, setBack] = useState<number | null>(null);
  const current = query.items.find((one) => one.current)?.revision;
  const rollback = useAction((revision: number) => scheduler.rollback(url, revision), { done: t('apps.rolledBack'), refresh: [['revisions', url], ['app', url]], onDone: () => setBack(null) });
  return (
    <div className="stack">
      <DataTable<Revision>
        label={t('apps.revisions')}
        query={query}
        rowKey="revision"
        empty={t('apps.noRevisions')}
        expandable={{
          expandedRowRender: (one) => (one.diff.length === 0 ? <EmptyState text={t('apps.noDiff')} /> : <Diff lines={one.diff} label={t('revision.changes', { revision: one.revision })} />),
        }}
        columns={[
          {
            title: t('apps.revision'),
            render: (_, one) => (
              <Flex gap={4}>
                {one.revision}
                {one.current && <Tag color="green">{t('apps.current')}</Tag>}
              </Flex>
            ),
          },
          { title: t('apps.format'), dataIndex: 'format' },
          {
            title: t('apps.images'),
            render: (_, one) => (
              <Flex vertical>
                {one.images.map((image) => (
                  <Typography.Text key={image} className="mono">
                    {image.includes('@') ? `${image.split('@')[0]}@${short(image.split('@')[1])}` : image}
                  </Typography.Text>
                ))}
              </Flex>
            ),
          },
          { title: t('apps.reason'), dataIndex: 'reason', render: long },
          { title: t('apps.author'), render: (_, one) => names(one.author) },
          { title: t('common.created'), render: (_, one) => <Time at={one.at} /> },
          {
            title: t('common.actions'),
            render: (_, one) => (
              <Flex gap={4}>
                {write && (
                  <LinkButton small to={`${to.deploy(params.org!, params.project!, params.space!, params.app)}&revision=${one.revision}`}>
                    {t('revision.edit')}
                  </LinkButton>
                )}
                {write && !one.current && (
                  <Button size="small" onClick={() => setBack(one.revision)}>
                    {t('apps.rollback')}
                  </Button>
                )}
              </Flex>
            ),
          },
        ]}
      />
      {query.items.length > 1 && <Compare key={query.items[0]!.revision} url={url} revisions={query.items} />}
      <Modal
        open={back !== null}
        title={t('apps.confirmRollback', { revision: back })}
        width={760}
        okText={t('apps.rollback')}
        cancelText={t('common.cancel')}
        confirmLoading={rollback.isPending}
        onOk={() => rollback.mutate(back!)}
        onCancel={() => setBack(null)}
        destroyOnHidden
      >
        <p>{t('revision.wouldChange')}</p>
        {back !== null && current !== undefined && <Difference url={url} from={current} to={back} />}
        {back !== null && <AskedForesight name={[url, 'rollback', back]} ask={() => scheduler.tryRollback(url, back)} />}
      </Modal>
    </div>
  );
}
