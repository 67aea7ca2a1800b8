// The spaces of an organisation: which run on this cluster, and moving one there or away.

import { Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { clustersOf } from '../../api/clusters';
import { scheduler, type SpaceRules } from '../../api/scheduler';
import { DataTable, LinkButton } from '../../parts/basics';
import { ClusterLink } from '../../parts/ClusterLink';
import { AskButton } from '../../parts/dialogs';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';
import { to } from '../../place';
import { placeName, spacesKey, useSpaces, type SpacePlace } from './useSpaces';

/** Onto the cluster alone, or away from it: what is on others stays there. */
export function moved(rules: SpaceRules, cluster: string, on: boolean): SpaceRules {
  const others = rules.clusters?.clusters.filter((one) => one.cluster !== cluster) ?? [];
  if (!on && others.length > 0) return { ...rules, clusters: { ...rules.clusters, clusters: others } };
  return { ...rules, cluster: on ? cluster : null, ...('clusters' in rules ? { clusters: null } : {}) };
}

export function Spaces({ cluster, org }: { cluster: string; org?: string }) {
  const { t } = useTranslation();
  const query = useSpaces(org);
  const here = (one: SpacePlace) => clustersOf(one.rules).includes(cluster);
  const items = (query.data ?? []).toSorted((a, b) => Number(here(b)) - Number(here(a)) || placeName(a).localeCompare(placeName(b)));
  return (
    <DataTable<SpacePlace>
      label={t('clusters.spaces')}
      query={{ ...query, isPending: query.isPending && org !== undefined, items }}
      rowKey={placeName}
      search={(one) => `${placeName(one)} ${clustersOf(one.rules).join(' ')}`}
      empty={t('clusters.noSpaces')}
      emptyAction={org ? <LinkButton to={to.org(org)}>{org}</LinkButton> : <LinkButton to="/orgs">{t('menu.orgs')}</LinkButton>}
      columns={[
        { title: t('level.space'), render: (_, one) => <Link to={to.apps(one.org, one.project, one.space)}>{placeName(one)}</Link> },
        {
          title: t('clusters.runsOn'),
          render: (_, one) =>
            one.rules === null ? t('clusters.unknown') : clustersOf(one.rules).length === 0 ? t('clusters.onNodes') : (
              <Flex gap={4} wrap>
                {clustersOf(one.rules).map((name) =>
                  name === cluster ? (
                    <Tag key={name} color="green">
                      {t('clusters.thisOne')}
                    </Tag>
                  ) : (
                    <ClusterLink key={name} name={name} />
                  ),
                )}
              </Flex>
            ),
        },
        {
          title: t('common.actions'),
          render: (_, one) =>
            one.rules && (
              <Flex gap={4}>
                <Move at={one} cluster={cluster} here={here(one)} />
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

/** For administrators of the space. */
function Move({ at, cluster, here }: { at: SpacePlace; cluster: string; here: boolean }) {
  const { t } = useTranslation();
  const may = useMay('apps.admin', { org: at.org, project: at.project, space: at.space });
  const move = useAction((on: boolean) => scheduler.changeRules(scheduler.rules(at.org, at.project, at.space), (rules) => moved(rules, cluster, on)), {
    done: t('clusters.moves'),
    refresh: [spacesKey(at.org), ['rules']],
  });
  if (!may) return null;
  const ask = here ? t('clusters.confirmAway', { place: placeName(at) }) : t('clusters.confirmHere', { place: placeName(at), cluster });
  return <AskButton ask={ask} label={t(here ? 'clusters.away' : 'clusters.here')} loading={move.isPending} onConfirm={() => move.mutate(!here)} />;
}
