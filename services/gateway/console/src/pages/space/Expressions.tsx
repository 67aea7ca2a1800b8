// Rules of a space in CEL: which nodes, and how good they are.

import { DeleteOutlined, PlusOutlined } from '@ant-design/icons';
import { Button, Flex, Form, Input } from 'antd';
import { useTranslation } from 'react-i18next';

import type { SpaceRules } from '../../api/scheduler';

export type Expression = NonNullable<SpaceRules['expressions']>[number];

const text = (typed: string | undefined) => typed?.trim() || undefined;

/** As they are sent: of a row with nothing in it nothing, and of a half one that half. */
export function expressionsOf(rows: Expression[] | undefined): Expression[] {
  const whole = (rows ?? []).map((row) => ({ where: text(row?.where), score: text(row?.score) }));
  return whole.filter((row) => row.where || row.score).map(({ where, score }) => ({ ...(where ? { where } : {}), ...(score ? { score } : {}) }));
}

export function Expressions() {
  const { t } = useTranslation();
  return (
    <Form.List name="expressions">
      {(fields, { add, remove }) => (
        <div className="stack">
          {fields.map((field, index) => (
            <Flex key={field.key} gap="small" wrap align="flex-end">
              <Form.Item name={[field.name, 'where']} label={`${index + 1}. ${t('rules.expressionWhere')}`} style={{ flex: '1 1 320px' }}>
                <Input.TextArea autoSize={{ minRows: 1, maxRows: 6 }} maxLength={1_000} className="mono" placeholder="node.labels['disk'] == 'ssd' && node.memory.free > 4 * Gi" />
              </Form.Item>
              <Form.Item name={[field.name, 'score']} label={t('rules.expressionScore')} style={{ flex: '1 1 240px' }}>
                <Input.TextArea autoSize={{ minRows: 1, maxRows: 6 }} maxLength={1_000} className="mono" placeholder="node.zone == 'a' ? 50 : 0" />
              </Form.Item>
              <Form.Item>
                <Button icon={<DeleteOutlined />} aria-label={t('rules.expressionRemove', { number: index + 1 })} onClick={() => remove(field.name)} />
              </Form.Item>
            </Flex>
          ))}
          <div>
            <Button icon={<PlusOutlined />} onClick={() => add({})}>
              {t('rules.expressionAdd')}
            </Button>
          </div>
        </div>
      )}
    </Form.List>
  );
}
