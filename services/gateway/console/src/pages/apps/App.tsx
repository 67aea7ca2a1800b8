// One application: its instances, why it is as it is, log, metrics, revisions, and everything that can be done to it.

import { CodeOutlined, PauseOutlined, PlayCircleOutlined, ReloadOutlined, RocketOutlined } from '@ant-design/icons';
import { Button, Flex, Popconfirm } from 'antd';
import { lazy } from 'react';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';

import { scheduler, type AppItem } from '../../api/scheduler';
import { AuditTable } from '../../parts/AuditTable';
import { Answer, LinkButton, PageHeader, State } from '../../parts/basics';
import { useMay } from '../../parts/may';
import { Metrics } from '../../parts/Metrics';
import { useAction, useLive } from '../../parts/query';
import { PageTabs } from '../../parts/tabs';
import { to } from '../../place';
import { DeleteApp } from './DeleteApp';

const AppLogs = lazy(() => import('./AppLogs'));
const AppInstances = lazy(() => import('./AppInstances'));
const Scaling = lazy(() => import('./Scaling'));
const AppSigns = lazy(() => import('./AppSigns'));
const Revisions = lazy(() => import('./Revisions'));

export default function AppPage() {
  const { t } = useTranslation();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const space = params.space!;
  const name = params.app!;
  const url = scheduler.app(org, project, space, name);
  const write = useMay('apps.write', { org, project, space });
  const exec = useMay('apps.exec', { org, project, space });
  const audit = useMay('monitoring.admin', { org });
  const query = useLive<AppItem>(['app', url], url);
  const refresh = [['app', url], ['instances', url], ['revisions', url]];
  const act = useAction((verb: 'restart' | 'stop' | 'start') => scheduler.act(url, verb), { done: t('apps.done'), refresh });
  return (
    <Answer query={query}>
      {() => {
        const app = query.data!;
        const stopped = app.state === 'stopped';
        return (
          <>
            <PageHeader
              title={name}
              live={query.live}
              sub={
                <Flex gap="small" align="center">
                  <State value={app.state} />
                  <span>{app.reason}</span>
                </Flex>
              }
              actions={
                <>
                  {exec && (
                    <LinkButton icon={<CodeOutlined />} to={to.terminal(org, project, space, name)}>
                      {t('terminal.title')}
                    </LinkButton>
                  )}
                  {write && (
                    <>
                      <LinkButton primary icon={<RocketOutlined />} to={to.deploy(org, project, space, name)}>
                        {t('apps.newRevision')}
                      </LinkButton>
                      <Button icon={<ReloadOutlined />} disabled={stopped} loading={act.isPending && act.variables === 'restart'} onClick={() => act.mutate('restart')}>
                        {t('apps.restart')}
                      </Button>
                      {stopped ? (
                        <Button icon={<PlayCircleOutlined />} onClick={() => act.mutate('start')}>
                          {t('apps.start')}
                        </Button>
                      ) : (
                        <Popconfirm title={t('apps.confirmStop')} okText={t('apps.stop')} cancelText={t('common.cancel')} onConfirm={() => act.mutate('stop')}>
                          <Button icon={<PauseOutlined />}>{t('apps.stop')}</Button>
                        </Popconfirm>
                      )}
                      <DeleteApp app={app} url={url} back={to.apps(org, project, space)} />
                    </>
                  )}
                </>
              }
            />
            <PageTabs
              items={[
                { key: 'instances', label: t('apps.instances'), children: <AppInstances app={app} url={url} /> },
                { key: 'logs', label: t('apps.logs'), children: <AppLogs name={name} url={url} /> },
                { key: 'metrics', label: t('apps.metrics'), children: <Metrics url={`${url}/metrics`} name={name} /> },
                { key: 'scaling', label: t('scaling.title'), children: <Scaling url={url} /> },
                { key: 'revisions', label: t('apps.revisions'), children: <Revisions url={url} /> },
                { key: 'signs', label: t('signs.tab'), children: <AppSigns url={url} /> },
                // The audit trail is for administrators.
                ...(audit ? [{ key: 'events', label: t('instance.events'), children: <AuditTable filter={{ object: `app:${app.id}` }} /> }] : []),
              ]}
            />
          </>
        );
      }}
    </Answer>
  );
}
