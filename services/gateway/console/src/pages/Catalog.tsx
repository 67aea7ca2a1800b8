// What the catalogue offers, and making an instance of it in a space.

import { Button, Card, Checkbox, Flex, Form, Input, InputNumber, Modal, Select, Tag, Tooltip, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { catalog, type Offering, type ServiceInstance } from '../api/catalog';
import { Answer, EmptyState, PageHeader } from '../parts/basics';
import { nameRules } from '../parts/forms';
import { useMay } from '../parts/may';
import { useAction, useList } from '../parts/query';
import { to, usePlace } from '../place';
import { freeName } from './apps/editor/model';
import { fieldsOf, saidOf, type OfferedField } from './offered';

interface Values {
  name: string;
  plan: string;
  /** As fields, or as JSON where these cannot say it. */
  said?: Record<string, unknown>;
  parameters?: string;
}

export default function Catalog() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const { org, project, space } = usePlace();
  const query = useList<Offering>(['offerings'], catalog.offerings);
  const [chosen, setChosen] = useState<Offering | null>(null);
  const [form] = Form.useForm<Values>();
  const place = org && project && space ? catalog.instances(org, project, space) : null;
  const may = useMay('services.write', place === null ? {} : { org, project, space });
  // Where is not known before a space is chosen: the dialog asks for one.
  const refused = place !== null && may === false;
  // So that the name which is offered is free.
  const there = useList<ServiceInstance>(['instances', place], place ?? '', { enabled: place !== null && chosen !== null });
  const planName = Form.useWatch('plan', form) as string | undefined;
  const chosenPlan = chosen?.plans.find((one) => one.name === planName) ?? chosen?.plans[0];
  const fields = fieldsOf(chosenPlan?.parameters);
  const parameters = (values: Values): unknown => (fields !== null ? saidOf(fields, values.said ?? {}) : (values.parameters ?? '').trim() === '' ? {} : JSON.parse(values.parameters!));
  const create = useAction(
    (values: Values) => catalog.create(place!, { offering: chosen!.name, plan: values.plan, name: values.name, parameters: parameters(values) }),
    { done: t('catalog.requested'), refresh: [['instances', place]], onDone: () => void navigate(to.instances(org!, project!, space!)) },
  );
  return (
    <>
      <PageHeader title={t('menu.catalog')} sub={t('catalog.sub')} />
      <Answer query={query}>
        {() =>
          query.items.length === 0 ? (
            <EmptyState text={t('catalog.empty')} />
          ) : (
            <div className="grid">
              {query.items.map((offering) => (
                <Card
                  key={offering.name}
                  title={offering.title ?? offering.name}
                  extra={
                    <Tooltip title={refused ? t('catalog.mayNot', { place: `${org}/${project}/${space}` }) : undefined}>
                      <Button type="primary" disabled={refused} onClick={() => setChosen(offering)}>
                        {t('catalog.create')}
                      </Button>
                    </Tooltip>
                  }
                >
                  <Typography.Paragraph>{offering.description}</Typography.Paragraph>
                  <Flex gap={4} wrap>
                    {(offering.tags ?? []).map((tag) => (
                      <Tag key={tag}>{tag}</Tag>
                    ))}
                  </Flex>
                  <Typography.Title level={2} style={{ fontSize: 14 }}>
                    {t('catalog.plans')}
                  </Typography.Title>
                  <ul>
                    {offering.plans.map((plan) => (
                      <li key={plan.name}>
                        <strong>{plan.name}</strong> {plan.description}
                      </li>
                    ))}
                  </ul>
                </Card>
              ))}
            </div>
          )
        }
      </Answer>
      <Modal
        open={chosen !== null}
        title={t('catalog.createOf', { name: chosen?.title ?? chosen?.name ?? '' })}
        okText={t('common.create')}
        cancelText={t('common.cancel')}
        okButtonProps={{ disabled: place === null }}
        confirmLoading={create.isPending}
        onCancel={() => setChosen(null)}
        onOk={() => form.submit()}
        destroyOnHidden
      >
        {chosen && !there.isLoading && (
          <Form form={form} layout="vertical" preserve={false} initialValues={{ name: freeName(chosen.name, there.items.map((one) => one.name)), plan: chosen.plans[0]?.name, parameters: '' }} onFinish={(values) => create.mutate(values)}>
            <Typography.Paragraph type={place ? 'secondary' : 'danger'}>{place ? t('catalog.into', { place: `${org}/${project}/${space}` }) : t('place.need.space')}</Typography.Paragraph>
            <Form.Item name="name" label={t('common.name')} rules={nameRules(t)} extra={t('form.nameHelp')}>
              <Input autoFocus maxLength={63} />
            </Form.Item>
            <Form.Item name="plan" label={t('catalog.plan')}>
              <Select options={chosen.plans.map((plan) => ({ value: plan.name, label: plan.name }))} />
            </Form.Item>
            {fields?.map((field) => <Said key={`${chosenPlan?.name} ${field.name}`} field={field} />)}
            {fields === null && (
              <Form.Item name="parameters" label={t('catalog.parameters')} extra={t('catalog.parametersHelp')} rules={[{ validator: (_, text?: string) => (isJson(text ?? '') ? Promise.resolve() : Promise.reject(new Error(t('form.json')))) }]}>
                <Input.TextArea className="mono" rows={5} spellCheck={false} placeholder="{}" />
              </Form.Item>
            )}
          </Form>
        )}
      </Modal>
    </>
  );
}

/** One thing that can be said about the instance. */
function Said({ field }: { field: OfferedField }) {
  const { t } = useTranslation();
  const { kind, label, min, max, options } = field;
  const rules = field.required ? [{ required: true, message: t('form.required') }] : [];
  const item = { name: ['said', field.name], extra: field.help || undefined, initialValue: field.initial, rules };
  if (kind === 'flag') {
    return (
      <Form.Item {...item} valuePropName="checked">
        <Checkbox>{label}</Checkbox>
      </Form.Item>
    );
  }
  return (
    <Form.Item {...item} label={label}>
      {kind === 'choice' ? <Select allowClear={!field.required} options={options.map((value) => ({ value, label: value }))} /> : kind === 'whole' ? <InputNumber className="full" precision={0} min={min} max={max} /> : <Input />}
    </Form.Item>
  );
}

function isJson(text: string): boolean {
  if (text.trim() === '') return true;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
