// The first page: what there is, how it goes, what just happened, what it costs.

import { useQuery } from '@tanstack/react-query';
import { Alert, Card, Flex, Progress, Statistic, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { billing, type Invoice, type Quota } from '../api/billing';
import { cicd, type Run } from '../api/cicd';
import { get, getAll, type Page } from '../api/http';
import { identity, type Org } from '../api/identity';
import { monitoring, type AuditRecord } from '../api/monitoring';
import { scheduler, type AppItem, type NodeItem } from '../api/scheduler';
import { shortObject } from '../parts/AuditTable';
import { EmptyState, LinkButton, LiveMark, PageHeader, ProblemView, State, Time } from '../parts/basics';
import { useEvents } from '../parts/events';
import { bytes, cpu, money } from '../parts/format';
import { useHealth } from '../parts/health';
import { Kind } from '../parts/Kind';
import { useAdministers } from '../parts/me';
import { useNames } from '../parts/names';
import { useMay } from '../parts/may';
import { useList } from '../parts/query';
import { to, usePlace } from '../place';

export default function Overview() {
  const { t } = useTranslation();
  const orgs = useList<Org>(['orgs'], identity.orgs);
  const { org, project } = usePlace();
  const first = org ?? orgs.items[0]?.name;
  return (
    <>
      <PageHeader title={t('menu.overview')} sub={org ? [org, project].filter(Boolean).join('/') : t('overview.sub')} />
      <div className="stack">
        {orgs.error !== null && <ProblemView error={orgs.error} retry={() => void orgs.refetch()} />}
        {orgs.isSuccess && orgs.items.length === 0 && (
          <Alert
            type="info"
            showIcon
            title={t('overview.welcome')}
            description={t('overview.firstSteps')}
            action={
              <LinkButton primary to="/orgs">
                {t('orgs.create')}
              </LinkButton>
            }
          />
        )}
        <Counts org={first} />
        <div className="two">
          <RecentEvents />
          <Flex vertical gap="middle">
            <HealthCard />
            {first && <UsageCard org={first} />}
            {org && project && <RunsCard org={org} project={project} />}
          </Flex>
        </div>
      </div>
    </>
  );
}

interface Totals {
  projects: number;
  spaces: number;
  apps: number;
  troubled: number;
  instances: number;
  wanted: number;
}

/** Counts of one organisation, from its lists. */
async function totals(org: string): Promise<Totals> {
  const projects = await getAll<{ name: string }>(identity.projects(org));
  const counted: Totals = { projects: projects.items.length, spaces: 0, apps: 0, troubled: 0, instances: 0, wanted: 0 };
  await Promise.all(
    projects.items.map(async (project) => {
      const spaces = await getAll<{ name: string }>(identity.spaces(org, project.name));
      counted.spaces += spaces.items.length;
      await Promise.all(
        spaces.items.map(async (space) => {
          const apps = await getAll<AppItem>(scheduler.apps(org, project.name, space.name));
          counted.apps += apps.items.length;
          for (const app of apps.items) {
            if (app.state === 'failed' || app.state === 'degraded' || app.state === 'pending') counted.troubled += 1;
            for (const workload of app.workloads) {
              counted.instances += workload.ready;
              counted.wanted += workload.replicas;
            }
          }
        }),
      );
    }),
  );
  return counted;
}

const orDash = (value?: number) => value ?? '–';

function Counts({ org }: { org?: string }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['totals', org], queryFn: () => totals(org!), enabled: org !== undefined, refetchInterval: 15_000 });
  // The nodes are the platform's.
  const operates = useMay('apps.read', {}) === true;
  const nodes = useList<NodeItem>(['nodes', 'count'], scheduler.nodes, { interval: 15_000, enabled: operates });
  const ready = nodes.items.filter((node) => node.state === 'ready').length;
  return (
    <div className="grid-narrow">
      <Card>
        <Statistic title={t('org.projects')} value={orDash(query.data?.projects)} />
      </Card>
      <Card>
        <Statistic title={t('project.spaces')} value={orDash(query.data?.spaces)} />
      </Card>
      <Card>
        <Statistic title={t('menu.apps')} value={orDash(query.data?.apps)} suffix={query.data && query.data.troubled > 0 ? <Typography.Text type="danger">{t('overview.troubled', { count: query.data.troubled })}</Typography.Text> : undefined} />
      </Card>
      <Card>
        <Statistic title={t('overview.instances')} value={orDash(query.data?.instances)} suffix={query.data ? `/ ${query.data.wanted}` : undefined} />
      </Card>
      {operates && (
        <Card>
          <Statistic title={t('menu.nodes')} value={nodes.isSuccess ? ready : '–'} suffix={nodes.isSuccess ? `/ ${nodes.items.length}` : undefined} />
        </Card>
      )}
    </div>
  );
}

function RecentEvents() {
  const { t } = useTranslation();
  const { events, live } = useEvents();
  // What happened before the page was opened is in the audit trail.
  // The trail is for administrators; what happens from now on everybody sees who may read the place.
  const administers = useAdministers();
  const past = useQuery({ queryKey: ['audit', 'recent'], queryFn: () => get<Page<AuditRecord>>(monitoring.audit, { limit: 20 }), enabled: administers });
  const known = new Set(events.map((event) => event.key));
  const older = (past.data?.items ?? [])
    .filter((item) => !known.has(item.id))
    .map((item) => ({ key: item.id, kind: item.kind, service: item.service, actor: item.actor, object: item.name ?? item.object, at: item.at }));
  const all = [...events, ...older].slice(0, 20);
  const names = useNames(all.map((event) => event.actor));
  return (
    <Card title={t('overview.events')} extra={<LiveMark live={live} />}>
      {past.error && all.length === 0 && <ProblemView error={past.error} retry={() => void past.refetch()} />}
      {(!administers || (!past.error && !past.isPending)) && all.length === 0 && <EmptyState text={t('overview.noEvents')} />}
      {all.map((event) => (
        <div className="event-row" key={event.key}>
          <Flex vertical className="grow">
            <Kind kind={event.kind} />
            <Typography.Text type="secondary">
              {[names(event.actor), t(`service.${event.service}`, { defaultValue: event.service }), shortObject(event.object)].filter((part) => part !== '' && part !== '–').join(' · ')}
            </Typography.Text>
          </Flex>
          <Time at={event.at} />
        </div>
      ))}
      {administers && <Link to="/audit">{t('overview.allEvents')}</Link>}
    </Card>
  );
}

function HealthCard() {
  const { t } = useTranslation();
  const query = useHealth();
  return (
    <Card title={t('menu.health')} extra={<Link to="/health">{t('common.details')}</Link>}>
      {query.error && <ProblemView error={query.error} retry={() => void query.refetch()} />}
      <Flex gap="small" wrap>
        {query.data?.parts.map((part) => (
          <span key={part.name}>
            {t(`service.${part.name}`, { defaultValue: part.name })} <State value={part.ready ? 'ready' : 'not_ready'} />
          </span>
        ))}
      </Flex>
    </Card>
  );
}

function UsageCard({ org }: { org: string }) {
  const { t, i18n } = useTranslation();
  const quota = useQuery({ queryKey: ['quota', billing.orgQuota(org)], queryFn: () => get<Quota>(billing.orgQuota(org)), refetchInterval: 15_000 });
  const invoice = useQuery({ queryKey: ['invoice', org, 'current'], queryFn: () => get<Invoice>(billing.current(org)), refetchInterval: 30_000 });
  const rows = [
    { key: 'cpu_millis', show: cpu },
    { key: 'memory_bytes', show: bytes },
    { key: 'containers', show: String },
  ] as const;
  return (
    <Card title={t('overview.usage', { org })} extra={<Link to={to.billing(org)}>{t('common.details')}</Link>}>
      {quota.error && <ProblemView error={quota.error} retry={() => void quota.refetch()} />}
      {quota.data &&
        rows.map(({ key, show }) => {
          const limit = quota.data.limits[key];
          const used = quota.data.used[key] ?? 0;
          return (
            <div key={key}>
              {t(`quota.${key}`)}: {limit == null ? t('quota.usedUnlimited', { used: show(used) }) : t('quota.usedOf', { used: show(used), limit: show(limit) })}
              <Progress size="small" aria-label={t(`quota.${key}`)} percent={limit ? Math.min(100, Math.round((used / limit) * 100)) : 0} />
            </div>
          );
        })}
      {invoice.data && <Statistic title={t('billing.soFar', { period: invoice.data.period })} value={money(invoice.data.total, invoice.data.currency, i18n.language)} />}
    </Card>
  );
}

function RunsCard({ org, project }: { org: string; project: string }) {
  const { t } = useTranslation();
  const query = useList<Run>(['runs', org, project, 'recent'], cicd.runs(org, project), { query: { limit: 5 }, interval: 15_000 });
  return (
    <Card title={t('overview.runs')} extra={<Link to={to.runs(org, project)}>{t('common.details')}</Link>}>
      {query.items.length === 0 && <EmptyState text={t('runs.empty')} action={<LinkButton to={to.repositories(org, project)}>{t('menu.repositories')}</LinkButton>} />}
      {query.items.map((run) => (
        <div className="event-row" key={run.id}>
          <span className="grow">
            <Link to={to.run(org, project, run.id)}>
              {run.repository} #{run.number}
            </Link>{' '}
            {run.message}
          </span>
          <State value={run.state} />
        </div>
      ))}
    </Card>
  );
}
