// The spaces of an organisation: which run on this cluster, and moving one there or away.

import { Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { scheduler } from '../../api/scheduler';
import { DataTable, LinkButton } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { useAction } from '../../parts/query';
import { to } from '../../place';
import { placeName, spacesKey, useSpaces, type SpacePlace } from './useSpaces';

export function Spaces({ cluster, org }: { cluster: string; org?: string }) {
  const { t } = useTranslation();
  const query = useSpaces(org);
  const move = useAction(({ at, on }: { at: SpacePlace; on: string | null }) => scheduler.setRules(scheduler.rules(at.org, at.project, at.space), { ...at.rules, cluster: on }), {
    done: t('clusters.moves'),
    refresh: [spacesKey(org ?? ''), ['rules']],
  });
  const items = (query.data ?? []).toSorted((a, b) => Number(b.rules?.cluster === cluster) - Number(a.rules?.cluster === cluster) || placeName(a).localeCompare(placeName(b)));
  return (
    <DataTable<SpacePlace>
      label={t('clusters.spaces')}
      query={{ ...query, isPending: query.isPending && org !== undefined, items }}
      rowKey={placeName}
      search={(one) => `${placeName(one)} ${one.rules?.cluster ?? ''}`}
      empty={t('clusters.noSpaces')}
      emptyAction={org ? <LinkButton to={to.org(org)}>{org}</LinkButton> : <LinkButton to="/orgs">{t('menu.orgs')}</LinkButton>}
      columns={[
        { title: t('level.space'), render: (_, one) => <Link to={to.apps(one.org, one.project, one.space)}>{placeName(one)}</Link> },
        {
          title: t('clusters.runsOn'),
          render: (_, one) =>
            one.rules === null ? t('clusters.unknown') : one.rules.cluster === cluster ? <Tag color="green">{t('clusters.thisOne')}</Tag> : one.rules.cluster ? <Link to={to.cluster(one.rules.cluster)}>{one.rules.cluster}</Link> : t('clusters.onNodes'),
        },
        {
          title: t('common.actions'),
          render: (_, one) =>
            one.rules && (
              <Flex gap={4}>
                {one.rules.cluster === cluster ? (
                  <AskButton ask={t('clusters.confirmAway', { place: placeName(one) })} label={t('clusters.away')} loading={move.isPending && move.variables.at === one} onConfirm={() => move.mutate({ at: one, on: null })} />
                ) : (
                  <AskButton ask={t('clusters.confirmHere', { place: placeName(one), cluster })} label={t('clusters.here')} loading={move.isPending && move.variables.at === one} onConfirm={() => move.mutate({ at: one, on: cluster })} />
                )}
                <LinkButton small to={to.rules(one.org, one.project, one.space)}>
                  {t('rules.title')}
                </LinkButton>
              </Flex>
            ),
        },
      ]}
    />
  );
}
