// One organisation: its projects and limits, and the way to its people and its protection.

import { PlusOutlined, SafetyOutlined, TeamOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Flex, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';

import { billing } from '../../api/billing';
import { get } from '../../api/http';
import { identity, type Org as OrgType, type Project } from '../../api/identity';
import { people, type Deletion } from '../../api/people';
import { Answer, LinkButton, PageHeader, Time } from '../../parts/basics';
import { DeleteByName, FormDialog } from '../../parts/dialogs';
import { CheckField, NameField, TextField } from '../../parts/fields';
import { PagedTable, usePaged } from '../../parts/paged';
import { QuotaCard } from '../../parts/QuotaCard';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';
import { PageTabs } from '../../parts/tabs';
import { forgetPlace, to } from '../../place';

export default function Org() {
  const { t } = useTranslation();
  const org = useParams().org!;
  const query = useQuery({ queryKey: ['org', org], queryFn: () => get<OrgType>(identity.org(org)) });
  return (
    <>
      <PageHeader title={query.data?.display_name || org} sub={org} actions={<Actions org={org} shown={query.data?.display_name} />} />
      <Answer query={query}>
        {() => (
          <PageTabs
            items={[
              { key: 'projects', label: t('org.projects'), children: <Projects org={org} /> },
              { key: 'quota', label: t('org.quota'), children: <QuotaCard name="org" url={billing.orgQuota(org)} /> },
            ]}
          />
        )}
      </Answer>
    </>
  );
}

function Actions({ org, shown }: { org: string; shown?: string }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const admin = useMay('identity.admin', { org });
  const deletes = useMay('identity.org-delete', { org });
  const [renaming, setRenaming] = useState(false);
  const [asked, setAsked] = useState(false);
  const deletion = useQuery({ queryKey: ['deletion', org], queryFn: () => get<Deletion>(people.deletion(org)), enabled: asked });
  const rename = useAction((body: { display_name: string }) => identity.renameOrg(org, body.display_name), { done: t('parts.saved'), refresh: [['org', org], ['orgs']], onDone: () => setRenaming(false) });
  const remove = useAction(() => identity.deleteOrg(org), {
    done: t('orgs.deleted'),
    refresh: [['orgs'], ['places']],
    onDone: () => {
      forgetPlace();
      void navigate('/orgs');
    },
  });
  const takes = deletion.data;
  return (
    <>
      <LinkButton icon={<TeamOutlined />} to={to.access(org)}>
        {t('access.title')}
      </LinkButton>
      {admin && (
        <>
          <LinkButton icon={<SafetyOutlined />} to={to.protection(org)}>
            {t('protection.orgTitle')}
          </LinkButton>
          <Button onClick={() => setRenaming(true)}>{t('orgs.rename')}</Button>
        </>
      )}
      {deletes && <DeleteByName name={org} title={t('orgs.confirmDelete', { name: org })} label={t('common.delete')} pending={remove.isPending} onOpen={() => setAsked(true)} onDelete={() => remove.mutate()}>
        <Alert
          type="warning"
          showIcon
          title={t('orgs.takes')}
          description={
            takes && (
              <Flex gap={4} wrap>
                {takes.projects.map((name) => (
                  <Tag key={name}>{`${t('level.project')} ${name}`}</Tag>
                ))}
                {(['spaces', 'members', 'teams', 'roles', 'service_accounts', 'bindings'] as const).map((kind) => takes[kind] > 0 && <Tag key={kind}>{`${t(`takes.${kind}`)}: ${takes[kind]}`}</Tag>)}
              </Flex>
            )
          }
        />
      </DeleteByName>}
      <FormDialog<{ display_name: string }> open={renaming} title={t('orgs.rename')} ok={t('common.save')} pending={rename.isPending} error={rename.error} initial={{ display_name: shown }} onClose={() => setRenaming(false)} onSubmit={rename.mutate}>
        <TextField name="display_name" label={t('common.displayName')} required max={100} focus />
      </FormDialog>
    </>
  );
}

function Projects({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = usePaged<Project>(['projects', org], identity.projects(org));
  const [open, setOpen] = useState(false);
  const create = useAction((body: { name: string; public: boolean }) => identity.createProject(org, body), {
    done: t('org.projectCreated'),
    refresh: [['projects', org], ['places']],
    onDone: () => setOpen(false),
  });
  const button = useMay('identity.admin', { org }) && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
      {t('org.createProject')}
    </Button>
  );
  return (
    <Card extra={button} title={t('org.projects')}>
      <PagedTable<Project>
        label={t('org.projects')}
        query={query}
        rowKey="name"
        empty={t('org.noProjects')}
        columns={[
          { title: t('common.name'), dataIndex: 'name', render: (name: string) => <Link to={to.project(org, name)}>{name}</Link> },
          { title: t('org.visibility'), dataIndex: 'public', render: (is: boolean) => <Tag>{t(is ? 'org.public' : 'org.private')}</Tag> },
          { title: t('org.myRole'), dataIndex: 'role', render: (role: string | null) => (role ? t(`role.${role}`) : '–') },
          { title: t('common.created'), dataIndex: 'created_at', render: (at?: string) => <Time at={at} /> },
        ]}
      />
      <FormDialog<{ name: string; public: boolean }> open={open} title={t('org.createProject')} pending={create.isPending} error={create.error} initial={{ public: false }} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <NameField />
        <CheckField name="public" label={t('org.public')} help={t('org.publicHelp')} />
      </FormDialog>
    </Card>
  );
}
