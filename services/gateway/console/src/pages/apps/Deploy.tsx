// Deploys a document as an application, after a look at what it would change.

import { Alert, Button, Card, Checkbox, Flex, Form, Input, Tag, Typography, Upload } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate, useParams, useSearchParams } from 'react-router';

import type { ApiError } from '../../api/http';
import { scheduler, type DeployBody, type Deployed } from '../../api/scheduler';
import { EmptyState, LinkButton, PageHeader, ProblemView } from '../../parts/basics';
import { nameRules } from '../../parts/forms';
import { useAction } from '../../parts/query';
import { to } from '../../place';

type Values = Omit<DeployBody, 'values' | 'format'>;

export default function Deploy() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const space = params.space!;
  const [search] = useSearchParams();
  const [form] = Form.useForm<Values>();
  const [plan, setPlan] = useState<Deployed | null>(null);
  const [refused, setRefused] = useState<ApiError | null>(null);
  const run = useAction(
    async ({ values, dryRun }: { values: Values; dryRun: boolean }) => {
      setRefused(null);
      try {
        return await scheduler.deploy(org, project, space, { ...values, format: 'compose', values: {} }, dryRun);
      } catch (error) {
        setPlan(null);
        setRefused(error as ApiError);
        throw error;
      }
    },
    {
      refresh: [['apps', org, project, space]],
      onDone: (deployed, input) => {
        if (input.dryRun) setPlan(deployed);
        else void navigate(to.app(org, project, space, input.values.name));
      },
    },
  );
  const submit = async (dryRun: boolean) => run.mutate({ values: await form.validateFields(), dryRun });
  return (
    <>
      <PageHeader title={t('deploy.title')} sub={`${org}/${project}/${space}`} />
      <div className="two">
        <Card>
          <Form form={form} layout="vertical" initialValues={{ name: search.get('app') ?? '', document: '', reason: '', allow_unsupported: false }} onValuesChange={() => setPlan(null)}>
            <Form.Item name="name" label={t('deploy.app')} rules={nameRules(t)} extra={t('form.nameHelp')}>
              <Input maxLength={63} />
            </Form.Item>
            <Form.Item name="document" label={t('deploy.document')} rules={[{ required: true, message: t('form.required') }]}>
              <Input.TextArea className="mono" rows={18} spellCheck={false} placeholder={'services:\n  web:\n    image: localhost:7443/acme/shop/web:1\n    ports: ["8080"]\n    deploy:\n      replicas: 3'} />
            </Form.Item>
            <Upload
              accept=".yaml,.yml,.json"
              showUploadList={false}
              beforeUpload={async (file) => {
                form.setFieldValue('document', await file.text());
                setPlan(null);
                return Upload.LIST_IGNORE;
              }}
            >
              <Button>{t('deploy.file')}</Button>
            </Upload>
            <Form.Item name="reason" label={t('deploy.reason')} className="deploy-reason">
              <Input maxLength={200} />
            </Form.Item>
            <Form.Item name="allow_unsupported" valuePropName="checked" extra={t('deploy.unsupportedHelp')}>
              <Checkbox>{t('deploy.unsupported')}</Checkbox>
            </Form.Item>
            <Flex gap="small">
              <Button onClick={() => void submit(true)} loading={run.isPending && run.variables.dryRun}>
                {t('deploy.dryRun')}
              </Button>
              <Button type="primary" onClick={() => void submit(false)} loading={run.isPending && !run.variables.dryRun}>
                {t('deploy.submit')}
              </Button>
              <LinkButton to={to.apps(org, project, space)}>
                {t('common.cancel')}
              </LinkButton>
            </Flex>
          </Form>
        </Card>
        <Card title={t('deploy.result')}>
          {refused && <ProblemView error={refused} />}
          {!refused && !plan && <EmptyState text={t('deploy.noResult')} />}
          {plan && <Plan plan={plan} />}
        </Card>
      </div>
    </>
  );
}

function Plan({ plan }: { plan: Deployed }) {
  const { t } = useTranslation();
  return (
    <div className="stack">
      <Alert type={plan.changed ? 'info' : 'success'} showIcon title={plan.changed ? t('deploy.changes', { revision: plan.revision }) : t('deploy.noChange')} />
      {plan.diff.length > 0 && <pre className="code mono">{plan.diff.join('\n')}</pre>}
      {plan.remarks.map((remark) => (
        <Flex key={`${remark.path}:${remark.line}`} gap="small" align="baseline">
          <Tag color={remark.level === 'note' ? 'blue' : 'orange'}>{t(`remark.${remark.level}`)}</Tag>
          <span>
            <Typography.Text code>{remark.path}</Typography.Text> {t('deploy.line', { line: remark.line })}: {remark.detail}
          </span>
        </Flex>
      ))}
    </div>
  );
}
