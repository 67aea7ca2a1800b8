// The addresses of a pool that are in use: who has which, and on which node it is.

import { Table } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { placeOfApp, type Claim, type Pool } from '../../api/pools';
import { NodeLink } from '../../parts/NodeLink';
import { to } from '../../place';

export function Claims({ of }: { of: Pool }) {
  const { t } = useTranslation();
  return (
    <Table<Claim>
      size="small"
      aria-label={t('pools.takenOf', { name: of.name })}
      rowKey={(one) => `${one.address} ${one.app}`}
      pagination={{ pageSize: 20, hideOnSinglePage: true }}
      scroll={{ x: 'max-content' }}
      dataSource={of.claims}
      columns={[
        { title: t('apps.address'), dataIndex: 'address', render: (address: string) => <span className="mono">{address}</span> },
        { title: t('deploy.app'), render: (_, one) => <AppOf app={one.app} /> },
        { title: t('apps.node'), render: (_, one) => <NodeLink node={one.node} /> },
      ]}
    />
  );
}

function AppOf({ app }: { app: string }) {
  const place = placeOfApp(app);
  return place ? <Link to={to.app(...place)}>{app}</Link> : <span className="mono">{app}</span>;
}
