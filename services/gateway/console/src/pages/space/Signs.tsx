// Signs of an intrusion in all applications of a space, by kind, application and node; and what follows from them.

import { Checkbox, Flex, Select } from 'antd';
import { lazy, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import type { Query } from '../../api/http';
import { scheduler, type AppItem } from '../../api/scheduler';
import { SIGN_KINDS, signs, type Sign } from '../../api/signs';
import { LinkButton, PageHeader } from '../../parts/basics';
import { useList, useLiveList } from '../../parts/query';
import { PageTabs } from '../../parts/tabs';
import { to } from '../../place';
import { SignsTable } from './SignsTable';

const GuardForm = lazy(() => import('./GuardForm'));

export default function Signs() {
  const { t } = useTranslation();
  const params = useParams();
  const [org, project, space] = [params.org!, params.project!, params.space!];
  const url = signs.ofSpace(org, project, space);
  const [filter, setFilter] = useState<{ sign?: string; app?: string; node?: string; open?: true }>({});
  const query = useLiveList<Sign>(['signs', url], url, { query: filter as Query });
  // Which nodes there are to choose from is known by what was found there: most people may not list the nodes.
  const all = useList<Sign>(['signs', url, 'all'], url, { interval: 30_000 });
  const apps = useList<AppItem>(['apps', org, project, space, 'names'], scheduler.apps(org, project, space), { query: { limit: 500 } });
  const nodes = [...new Set([...all.items.map((one) => one.node), ...(filter.node ? [filter.node] : [])])].toSorted();
  const { open, ...narrow } = filter;
  const chosen = Object.values(narrow).some((one) => one !== undefined);
  const choice = (field: 'sign' | 'app' | 'node', label: string, options: { value: string; label: string }[]) => (
    <Select allowClear showSearch={{ optionFilterProp: 'label' }} className="filter" aria-label={label} placeholder={label} value={filter[field]} onChange={(value?: string) => setFilter({ ...filter, [field]: value })} options={options} />
  );
  return (
    <>
      <PageHeader
        title={t('menu.signs')}
        sub={
          <Flex gap="small" wrap>
            <Link to={to.apps(org, project, space)}>{`${org}/${project}/${space}`}</Link>
            {t('signs.sub')}
          </Flex>
        }
        live={query.live}
        actions={<LinkButton to={to.rules(org, project, space)}>{t('rules.title')}</LinkButton>}
      />
      <PageTabs
        items={[
          {
            key: 'found',
            label: t('signs.found'),
            children: (
              <>
                <Flex className="toolbar" gap="small" wrap>
                  {choice('sign', t('signs.kind'), SIGN_KINDS.map((value) => ({ value, label: t(`signs.kinds.${value}`) })))}
                  {choice('app', t('deploy.app'), apps.items.map(({ name }) => ({ value: name, label: name })))}
                  {choice('node', t('apps.node'), nodes.map((value) => ({ value, label: value })))}
                  <Checkbox checked={open === true} onChange={(event) => setFilter({ ...narrow, ...(event.target.checked ? { open: true } : {}) })}>
                    {t('signs.onlyOpen')}
                  </Checkbox>
                </Flex>
                <SignsTable query={query} place={[org, project, space]} empty={t(chosen ? 'signs.noneSo' : open && all.items.length > 0 ? 'signs.noneOpen' : 'signs.none')} emptyAction={<LinkButton to={`${to.signs(org, project, space)}?tab=follow`}>{t('signs.follow')}</LinkButton>} />
              </>
            ),
          },
          { key: 'follow', label: t('signs.follow'), children: <GuardForm org={org} project={project} space={space} /> },
        ]}
      />
    </>
  );
}
