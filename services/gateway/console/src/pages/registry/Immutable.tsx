// Tags that can be set once and then neither moved nor deleted.

import { Button, Card, Flex, Form, Input, Typography } from 'antd';
import { DeleteOutlined, PlusOutlined } from '@ant-design/icons';
import { useTranslation } from 'react-i18next';

import { registry, type TagRule } from '../../api/registry';
import { EmptyState } from '../../parts/basics';
import { useAction } from '../../parts/query';
import { settingsKey, type Props } from './Registry';

export default function Immutable({ base, settings }: Props) {
  const { t } = useTranslation();
  const save = useAction((rules: TagRule[]) => registry.setImmutability(base, rules), { done: t('parts.saved'), refresh: [settingsKey(base)] });
  return (
    <Card title={t('registry.immutable')} className="narrow">
      <Typography.Paragraph type="secondary">{t('registry.immutableHelp')}</Typography.Paragraph>
      <Form<{ rules: TagRule[] }> layout="vertical" initialValues={{ rules: settings.immutability }} onFinish={({ rules }) => save.mutate(rules.map(({ repositories, tags }) => ({ repositories: repositories || '*', tags: tags || '*' })))}>
        <Form.List name="rules">
          {(fields, { add, remove }) => (
            <>
              {fields.length === 0 && <EmptyState text={t('registry.noRules')} />}
              {fields.map((field) => (
                <Flex key={field.key} gap="small" align="flex-end" className="rule">
                  <Form.Item name={[field.name, 'repositories']} label={t('registry.repositories')}>
                    <Input placeholder="*" />
                  </Form.Item>
                  <Form.Item name={[field.name, 'tags']} label={t('registry.tags')}>
                    <Input placeholder="v*" />
                  </Form.Item>
                  <Form.Item>
                    <Button icon={<DeleteOutlined />} aria-label={t('common.remove')} onClick={() => remove(field.name)} />
                  </Form.Item>
                </Flex>
              ))}
              <Flex gap="small">
                <Button icon={<PlusOutlined />} onClick={() => add({ repositories: '*', tags: '' })}>
                  {t('registry.addRule')}
                </Button>
                <Button type="primary" htmlType="submit" loading={save.isPending}>
                  {t('common.save')}
                </Button>
              </Flex>
            </>
          )}
        </Form.List>
      </Form>
    </Card>
  );
}
