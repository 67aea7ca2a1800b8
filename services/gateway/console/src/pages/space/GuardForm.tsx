// What is watched for in the instances of a space, and what follows from a sign of an intrusion.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Flex, Form, Input, Radio } from 'antd';
import { useTranslation } from 'react-i18next';

import { get } from '../../api/http';
import { scheduler, type SpaceRules } from '../../api/scheduler';
import { SIGN_ACTIONS } from '../../api/signs';
import { Answer } from '../../parts/basics';
import { CheckField } from '../../parts/fields';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';
import { arePrograms, guardForm, guardOf, isEgress, type GuardForm as Values } from './guard';

const checked = (good: (text?: string) => boolean, message: string) => [{ validator: async (_: unknown, text?: string) => (good(text) ? undefined : Promise.reject(new Error(message))) }];

export default function GuardForm({ org, project, space }: { org: string; project: string; space: string }) {
  const { t } = useTranslation();
  const may = useMay('apps.admin', { org, project, space });
  const url = scheduler.rules(org, project, space);
  const key = ['rules', url];
  const query = useQuery({ queryKey: key, queryFn: () => get<SpaceRules>(url), refetchOnWindowFocus: false });
  const [form] = Form.useForm<Values>();
  const closed = (Form.useWatch('closed', form) as boolean | undefined) ?? query.data?.guard?.closed ?? false;
  // They are part of the rules, which are set as a whole: what others have set meanwhile stays.
  const save = useAction((values: Values) => scheduler.changeRules(url, (rules) => ({ ...rules, guard: guardOf(values) })), { done: t('parts.saved'), refresh: [key] });
  return (
    <Answer query={query}>
      {() => (
        <Card className="narrow" title={t('guard.title')}>
          <Form<Values> form={form} layout="vertical" disabled={may === false} initialValues={guardForm(query.data!.guard)} onFinish={save.mutate}>
            {may === false && <Alert className="toolbar" type="info" showIcon title={t('guard.notAdmin')} />}
            <Form.Item name="action" label={t('guard.action')} extra={t('guard.actionHelp')}>
              <Radio.Group>
                <Flex vertical gap={4}>
                  {SIGN_ACTIONS.map((value) => (
                    <Radio key={value} value={value}>
                      {t(`guard.actions.${value}`)}
                    </Radio>
                  ))}
                </Flex>
              </Radio.Group>
            </Form.Item>
            <CheckField name="closed" label={t('guard.closed')} help={t('guard.closedHelp')} />
            {closed && (
              <Form.Item name="egress" label={t('guard.egress')} extra={t('guard.egressHelp')} rules={checked(isEgress, t('guard.egressWrong'))}>
                <Input.TextArea rows={4} className="mono" placeholder={'10.0.0.0/8\n192.0.2.10 5432'} spellCheck={false} />
              </Form.Item>
            )}
            <Form.Item name="programs" label={t('guard.programs')} extra={t('guard.programsHelp')} rules={checked(arePrograms, t('guard.programsWrong'))}>
              <Input.TextArea rows={3} className="mono" placeholder="/opt/plugins/" spellCheck={false} />
            </Form.Item>
            {may && (
              <Button type="primary" htmlType="submit" loading={save.isPending}>
                {t('common.save')}
              </Button>
            )}
          </Form>
        </Card>
      )}
    </Answer>
  );
}
