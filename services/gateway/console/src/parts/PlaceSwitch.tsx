// Organisation / project / space: choose one and every page is about it.

import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Cascader } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { to, usePlace } from '../place';
import { beginning, below, platform, replaced, type Option } from './places';

const KEY = ['places'];

export function PlaceSwitch() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const client = useQueryClient();
  const place = usePlace();
  const [open, setOpen] = useState(false);
  // Nobody needs it on every page: it is read when it is opened.
  const query = useQuery({ queryKey: KEY, queryFn: () => beginning(platform), enabled: open, staleTime: 30_000, refetchOnWindowFocus: false });
  const value = [place.org, place.project, place.space].filter((part) => part !== undefined);
  return (
    <Cascader<Option>
      className="place-switch"
      aria-label={t('place.switch')}
      placeholder={t('place.choose')}
      options={query.data ?? []}
      loading={query.isFetching}
      value={value}
      changeOnSelect
      allowClear={false}
      expandTrigger="hover"
      showSearch
      notFoundContent={t(query.isFetching ? 'common.loading' : 'place.none')}
      open={open}
      onOpenChange={setOpen}
      loadData={(chosen) => {
        const path = chosen.map((one) => one.value);
        const last = chosen.at(-1);
        if (last === undefined || last.children !== undefined) return;
        void below(platform, last, path).then(
          (read) => client.setQueryData<Option[]>(KEY, (old) => old && replaced(old, path, read)),
          // It is asked for again the next time it is looked at.
          () => undefined,
        );
      }}
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
