// One project: its spaces, what it holds, and its limits.

import { PlusOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Flex, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';

import { billing } from '../api/billing';
import { catalog, type ServiceInstance } from '../api/catalog';
import { get } from '../api/http';
import { scheduler, type AppItem } from '../api/scheduler';
import { identity, type Project as ProjectType, type SpaceOf } from '../api/identity';
import { Answer, DataTable, LinkButton, PageHeader, Time } from '../parts/basics';
import { DeleteByName } from '../parts/dialogs';
import { NameDialog } from '../parts/forms';
import { QuotaCard } from '../parts/QuotaCard';
import { useMay } from '../parts/may';
import { useAction, useList } from '../parts/query';
import { forgetPlace, to } from '../place';

export default function Project() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const params = useParams();
  const org = params.org!;
  const project = params.project!;
  const query = useQuery({ queryKey: ['project', org, project], queryFn: () => get<ProjectType>(identity.project(org, project)) });
  const spaces = useList<SpaceOf>(['spaces', org, project], identity.spaces(org, project));
  const admin = useMay('identity.admin', { org, project });
  const [open, setOpen] = useState(false);
  const refresh = [['spaces', org, project], ['places']];
  const create = useAction((name: string) => identity.createSpace(org, project, { name }), { done: t('project.spaceCreated'), refresh, onDone: () => setOpen(false) });
  const removeSpace = useAction((name: string) => identity.deleteSpace(org, project, name), { done: t('project.spaceDeleted'), refresh });
  const remove = useAction(() => identity.deleteProject(org, project), {
    done: t('project.deleted'),
    refresh: [['projects', org], ['places']],
    onDone: () => {
      forgetPlace();
      void navigate(to.org(org));
    },
  });
  return (
    <>
      <PageHeader
        title={project}
        sub={
          <Flex gap="small">
            <Link to={to.org(org)}>{org}</Link>
            {query.data?.public && <Tag>{t('org.public')}</Tag>}
          </Flex>
        }
        actions={
          <>
            <LinkButton to={to.repositories(org, project)}>{t('menu.repositories')}</LinkButton>
            <LinkButton to={to.runs(org, project)}>{t('menu.runs')}</LinkButton>
            <LinkButton to={to.images(org, project)}>{t('menu.images')}</LinkButton>
            {admin && (
              <DeleteByName name={project} title={t('project.confirmDelete', { name: project })} label={t('common.delete')} pending={remove.isPending} onDelete={() => remove.mutate()}>
                <Takes of={spaces.items.map((one) => `${t('level.space')} ${one.name}`)} />
              </DeleteByName>
            )}
          </>
        }
      />
      <Answer query={query}>
        {() => (
          <div className="stack">
            <Card
              title={t('project.spaces')}
              extra={
                admin && (
                  <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
                    {t('project.createSpace')}
                  </Button>
                )
              }
            >
              <DataTable<SpaceOf>
                label={t('project.spaces')}
                query={spaces}
                rowKey="name"
                empty={t('project.noSpaces')}
                search={(space) => space.name}
                inAddress
                columns={[
                  { title: t('common.name'), dataIndex: 'name', render: (name: string) => <Link to={to.apps(org, project, name)}>{name}</Link> },
                  {
                    title: t('parts.open'),
                    render: (_, row) => (
                      <Flex gap="middle" wrap>
                        <Link to={to.apps(org, project, row.name)}>{t('menu.apps')}</Link>
                        <Link to={to.network(org, project, row.name)}>{t('menu.network')}</Link>
                        <Link to={to.instances(org, project, row.name)}>{t('menu.services')}</Link>
                      </Flex>
                    ),
                  },
                  { title: t('common.created'), dataIndex: 'created_at', render: (at?: string) => <Time at={at} /> },
                  ...(admin
                    ? [
                        {
                          title: t('common.actions'),
                          render: (_: unknown, row: SpaceOf) => (
                            <DeleteByName
                              small
                              name={row.name}
                              title={t('project.confirmDeleteSpace', { name: row.name })}
                              label={t('common.delete')}
                              pending={removeSpace.isPending}
                              onDelete={(close) => removeSpace.mutate(row.name, { onSuccess: close })}
                            >
                              <InSpace org={org} project={project} space={row.name} />
                            </DeleteByName>
                          ),
                        },
                      ]
                    : []),
                ]}
              />
            </Card>
            <QuotaCard name="project" url={billing.projectQuota(org, project)} />
          </div>
        )}
      </Answer>
      <NameDialog open={open} title={t('project.createSpace')} pending={create.isPending} error={create.error} onCancel={() => setOpen(false)} onName={(name) => create.mutate(name)} />
    </>
  );
}

/** What goes with it; nothing is known while it is asked for. */
function Takes({ of }: { of?: string[] }) {
  const { t } = useTranslation();
  return (
    <Alert
      type="warning"
      showIcon
      title={t(of?.length === 0 ? 'project.takesNothing' : 'project.takes')}
      description={
        of && (
          <Flex gap={4} wrap>
            {of.map((name) => (
              <Tag key={name}>{name}</Tag>
            ))}
          </Flex>
        )
      }
    />
  );
}

/** Read when the dialog is open: it is there only then. */
function InSpace({ org, project, space }: { org: string; project: string; space: string }) {
  const { t } = useTranslation();
  const apps = useList<AppItem>(['apps', org, project, space, 'all'], scheduler.apps(org, project, space), { query: { limit: 500 } });
  const instances = useList<ServiceInstance>(['instances', org, project, space, 'all'], catalog.instances(org, project, space));
  const known = !apps.isPending && !instances.isPending;
  return <Takes of={known ? [...apps.items.map((one) => `${t('deploy.app')} ${one.name}`), ...instances.items.map((one) => `${t('menu.services')} ${one.name}`)] : undefined} />;
}
