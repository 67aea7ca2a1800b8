// One run: its stages and steps, the log of the chosen step as it is printed, approval and cancelling.

import { CheckOutlined, StopOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Descriptions, Flex, List, Popconfirm, Steps, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { cicd, type Artifact, type Run, type Step } from '../api/cicd';
import { Answer, PageHeader, State, Time } from '../parts/basics';
import { bytes, duration, short } from '../parts/format';
import { LogView } from '../parts/LogView';
import { useMay } from '../parts/may';
import { useAction, useList, useLive } from '../parts/query';

const OPEN = new Set(['queued', 'running', 'waiting']);

export default function RunPage() {
  const { t, i18n } = useTranslation();
  const params = useParams();
  const url = cicd.run(params.org!, params.project!, params.run!);
  const key = ['run', url];
  const query = useLive<Run>(key, url);
  const [chosen, setChosen] = useState<string | null>(null);
  const artifacts = useList<Artifact>(['artifacts', url, query.data?.state], `${url}/artifacts`, { enabled: query.isSuccess });
  const write = useMay('pipelines.write', { org: params.org, project: params.project });
  const cancel = useAction(() => cicd.cancel(url), { done: t('runs.cancelled'), refresh: [key] });
  const approve = useAction((step: string) => cicd.approve(url, step), { done: t('runs.approved'), refresh: [key] });
  return (
    <Answer query={query}>
      {() => {
        const run = query.data!;
        const stages = [...new Set(run.steps.map((step) => step.stage))];
        const shown = run.steps.find((step) => step.name === chosen) ?? current(run.steps);
        const waiting = run.steps.filter((step) => step.state === 'waiting');
        return (
          <>
            <PageHeader
              title={`${run.repository} #${run.number}`}
              sub={run.message}
              live={query.live}
              actions={
                write && OPEN.has(run.state) && (
                  <Popconfirm title={t('runs.confirmCancel')} okText={t('runs.cancel')} cancelText={t('common.back')} onConfirm={() => cancel.mutate()}>
                    <Button danger icon={<StopOutlined />} loading={cancel.isPending}>
                      {t('runs.cancel')}
                    </Button>
                  </Popconfirm>
                )
              }
            />
            <div className="stack">
              {waiting.map((step) => (
                <Alert
                  key={step.name}
                  type="warning"
                  showIcon
                  title={t('runs.waits', { name: step.name })}
                  action={
                    write && (
                      <Button type="primary" size="small" icon={<CheckOutlined />} loading={approve.isPending} onClick={() => approve.mutate(step.name)}>
                        {t('runs.approve')}
                      </Button>
                    )
                  }
                />
              ))}
              {run.reason && run.state !== 'succeeded' && <Alert type="error" showIcon title={t('runs.failed')} description={run.reason} />}
              <Card>
                <Descriptions
                  column={{ xs: 1, md: 3 }}
                  items={[
                    { key: 'state', label: t('common.state'), children: <State value={run.state} /> },
                    { key: 'commit', label: t('runs.commit'), children: <span className="mono">{short(run.commit)}</span> },
                    { key: 'ref', label: t('runs.ref'), children: run.ref },
                    { key: 'trigger', label: t('runs.trigger'), children: t(`trigger.${run.trigger}`, { defaultValue: run.trigger }) },
                    { key: 'created', label: t('common.created'), children: <Time at={run.created_at} /> },
                    { key: 'took', label: t('runs.took'), children: run.started_at ? duration((run.finished_at ? Date.parse(run.finished_at) : Date.now()) - Date.parse(run.started_at), i18n.language) : '–' },
                  ]}
                />
                <Steps
                  size="small"
                  responsive
                  items={stages.map((stage) => {
                    const steps = run.steps.filter((step) => step.stage === stage);
                    return { title: stage, status: stageStatus(steps) };
                  })}
                />
              </Card>
              <div className="two">
                <Card title={shown ? t('runs.logOf', { name: shown.name }) : t('runs.log')}>
                  {shown && (
                    <LogView
                      key={shown.name}
                      name={`${run.repository}-${run.number}-${shown.name}`}
                      url={cicd.log(url, shown.name)}
                      end="end"
                      read={(data) => [{ text: data }]}
                    />
                  )}
                </Card>
                <Flex vertical gap="middle">
                  <Card title={t('runs.steps')}>
                    {run.steps.map((step) => (
                      <StepRow key={`${step.stage}/${step.name}`} step={step} chosen={step.name === shown?.name} choose={() => setChosen(step.name)} />
                    ))}
                  </Card>
                  <Card title={t('runs.artifacts')}>
                    <List
                      size="small"
                      dataSource={artifacts.items}
                      locale={{ emptyText: t('runs.noArtifacts') }}
                      renderItem={(artifact) => (
                        <List.Item>
                          <a href={cicd.artifact(url, artifact.name)} download>
                            {artifact.name}
                          </a>
                          <span>{bytes(artifact.size_bytes)}</span>
                        </List.Item>
                      )}
                    />
                  </Card>
                </Flex>
              </div>
            </div>
          </>
        );
      }}
    </Answer>
  );
}

function StepRow({ step, chosen, choose }: { step: Step; chosen: boolean; choose: () => void }) {
  const { t, i18n } = useTranslation();
  return (
    <div className="event-row">
      <Flex vertical className="grow">
        <Flex gap="small" align="center">
          <Button type="link" size="small" aria-pressed={chosen} onClick={choose}>
            {chosen ? <strong>{step.name}</strong> : step.name}
          </Button>
          <State value={step.state} />
        </Flex>
        <Typography.Text type="secondary">
          {step.stage} · {t(`stepKind.${step.kind}`, { defaultValue: step.kind })}
          {step.exit_code !== null && ` · ${t('runs.exit', { code: step.exit_code })}`}
          {step.tests && ` · ${t('runs.tests', { tests: step.tests.tests, failed: step.tests.failed })}`}
        </Typography.Text>
        {step.reason && <Typography.Text type="danger">{step.reason}</Typography.Text>}
        {step.image && <span className="mono">{step.image}</span>}
      </Flex>
      <span>{duration(step.duration_ms, i18n.language)}</span>
    </div>
  );
}

/** The step to look at first: the one at work, else the failed one, else the last that began. */
function current(steps: Step[]): Step | undefined {
  return steps.find((step) => step.state === 'running') ?? steps.find((step) => step.state === 'failed') ?? steps.toReversed().find((step) => step.started_at !== null) ?? steps[0];
}

function stageStatus(steps: Step[]): 'wait' | 'process' | 'finish' | 'error' {
  if (steps.some((step) => step.state === 'failed' || step.state === 'cancelled')) return 'error';
  if (steps.every((step) => step.state === 'succeeded' || step.state === 'skipped')) return 'finish';
  return steps.some((step) => step.state !== 'pending' && step.state !== 'not_run') ? 'process' : 'wait';
}
