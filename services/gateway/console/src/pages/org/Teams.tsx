// Teams of an organisation; a team below another has that one's rights as well.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Card, Flex, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { people, type ServiceAccount, type Team, type TeamMember } from '../../api/people';
import { DataTable, Time } from '../../parts/basics';
import { DeleteButton, FormDialog } from '../../parts/dialogs';
import { ChoiceField, NameField, TextField, UserSelect } from '../../parts/fields';
import { useMay } from '../../parts/may';
import { useAction, useList, useLiveList } from '../../parts/query';

interface Change {
  display_name?: string;
  parent?: string;
}

export default function Teams({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = useLiveList<Team>(['teams', org], people.teams(org), { query: { limit: 500 } });
  const may = useMay('identity.teams-write', { org });
  const [open, setOpen] = useState(false);
  const refresh = [['teams', org]];
  const create = useAction((body: { name: string; parent?: string }) => people.createTeam(org, body), { done: t('access.teamCreated'), refresh, onDone: () => setOpen(false) });
  const [changing, setChanging] = useState<Team | null>(null);
  const change = useAction((body: Change) => people.changeTeam(org, changing!.name, { display_name: body.display_name ?? '', parent: body.parent ?? '' }), { done: t('teamChange.saved'), refresh, onDone: () => setChanging(null) });
  const drop = useAction((team: string) => people.deleteTeam(org, team), { done: t('access.teamDeleted'), refresh });
  return (
    <Card
      title={t('access.teams')}
      extra={
        may && (
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
            {t('access.createTeam')}
          </Button>
        )
      }
    >
      <DataTable<Team>
        label={t('access.teams')}
        query={query}
        rowKey="id"
        empty={t('access.noTeams')}
        search={(team) => `${team.name} ${team.display_name} ${team.parent ?? ''}`}
        expandable={{ expandedRowRender: (team) => <TeamMembers org={org} team={team.name} may={may === true} /> }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('people.name'), dataIndex: 'display_name' },
          { title: t('access.parent'), dataIndex: 'parent', render: (name: string | null) => name ?? '–' },
          { title: t('common.created'), dataIndex: 'created_at', render: (at: string) => <Time at={at} /> },
          {
            title: t('common.actions'),
            key: 'do',
            render: (_, team) =>
              may && (
                <Flex gap={4}>
                  <Button size="small" onClick={() => setChanging(team)}>
                    {t('teamChange.edit')}
                  </Button>
                  <DeleteButton name={team.name} onConfirm={() => drop.mutate(team.name)} />
                </Flex>
              ),
          },
        ]}
      />
      <FormDialog<{ name: string; parent?: string }> open={open} title={t('access.createTeam')} pending={create.isPending} error={create.error} onClose={() => setOpen(false)} onSubmit={create.mutate}>
        <NameField />
        <ChoiceField name="parent" label={t('access.parent')} options={query.items.map(({ name }) => ({ value: name, label: name }))} />
      </FormDialog>
      <FormDialog<Change>
        open={changing !== null}
        title={t('teamChange.of', { name: changing?.name })}
        ok={t('common.save')}
        pending={change.isPending}
        error={change.error}
        initial={{ display_name: changing?.display_name, parent: changing?.parent ?? undefined }}
        onClose={() => setChanging(null)}
        onSubmit={change.mutate}
      >
        <TextField name="display_name" label={t('people.name')} max={100} focus />
        <ChoiceField name="parent" label={t('access.parent')} options={query.items.filter(({ name }) => name !== changing?.name).map(({ name }) => ({ value: name, label: name }))} />
      </FormDialog>
    </Card>
  );
}

function TeamMembers({ org, team, may }: { org: string; team: string; may: boolean }) {
  const { t } = useTranslation();
  const key = ['team', org, team];
  const query = useList<TeamMember>(key, people.members(org, team), { query: { limit: 500 } });
  const accounts = useList<ServiceAccount>(['accounts', org, 'all'], people.accounts(org), { query: { limit: 500 } });
  const add = useAction((subject: string) => people.putMember(org, team, subject), { refresh: [key] });
  const drop = useAction((subject: string) => people.removeMember(org, team, subject), { refresh: [key] });
  return (
    <Flex gap="small" wrap align="center">
      {query.items.map((member) => (
        <Tag key={member.subject} closable={may && { closeIcon: true, 'aria-label': t('access.takeOut', { name: member.name }) }} onClose={(event) => (event.preventDefault(), drop.mutate(member.subject))}>
          {member.name}
        </Tag>
      ))}
      {may && <UserSelect org={org} label={t('access.addMember')} more={accounts.items.map(({ name }) => ({ value: `robot:${name}`, label: `${t('access.account')} ${name}` }))} onChange={(subject) => subject && add.mutate(subject)} />}
      {query.isSuccess && query.items.length === 0 && t('org.noMembers')}
    </Flex>
  );
}
