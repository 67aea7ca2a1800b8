// On nodes, on a Kubernetes cluster, or on several in an order and with weights.

import { ArrowUpOutlined, DeleteOutlined, PlusOutlined } from '@ant-design/icons';
import { AutoComplete, Button, Flex, Form, Input, InputNumber, Radio, type FormInstance } from 'antd';
import { useTranslation } from 'react-i18next';

import { clusters, FLEET_POLICIES, type Cluster } from '../../api/clusters';
import { useList } from '../../parts/query';
import { isObject, type Where as Kind } from './fleet';

export function Where({ form, org, several }: { form: FormInstance; org: string; several: boolean }) {
  const { t } = useTranslation();
  const where = (Form.useWatch('where', form) as Kind | undefined) ?? 'nodes';
  const known = useList<Cluster>(['clusters'], clusters.all);
  const options = known.items.filter((one) => !one.org || one.org === org).map((one) => ({ value: one.name, label: one.name }));
  const needed = [{ required: true, message: t('form.required') }];
  const kinds: Kind[] = ['nodes', 'cluster', ...(several ? (['several'] as const) : [])];
  return (
    <>
      <Form.Item name="where" extra={t('clusters.chooseHelp')}>
        <Radio.Group aria-label={t('clusters.choose')} options={kinds.map((value) => ({ value, label: t(`where.${value}`) }))} />
      </Form.Item>
      {where === 'cluster' && (
        <Form.Item name="cluster" label={t('where.one')} rules={needed}>
          <AutoComplete allowClear options={options} />
        </Form.Item>
      )}
      {where === 'several' && (
        <>
          <Form.Item name="policy" label={t('where.policy')}>
            <Radio.Group>
              <Flex vertical gap={4}>
                {FLEET_POLICIES.map((value) => (
                  <Radio key={value} value={value}>
                    {t(`where.policies.${value}`)}
                  </Radio>
                ))}
              </Flex>
            </Radio.Group>
          </Form.Item>
          <Form.List name="members" rules={[{ validator: async (_, list?: unknown[]) => (list && list.length > 0 ? undefined : Promise.reject(new Error(t('where.oneAtLeast')))) }]}>
            {(fields, { add, remove, move }, { errors }) => (
              <div className="stack">
                {fields.map((field, index) => (
                  <div key={field.key} className="fleet rule">
                    <Flex gap="small" wrap align="flex-end" className="member">
                      <Form.Item name={[field.name, 'cluster']} label={`${index + 1}. ${t('where.one')}`} rules={needed}>
                        <AutoComplete options={options} style={{ minWidth: 200 }} />
                      </Form.Item>
                      <Form.Item name={[field.name, 'weight']} label={t('editor.weight')}>
                        <InputNumber min={0} max={1_000} precision={0} />
                      </Form.Item>
                      <Form.Item>
                        <Flex gap={4}>
                          <Button icon={<ArrowUpOutlined />} aria-label={t('where.up', { number: index + 1 })} disabled={index === 0} onClick={() => move(index, index - 1)} />
                          <Button icon={<DeleteOutlined />} aria-label={t('where.without', { number: index + 1 })} onClick={() => remove(field.name)} />
                        </Flex>
                      </Form.Item>
                    </Flex>
                    <Form.Item name={[field.name, 'overrides']} label={t('where.other')} extra={t('where.otherHelp')} rules={[{ validator: async (_, text?: string) => (isObject(text) ? undefined : Promise.reject(new Error(t('form.json')))) }]}>
                      <Input.TextArea rows={3} className="mono" placeholder={'{"replicas": {"shop/web": 2}, "env": {"REGION": "east"}}'} />
                    </Form.Item>
                  </div>
                ))}
                <div>
                  <Button icon={<PlusOutlined />} onClick={() => add({ cluster: '', weight: 1 })}>
                    {t('where.add')}
                  </Button>
                </div>
                <Form.ErrorList errors={errors} />
              </div>
            )}
          </Form.List>
        </>
      )}
    </>
  );
}
