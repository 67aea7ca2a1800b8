// Pools of public addresses: what there is, what is free, and who has which address.

import { PlusOutlined } from '@ant-design/icons';
import { Button, Flex, Progress, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { isDeleted, pools, type Pool } from '../../api/pools';
import { DataTable, PageHeader } from '../../parts/basics';
import { decimal } from '../../parts/format';
import { useMay } from '../../parts/may';
import { useList } from '../../parts/query';
import { to } from '../../place';
import { Claims } from './Claims';
import { DeletePool } from './DeletePool';
import { PoolForm } from './PoolForm';

export default function Addresses() {
  const { t, i18n } = useTranslation();
  const may = useMay('apps.admin', {}) === true;
  const query = useList<Pool>(['address-pools'], pools.all, { interval: 15_000 });
  /** What the form is open for; `new`: a pool that is not there yet. */
  const [edited, setEdited] = useState<Pool | 'new' | null>(null);
  const add = may && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setEdited('new')}>
      {t('pools.add')}
    </Button>
  );
  return (
    <>
      <PageHeader title={t('menu.addresses')} sub={t('pools.sub')} actions={add} />
      <DataTable<Pool>
        label={t('menu.addresses')}
        query={query}
        rowKey="name"
        empty={t(may ? 'pools.empty' : 'pools.noneForYou')}
        emptyAction={add}
        search={(pool) => [pool.name, ...pool.addresses, ...pool.orgs, ...pool.claims.flatMap((one) => [one.address, one.app])].join(' ')}
        expandable={{ expandedRowRender: (pool) => <Claims of={pool} />, rowExpandable: (pool) => pool.claims.length > 0 }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          {
            title: t('pools.addresses'),
            render: (_, pool) => (
              <Flex gap={4} wrap>
                {pool.addresses.map((one) => (
                  <Tag key={one} className="mono">
                    {one}
                  </Tag>
                ))}
              </Flex>
            ),
          },
          { title: t('pools.orgs'), render: (_, pool) => <Orgs of={pool.orgs} /> },
          {
            title: t('pools.free'),
            render: (_, pool) => (
              <div style={{ minWidth: 150 }}>
                <Progress size="small" showInfo={false} aria-label={t('pools.usedOf', { name: pool.name })} percent={pool.size > 0 ? Math.round(((pool.size - pool.free) / pool.size) * 100) : 0} />
                {t('pools.freeOf', { free: decimal(pool.free, i18n.language), size: decimal(pool.size, i18n.language) })}
              </div>
            ),
          },
          { title: t('pools.taken'), render: (_, pool) => decimal(pool.size - pool.free, i18n.language) },
          ...(may
            ? [
                {
                  title: t('common.actions'),
                  fixed: 'right' as const,
                  render: (_: unknown, pool: Pool) => (
                    <Flex gap="small">
                      <Button size="small" onClick={() => setEdited(pool)}>
                        {t('pools.change')}
                      </Button>
                      <DeletePool pool={pool} />
                    </Flex>
                  ),
                },
              ]
            : []),
        ]}
      />
      {may && <PoolForm of={edited} onClose={() => setEdited(null)} />}
    </>
  );
}

function Orgs({ of }: { of: string[] }) {
  const { t } = useTranslation();
  if (of.length === 0) return <>{t('pools.forAll')}</>;
  return (
    <Flex gap={4} wrap>
      {of.map((org) => (isDeleted(org) ? <Tag key={org}>{t('pools.deletedOrg', { id: org.slice(-7) })}</Tag> : <Link key={org} to={to.org(org)}>{org}</Link>))}
    </Flex>
  );
}
