// Organisation / project / space: choose one and every page is about it.

import { useQuery } from '@tanstack/react-query';
import { Cascader } from 'antd';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { identity } from '../api/identity';
import { to, usePlace } from '../place';

interface Option {
  value: string;
  label: string;
  children?: Option[];
}

async function everything(): Promise<Option[]> {
  const orgs = await identity.listOrgs();
  return Promise.all(
    orgs.items.map(async (org) => {
      const projects = await identity.listProjects(org.name);
      const children = await Promise.all(
        projects.items.map(async (project) => {
          const spaces = await identity.listSpaces(org.name, project.name);
          return { value: project.name, label: project.name, children: spaces.items.map((space) => ({ value: space.name, label: space.name })) };
        }),
      );
      return { value: org.name, label: org.name, children };
    }),
  );
}

export function PlaceSwitch() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const place = usePlace();
  const query = useQuery({ queryKey: ['places'], queryFn: everything, staleTime: 30_000 });
  const value = [place.org, place.project, place.space].filter((part) => part !== undefined);
  return (
    <Cascader<Option>
      className="place-switch"
      aria-label={t('place.switch')}
      placeholder={t('place.choose')}
      options={query.data ?? []}
      loading={query.isPending}
      value={value}
      changeOnSelect
      allowClear={false}
      expandTrigger="hover"
      showSearch
      notFoundContent={t('place.none')}
      onOpenChange={(open) => open && void query.refetch()}
      onChange={(chosen) => {
        const [org, project, space] = chosen as string[];
        if (org === undefined) return;
        if (project === undefined) void navigate(to.org(org));
        else if (space === undefined) void navigate(to.project(org, project));
        else void navigate(to.apps(org, project, space));
      }}
    />
  );
}
