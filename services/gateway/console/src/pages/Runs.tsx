// Pipeline runs of a project, newest first.

import { Flex, Tooltip } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { cicd, type Run } from '../api/cicd';
import { DataTable, LinkButton, PageHeader, State, Time } from '../parts/basics';
import { duration, short } from '../parts/format';
import { useMay } from '../parts/may';
import { useLiveList } from '../parts/query';
import { to } from '../place';

export default function Runs() {
  const { t, i18n } = useTranslation();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const query = useLiveList<Run>(['runs', org, project], cicd.runs(org, project));
  const start = useMay('pipelines.write', { org, project }) && (
    <LinkButton primary to={to.repositories(org, project)}>
      {t('runs.start')}
    </LinkButton>
  );
  return (
    <>
      <PageHeader
        title={t('menu.runs')}
        sub={`${org}/${project}`}
        live={query.live}
        actions={start}
      />
      <DataTable<Run>
        label={t('menu.runs')}
        query={query}
        rowKey="id"
        inAddress
        empty={t('runs.empty')}
        emptyAction={start}
        search={(run) => [run.repository, run.number, run.state, run.message, run.ref, run.commit].join(' ')}
        columns={[
          { title: t('runs.number'), dataIndex: 'number', render: (number: number, run) => <Link to={to.run(org, project, run.id)}>#{number}</Link> },
          { title: t('common.state'), dataIndex: 'state', render: (state: string) => <State value={state} /> },
          { title: t('runs.repository'), dataIndex: 'repository' },
          {
            title: t('runs.commit'),
            render: (_, run) => (
              <Flex gap="small">
                <span className="mono">{short(run.commit)}</span>
                <span>{run.message}</span>
              </Flex>
            ),
          },
          { title: t('runs.ref'), dataIndex: 'ref', render: (ref: string) => <span className="mono">{ref.replace('refs/heads/', '')}</span> },
          {
            title: t('runs.steps'),
            render: (_, run) => (
              <Flex gap={4}>
                {run.steps.map((step) => (
                  <Tooltip key={`${step.stage}/${step.name}`} title={`${step.stage} / ${step.name}`}>
                    <span>
                      <State value={step.state} />
                    </span>
                  </Tooltip>
                ))}
              </Flex>
            ),
          },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          { title: t('runs.took'), render: (_, run) => (run.started_at && run.finished_at ? duration(Date.parse(run.finished_at) - Date.parse(run.started_at), i18n.language) : '–') },
        ]}
      />
    </>
  );
}
