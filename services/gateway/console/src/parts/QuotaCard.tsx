// Limits of an organisation or project, how much of them is used, and changing them.

import { useQuery } from '@tanstack/react-query';
import { Button, Card, Flex, Form, InputNumber, Modal, Progress, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { billing, type Limits, type Quota } from '../api/billing';
import { get } from '../api/http';
import { Answer } from './basics';
import { bytes, cpu } from './format';
import { useMay } from './may';
import { useAction } from './query';

const GIB = 1024 ** 3;

interface Kind {
  limit: keyof Limits;
  each?: keyof Limits;
  used: keyof Quota['used'];
  show: (value: number) => string;
  /** Units of the form in units of the API. */
  unit: number;
  suffix: string;
}

const KINDS: Kind[] = [
  { limit: 'cpu_millis', each: 'cpu_millis_per_container', used: 'cpu_millis', show: cpu, unit: 1000, suffix: '' },
  { limit: 'memory_bytes', each: 'memory_bytes_per_container', used: 'memory_bytes', show: bytes, unit: GIB, suffix: 'GiB' },
  { limit: 'storage_bytes', each: 'storage_bytes_per_container', used: 'storage_bytes', show: bytes, unit: GIB, suffix: 'GiB' },
  { limit: 'containers', used: 'containers', show: String, unit: 1, suffix: '' },
];

export function QuotaCard({ name, url }: { name: 'org' | 'project' | 'user'; url: string }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['quota', url], queryFn: () => get<Quota>(url), refetchInterval: 15_000 });
  // Limits of a project are its organisation's; those of organisations and people the platform's.
  const { org } = useParams();
  const may = useMay('billing.admin', name === 'project' ? { org } : {});
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<Record<string, number | null>>();
  const save = useAction((limits: Limits) => billing.setQuota(url, limits), { done: t('quota.saved'), refresh: [['quota', url]], onDone: () => setOpen(false) });
  const fields = KINDS.flatMap((kind) => [kind.limit, kind.each].filter((key) => key !== undefined).map((key) => ({ key, kind })));
  return (
    <Answer query={query}>
      {() => {
        const { limits, used, source } = query.data!;
        return (
          <Card
            title={
              <Flex gap="small" align="center">
                {t(`quota.of.${name}`)}
                <Tag>{t(`quota.source.${source}`)}</Tag>
              </Flex>
            }
            extra={
              may && (
                <Button
                  onClick={() => {
                    form.setFieldsValue(Object.fromEntries(fields.map(({ key, kind }) => [key, limits[key] == null ? null : limits[key] / kind.unit])));
                    setOpen(true);
                  }}
                >
                  {t('quota.change')}
                </Button>
              )
            }
          >
            <div className="grid">
              {KINDS.map((kind) => {
                const limit = limits[kind.limit];
                const each = kind.each && limits[kind.each];
                const now = used[kind.used] ?? 0;
                return (
                  <div key={kind.limit}>
                    <Typography.Text strong>{t(`quota.${kind.used}`)}</Typography.Text>
                    <Progress
                      aria-label={t(`quota.${kind.used}`)}
                      percent={limit ? Math.min(100, Math.round((now / limit) * 100)) : 0}
                      status={limit && now >= limit ? 'exception' : 'normal'}
                    />
                    <Typography.Text type="secondary">
                      {limit == null ? t('quota.usedUnlimited', { used: kind.show(now) }) : t('quota.usedOf', { used: kind.show(now), limit: kind.show(limit) })}
                      {each != null && ` · ${t('quota.each', { limit: kind.show(each) })}`}
                    </Typography.Text>
                  </div>
                );
              })}
            </div>
            <Modal open={open} title={t('quota.change')} okText={t('common.save')} cancelText={t('common.cancel')} confirmLoading={save.isPending} onCancel={() => setOpen(false)} onOk={() => form.submit()} forceRender>
              <Form
                form={form}
                layout="vertical"
                onFinish={(values) => save.mutate(Object.fromEntries(fields.map(({ key, kind }) => [key, values[key] == null ? null : Math.round(values[key] * kind.unit)])) as Limits)}
              >
                <Typography.Paragraph type="secondary">{t('quota.help')}</Typography.Paragraph>
                <div className="grid-narrow">
                  {fields.map(({ key, kind }) => (
                    <Form.Item key={key} name={key} label={t(`quota.field.${key}`)}>
                      <InputNumber min={0} step={kind.unit === 1 ? 1 : 0.5} suffix={kind.suffix} className="full" />
                    </Form.Item>
                  ))}
                </div>
              </Form>
            </Modal>
          </Card>
        );
      }}
    </Answer>
  );
}
