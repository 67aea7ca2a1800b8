// The terminal of an application in the whole window: any of its instances.

import { Flex, Select } from 'antd';
import { lazy, Suspense } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams, useSearchParams } from 'react-router';

import { scheduler, type Instance } from '../../api/scheduler';
import { Answer, EmptyState, LinkButton, PageHeader } from '../../parts/basics';
import { Loading } from '../../parts/Loading';
import { useLiveList } from '../../parts/query';
import { to } from '../../place';
import { Containers } from './Containers';

const Terminal = lazy(() => import('./Terminal'));

const nameOf = (one: Instance) => one.name || `${one.workload}-${one.index}`;

export default function AppTerminal() {
  const { t } = useTranslation();
  const params = useParams();
  const [org, project, space, app] = [params.org!, params.project!, params.space!, params.app!];
  const url = scheduler.app(org, project, space, app);
  const [search, setSearch] = useSearchParams();
  const query = useLiveList<Instance>(['instances', url], `${url}/instances`);
  const back = to.app(org, project, space, app);
  const alive = query.items.filter((one) => !one.ended_at && one.state !== 'exited' && one.state !== 'lost');
  const wanted = search.get('instance');
  // An instance that ends stays open: what it last wrote can still be read.
  const chosen = query.items.find((one) => one.id === wanted) ?? alive.find((one) => one.state === 'running') ?? alive[0];
  const container = chosen?.containers?.find((one) => one === search.get('container'));
  return (
    <>
      <PageHeader title={t('terminal.title')} sub={<Link to={back}>{app}</Link>} live={query.live} actions={<LinkButton to={back}>{t('common.back')}</LinkButton>} />
      <Answer query={query}>
        {() =>
          chosen === undefined ? (
            <EmptyState text={t('terminal.none')} action={<LinkButton to={back}>{app}</LinkButton>} />
          ) : (
            <>
              <Flex gap="small" align="center" className="toolbar" wrap>
                {t('terminal.instance')}
                <Select
                  aria-label={t('terminal.instance')}
                  style={{ minWidth: 260 }}
                  value={chosen.id}
                  onChange={(id) => setSearch({ instance: id }, { replace: true })}
                  options={[...new Set([...alive, chosen])].map((one) => ({ value: one.id, label: `${nameOf(one)} · ${t(`state.${one.state}`, { defaultValue: one.state })} · ${one.node}` }))}
                />
                <Containers of={chosen} value={container} onChange={(name) => setSearch({ instance: chosen.id, ...(name ? { container: name } : {}) }, { replace: true })} />
              </Flex>
              <Suspense fallback={<Loading />}>
                <Terminal key={`${chosen.id}/${container ?? ''}`} at={{ app: url, instance: chosen.id, container }} name={nameOf(chosen)} tall />
              </Suspense>
            </>
          )
        }
      </Answer>
    </>
  );
}
