// Alerts of a space: what fires now, what did, and the rules.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Flex, Tag, type TableProps } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { alerts, type Alert, type AlertRule, type AlertState, type Figure, type Severity } from '../../api/alerts';
import { DataTable, PageHeader, Time } from '../../parts/basics';
import { DeleteButton } from '../../parts/dialogs';
import { bytes, decimal } from '../../parts/format';
import { useMay } from '../../parts/may';
import { PagedTable, usePaged } from '../../parts/paged';
import { useAction, useList } from '../../parts/query';
import { PageTabs } from '../../parts/tabs';
import { to } from '../../place';
import { AlertRuleForm } from './AlertRuleForm';

const EVERY = 15_000;

export default function Alerts() {
  const { t } = useTranslation();
  const params = useParams();
  const [org, project, space] = [params.org!, params.project!, params.space!];
  const url = alerts.now(org, project, space);
  const rulesUrl = alerts.rules(org, project, space);
  const may = useMay('monitoring.write', { org, project, space }) === true;
  const now = useList<Alert>(['alerts', url], url, { interval: EVERY });
  const history = usePaged<Alert>(['alerts', url], url, { query: { history: true }, interval: EVERY });
  const rules = useList<AlertRule>(['alert-rules', rulesUrl], rulesUrl, { interval: EVERY });
  const drop = useAction((name: string) => alerts.remove(rulesUrl, name), { done: t('parts.deleted'), refresh: [['alert-rules', rulesUrl], ['alerts', url]] });
  /** What the form is open for; `new`: a rule that is not there yet. */
  const [edited, setEdited] = useState<AlertRule | 'new' | null>(null);
  const figures = new Map<string, Figure>(rules.items.map((rule) => [rule.name, rule.figure]));
  const add = may && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setEdited('new')}>
      {t('alerts.add')}
    </Button>
  );
  const columns: TableProps<Alert>['columns'] = [
    { title: t('alerts.rule'), dataIndex: 'rule' },
    { title: t('alerts.severity'), dataIndex: 'severity', render: (severity: Severity) => <SeverityTag of={severity} /> },
    { title: t('common.state'), dataIndex: 'state', render: (state: AlertState) => <StateTag of={state} /> },
    { title: t('alerts.since'), dataIndex: 'at', render: (at: string) => <Time at={at} /> },
    { title: t('alerts.value'), render: (_: unknown, one: Alert) => <Measured value={one.value} figure={figures.get(one.rule)} /> },
    { title: t('alerts.instance'), dataIndex: 'instance', render: (instance: string) => <span className="mono">{instance === '' ? '–' : instance}</span> },
  ];
  return (
    <>
      <PageHeader
        title={t('menu.alerts')}
        sub={
          <Flex gap="small" wrap>
            <Link to={to.apps(org, project, space)}>{`${org}/${project}/${space}`}</Link>
            {t('alerts.sub')}
          </Flex>
        }
        actions={add}
      />
      <PageTabs
        items={[
          { key: 'now', label: t('alerts.now'), children: <DataTable<Alert> label={t('alerts.now')} query={now} rowKey="rule" empty={t(rules.items.length > 0 ? 'alerts.none' : 'alerts.noRules')} columns={columns} /> },
          { key: 'history', label: t('alerts.history'), children: <PagedTable<Alert> label={t('alerts.history')} query={history} rowKey={(one) => String(one.number)} empty={t('alerts.noHistory')} columns={columns} /> },
          {
            key: 'rules',
            label: t('alerts.rules'),
            children: (
              <DataTable<AlertRule>
                label={t('alerts.rules')}
                query={rules}
                rowKey="name"
                empty={t('alerts.noRules')}
                emptyAction={add}
                search={(rule) => [rule.name, rule.app, rule.workload ?? ''].join(' ')}
                columns={[
                  { title: t('common.name'), dataIndex: 'name' },
                  { title: t('deploy.app'), render: (_, rule) => <Link to={to.app(org, project, space, rule.app)}>{rule.workload ? `${rule.app}/${rule.workload}` : rule.app}</Link> },
                  {
                    title: t('alerts.condition'),
                    render: (_, rule) => (
                      <>
                        {t(`alerts.figures.${rule.figure}`)} {t(`alerts.comparisons.${rule.comparison}`)} <Measured value={rule.threshold} figure={rule.figure} />
                        {rule.for_seconds > 0 && ` ${t('alerts.forSeconds', { seconds: rule.for_seconds })}`}
                      </>
                    ),
                  },
                  { title: t('alerts.severity'), render: (_, rule) => <SeverityTag of={rule.severity} /> },
                  { title: t('common.state'), render: (_, rule) => <StateTag of={rule.state} /> },
                  { title: t('alerts.value'), render: (_, rule) => <Measured value={rule.value} figure={rule.figure} /> },
                  ...(may
                    ? [
                        {
                          title: t('common.actions'),
                          render: (_: unknown, rule: AlertRule) => (
                            <Flex gap="small">
                              <Button size="small" onClick={() => setEdited(rule)}>
                                {t('alerts.change')}
                              </Button>
                              <DeleteButton name={rule.name} onConfirm={() => drop.mutate(rule.name)} />
                            </Flex>
                          ),
                        },
                      ]
                    : []),
                ]}
              />
            ),
          },
        ]}
      />
      {may && <AlertRuleForm place={[org, project, space]} of={edited} taken={[...figures.keys()]} onClose={() => setEdited(null)} />}
    </>
  );
}

const STATES: Record<AlertState, string> = { inactive: 'default', pending: 'gold', firing: 'red', resolved: 'green' };
const SEVERITY: Record<Severity, string> = { info: 'blue', warning: 'orange', critical: 'red' };

function StateTag({ of }: { of: AlertState }) {
  const { t } = useTranslation();
  return <Tag color={STATES[of] ?? 'default'}>{t(`alerts.states.${of}`, { defaultValue: of })}</Tag>;
}

function SeverityTag({ of }: { of: Severity }) {
  const { t } = useTranslation();
  return <Tag color={SEVERITY[of] ?? 'default'}>{t(`alerts.severities.${of}`, { defaultValue: of })}</Tag>;
}

/** In the unit of what is watched; of a rule that is deleted nobody knows it any more. */
function Measured({ value, figure }: { value?: number | null; figure?: Figure }) {
  const { i18n } = useTranslation();
  if (value === undefined || value === null) return <>–</>;
  if (figure === 'memory' || figure === 'storage') return <>{bytes(value)}</>;
  if (figure === 'network') return <>{`${bytes(value)}/s`}</>;
  return <>{decimal(value, i18n.language, 3)}</>;
}
