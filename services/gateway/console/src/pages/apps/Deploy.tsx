// An application as file and picture: written in either, looked at as a dry run, deployed.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Checkbox, Flex, Form, Input, Segmented, Upload } from 'antd';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate, useParams, useSearchParams } from 'react-router';

import { get, type ApiError, type Page } from '../../api/http';
import { scheduler, type Deployed, type Format, type Revision } from '../../api/scheduler';
import { EmptyState, LinkButton, PageHeader, ProblemView, Time } from '../../parts/basics';
import { Diff } from '../../parts/Diff';
import { dropDraft, keepDraft, readDraft } from '../../parts/drafts';
import { nameRules } from '../../parts/forms';
import { useAction } from '../../parts/query';
import { useFaults } from '../../parts/useFaults';
import { to } from '../../place';
import { Lines, pairs, unpaired } from './editor/fields';
import { Picture } from './editor/Picture';
import { Remarks, TextPane } from './editor/TextPane';
import { turnByKey } from './editor/turnByKey';
import { formatOf, useSheet } from './editor/useSheet';
import { Foresight } from './Foresight';
import { Prospects } from './Shares';

interface Values {
  name: string;
  reason: string;
  allow_unsupported: boolean;
}

const FORMATS: Format[] = ['compose', 'kubernetes', 'gantry'];

export default function Deploy() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const space = params.space!;
  const [search] = useSearchParams();
  const [form] = Form.useForm<Values>();
  const name = (Form.useWatch('name', form) as string | undefined) ?? search.get('app') ?? '';
  const [values, setValues] = useState<Record<string, string>>({});
  const [plan, setPlan] = useState<Deployed | null>(null);
  const [refused, setRefused] = useState<ApiError | null>(null);
  const sheet = useSheet({ org, project, space }, name, values);
  const { write } = sheet;

  // What is there already is where one goes on from.
  const app = search.get('app');
  const there = useQuery({
    queryKey: ['source', org, project, space, app, search.get('revision')],
    enabled: app !== null,
    retry: false,
    queryFn: async () => {
      const url = scheduler.app(org, project, space, app!);
      const revisions = (await get<Page<Revision>>(`${url}/revisions`)).items;
      const wanted = Number(search.get('revision')) || undefined;
      const of = revisions.find((one) => (wanted === undefined ? one.current : one.revision === wanted));
      return scheduler.exported(url, FORMATS.find((format) => format === of?.format) ?? 'gantry', wanted);
    },
    refetchOnWindowFocus: false,
    staleTime: Infinity,
    gcTime: 0,
  });
  useEffect(() => {
    if (there.data) write(there.data.document, there.data.format);
  }, [there.data, write]);

  // What was written here before and not deployed, and what is being written now.
  const draftKey = `${org}/${project}/${space}/${app ?? ''}`;
  const [draft, setDraft] = useState(() => readDraft(sessionStorage, draftKey));
  const { text, format } = sheet;
  const untouched = text.trim() === '' || text === there.data?.document;
  useEffect(() => {
    if (!untouched) keepDraft(sessionStorage, draftKey, { text, format, at: new Date().toISOString() });
  }, [untouched, text, format, draftKey]);
  useEffect(() => setPlan(null), [sheet.text, values]);

  const run = useAction(
    async ({ values: fields, dryRun }: { values: Values; dryRun: boolean }) => {
      setRefused(null);
      try {
        return await scheduler.deploy(org, project, space, { ...fields, format: sheet.format, document: sheet.text, values }, dryRun);
      } catch (error) {
        setPlan(null);
        setRefused(error as ApiError);
        throw error;
      }
    },
    {
      refresh: [['apps', org, project, space]],
      onDone: (deployed, input) => {
        if (input.dryRun) return setPlan(deployed);
        dropDraft(sessionStorage, draftKey);
        return void navigate(to.app(org, project, space, input.values.name));
      },
    },
  );
  useFaults(form, run.error);
  const submit = async (dryRun: boolean) => {
    // Faults of fields stand at the fields.
    const fields = await form.validateFields().catch(() => null);
    if (fields) run.mutate({ values: fields, dryRun });
  };
  const blank = sheet.text.trim() === '';
  return (
    <>
      <PageHeader title={t('deploy.title')} sub={`${org}/${project}/${space}`} />
      <div className="stack">
        {there.error && <ProblemView error={there.error} />}
        {draft && draft.text !== text && (
          <Alert
            type="info"
            role="status"
            showIcon
            closable={{ onClose: () => setDraft(null) }}
            title={t('deploy.draft')}
            description={<Time at={draft.at} />}
            action={
              <Flex gap="small">
                <Button
                  size="small"
                  type="primary"
                  onClick={() => {
                    write(draft.text, FORMATS.find((one) => one === draft.format));
                    setDraft(null);
                  }}
                >
                  {t('deploy.takeUp')}
                </Button>
                <Button
                  size="small"
                  onClick={() => {
                    if (untouched) dropDraft(sessionStorage, draftKey);
                    setDraft(null);
                  }}
                >
                  {t('parts.discardOk')}
                </Button>
              </Flex>
            }
          />
        )}
        <Picture
          sheet={sheet}
          place={`${org}/${project}/${space}/${name}`}
          file={
            <Card
              title={t('editor.file')}
              extra={
                <Flex gap="small">
                  <Segmented size="small" aria-label={t('apps.format')} value={sheet.format} onChange={sheet.convert} options={FORMATS.map((value) => ({ value, label: t(`editor.formats.${value}`) }))} />
                  <Upload
                    accept=".yaml,.yml,.json"
                    showUploadList={false}
                    beforeUpload={async (file) => {
                      const read = await file.text();
                      write(read, formatOf(read) ?? undefined);
                      return Upload.LIST_IGNORE;
                    }}
                  >
                    <Button size="small">{t('deploy.file')}</Button>
                  </Upload>
                </Flex>
              }
            >
              <TextPane text={sheet.text} remarks={sheet.remarks} onText={write} onKey={turnByKey(sheet)} />
              {sheet.problem && <ProblemView error={sheet.problem} />}
            </Card>
          }
        />
        <div className="two">
          <Card>
            <Form form={form} layout="vertical" initialValues={{ name: search.get('app') ?? '', reason: '', allow_unsupported: false }} onValuesChange={() => setPlan(null)}>
              <Form.Item name="name" label={t('deploy.app')} rules={nameRules(t)} extra={t('form.nameHelp')}>
                <Input maxLength={63} />
              </Form.Item>
              <Form.Item name="reason" label={t('deploy.reason')}>
                <Input maxLength={200} />
              </Form.Item>
              <Lines label={t('editor.values')} help={t('editor.valuesHelp')} value={pairs(values)} onValue={(lines) => setValues(unpaired(lines))} />
              <Form.Item name="allow_unsupported" valuePropName="checked" extra={t('deploy.unsupportedHelp')}>
                <Checkbox>{t('deploy.unsupported')}</Checkbox>
              </Form.Item>
              <Flex gap="small">
                <Button onClick={() => void submit(true)} disabled={blank} loading={run.isPending && run.variables.dryRun}>
                  {t('deploy.dryRun')}
                </Button>
                <Button type="primary" onClick={() => void submit(false)} disabled={blank} loading={run.isPending && !run.variables.dryRun}>
                  {t('deploy.submit')}
                </Button>
                <LinkButton to={to.apps(org, project, space)}>{t('common.cancel')}</LinkButton>
              </Flex>
            </Form>
          </Card>
          <Card title={t('deploy.result')}>
            {refused && <ProblemView error={refused} />}
            {!refused && !plan && <EmptyState text={t('deploy.noResult')} />}
            {plan && <Plan plan={plan} />}
          </Card>
        </div>
      </div>
    </>
  );
}

function Plan({ plan }: { plan: Deployed }) {
  const { t } = useTranslation();
  return (
    <div className="stack">
      <Alert type={plan.changed ? 'info' : 'success'} showIcon title={plan.changed ? t('deploy.changes', { revision: plan.revision }) : t('deploy.noChange')} description={plan.queued} />
      {plan.diff.length > 0 && <Diff lines={plan.diff} label={t('deploy.result')} />}
      <Remarks remarks={plan.remarks} />
      {plan.clusters && <Prospects of={plan.clusters} />}
      {plan.preview && <Foresight preview={plan.preview} />}
    </div>
  );
}
