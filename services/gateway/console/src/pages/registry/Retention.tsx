// Which tags stay. The simulator says what rules would do before they do it.

import { DeleteOutlined, PlusOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Flex, Form, Input, InputNumber, Select, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { registry, type RetentionPlan } from '../../api/registry';
import { EmptyState } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { useAction } from '../../parts/query';
import { PlanTable } from './PlanTable';
import { settingsKey, type Props } from './Registry';
import { formOf, KINDS, retentionOf, type RuleForm } from './keeping';

export default function Retention({ base, settings }: Props) {
  const { t } = useTranslation();
  const [form] = Form.useForm<RuleForm>();
  const [plan, setPlan] = useState<{ plan: RetentionPlan; done: boolean } | null>(null);
  const rules = Form.useWatch('rules', form);
  const simulate = useAction((values: RuleForm) => registry.simulate(base, retentionOf(values)), { onDone: (found) => setPlan({ plan: found, done: false }) });
  const save = useAction((values: RuleForm) => registry.setRetention(base, retentionOf(values)), { done: t('parts.saved'), refresh: [settingsKey(base)] });
  const run = useAction(() => registry.runRetention(base), { done: t('registry.applied'), refresh: [['images'], ['tags'], ['registry-usage', base]], onDone: (found) => setPlan({ plan: found, done: true }) });
  const checked = (then: (values: RuleForm) => void) => form.validateFields().then(then, () => {});
  return (
    <div className="stack">
      <Card title={t('registry.retention')}>
        <Typography.Paragraph type="secondary">{t('registry.retentionHelp')}</Typography.Paragraph>
        <Form<RuleForm> form={form} layout="vertical" initialValues={formOf(settings.retention)} onFinish={save.mutate}>
          <Form.List name="rules">
            {(fields, { add, remove }) => (
              <>
                {fields.length === 0 && <EmptyState text={t('registry.noRetention')} />}
                {fields.map((field) => (
                  <Flex key={field.key} gap="small" align="flex-end" wrap className="rule">
                    <Form.Item name={[field.name, 'repositories']} label={t('registry.repositories')}>
                      <Input placeholder="*" />
                    </Form.Item>
                    <Form.Item name={[field.name, 'tags']} label={t('registry.tags')}>
                      <Input placeholder="*" />
                    </Form.Item>
                    <Form.Item name={[field.name, 'label']} label={t('registry.label')}>
                      <Input placeholder="keep=true" />
                    </Form.Item>
                    <Form.Item name={[field.name, 'kind']} label={t('registry.keep')}>
                      <Select style={{ width: 200 }} options={KINDS.map((value) => ({ value, label: t(`keep.${value}`) }))} />
                    </Form.Item>
                    {rules?.[field.name]?.kind !== 'all' && (
                      <Form.Item name={[field.name, 'amount']} label={t('registry.amount')} rules={[{ required: true, message: t('form.required') }]}>
                        <InputNumber min={1} max={100_000} precision={0} />
                      </Form.Item>
                    )}
                    <Form.Item>
                      <Button icon={<DeleteOutlined />} aria-label={t('common.remove')} onClick={() => remove(field.name)} />
                    </Form.Item>
                  </Flex>
                ))}
                <Button icon={<PlusOutlined />} onClick={() => add({ repositories: '*', tags: '*', kind: 'newest', amount: 10 })} style={{ marginBottom: 16 }}>
                  {t('registry.addRule')}
                </Button>
              </>
            )}
          </Form.List>
          <Form.Item name="every_hours" label={t('registry.every')} extra={t('registry.everyHelp')}>
            <InputNumber min={1} max={744} precision={0} suffix={t('unit.hours')} />
          </Form.Item>
          <Form.Item name="untagged_days" label={t('registry.untagged')} extra={t('registry.untaggedHelp')}>
            <InputNumber min={1} max={36_500} precision={0} suffix={t('unit.days')} />
          </Form.Item>
          <Flex gap="small" wrap>
            <Button loading={simulate.isPending} onClick={() => void checked(simulate.mutate)}>
              {t('registry.simulate')}
            </Button>
            <Button type="primary" htmlType="submit" loading={save.isPending}>
              {t('common.save')}
            </Button>
            <AskButton size="middle" danger disabled={settings.retention.rules.length === 0 && !settings.retention.untagged_days} loading={run.isPending} ask={t('registry.confirmRun')} label={t('registry.run')} onConfirm={() => run.mutate()} />
          </Flex>
        </Form>
      </Card>
      {plan && (
        <Card title={t(plan.done ? 'registry.ran' : 'registry.simulation')}>
          <Alert showIcon type={plan.plan.removed > 0 && !plan.done ? 'warning' : 'info'} title={t(plan.done ? 'registry.didRemove' : 'registry.wouldRemove', { removed: plan.plan.removed, kept: plan.plan.kept })} style={{ marginBottom: 16 }} />
          <PlanTable plan={plan.plan} />
        </Card>
      )}
    </div>
  );
}
