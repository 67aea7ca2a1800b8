// Images that a node fetches before an instance needs them: how they stand, and naming some.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Form, Input, Tag, Tooltip } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { aheadOf, setAhead, type Ahead } from '../../api/ahead';
import type { NodeItem } from '../../api/scheduler';
import { DataTable } from '../../parts/basics';
import { AskButton, FormDialog } from '../../parts/dialogs';
import { long } from '../../parts/long';
import { useAction } from '../../parts/query';

const COLOURS: Record<string, string> = { waiting: 'gold', pulling: 'blue', present: 'green', failed: 'red' };

/** `may`: whether to offer a change. */
export function AheadCard({ node, may }: { node: NodeItem; may: boolean }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const add = useAction((image: string) => setAhead(node.name, (kept) => [...kept, image]), { done: t('ahead.added'), refresh: [['nodes']], onDone: () => setOpen(false) });
  const drop = useAction((image: string) => setAhead(node.name, (kept) => kept.filter((one) => one !== image)), { done: t('ahead.removed'), refresh: [['nodes']] });
  const name = may && (
    <Button size="small" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
      {t('ahead.add')}
    </Button>
  );
  return (
    <Card title={t('ahead.title')} extra={name}>
      <DataTable<Ahead>
        size="small"
        label={t('ahead.title')}
        query={{ items: aheadOf(node), isPending: false, error: null, refetch: () => {} }}
        rowKey="image"
        empty={t('ahead.none')}
        columns={[
          {
            title: t('ahead.image'),
            render: (_, one) => (
              <Tooltip title={one.image}>
                <span className="mono">{one.image.replace(/@sha256:([0-9a-f]{12})[0-9a-f]+$/, '@$1')}</span>
              </Tooltip>
            ),
          },
          { title: t('common.state'), render: (_, one) => <Tag color={COLOURS[one.state ?? ''] ?? 'default'}>{t(`ahead.states.${one.state ?? 'unknown'}`, { defaultValue: one.state ?? '' })}</Tag> },
          { title: t('ahead.why'), render: (_, one) => t(one.kept ? 'ahead.kept' : 'ahead.wanted') },
          { title: t('apps.reason'), render: (_, one) => long(one.reason) },
          ...(may
            ? [
                {
                  title: t('common.actions'),
                  render: (_: unknown, one: Ahead) => one.kept && <AskButton ask={t('ahead.confirmRemove', { image: one.image })} label={t('common.remove')} loading={drop.isPending && drop.variables === one.image} onConfirm={() => drop.mutate(one.image)} />,
                },
              ]
            : []),
        ]}
      />
      <FormDialog<{ image: string }> open={open} title={t('ahead.add')} ok={t('common.save')} pending={add.isPending} error={add.error} onClose={() => setOpen(false)} onSubmit={({ image }) => add.mutate(image.trim())}>
        <Form.Item
          name="image"
          label={t('ahead.image')}
          extra={t('ahead.imageHelp')}
          rules={[
            { required: true, message: t('form.required') },
            { pattern: /^\s*\S+\s*$/, message: t('ahead.imageWrong') },
          ]}
        >
          <Input autoFocus maxLength={500} placeholder="acme/shop/web:2" />
        </Form.Item>
      </FormDialog>
    </Card>
  );
}
