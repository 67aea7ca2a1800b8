// Services of a space with their addresses, and its configurations and secrets with who reads them. Contents are never shown.

import { Card, Flex, Table, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { to } from '../../place';
import type { SpaceApp } from '../nodes/useSpaceApps';
import { configsOf, servicesOf, type ConfigRow, type ServiceRow } from './rows';

interface Props {
  apps: SpaceApp[];
  org: string;
  project: string;
  space: string;
}

export function Services({ apps, org, project, space }: Props) {
  const { t } = useTranslation();
  return (
    <Card title={t('space.services')}>
      <Table<ServiceRow>
        size="small"
        aria-label={t('space.services')}
        rowKey={(one) => `${one.app}/${one.name}`}
        pagination={{ pageSize: 20, hideOnSinglePage: true }}
        dataSource={servicesOf(apps)}
        locale={{ emptyText: t('parts.none') }}
        scroll={{ x: 'max-content' }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('deploy.app'), render: (_, one) => <Link to={to.app(org, project, space, one.app)}>{one.app}</Link> },
          { title: t('space.inside'), render: (_, one) => <span className="mono">{one.inside}</span> },
          { title: t('editor.protocol'), dataIndex: 'protocol' },
          { title: t('editor.balance'), render: (_, one) => t(`editor.balances.${one.balance}`, { defaultValue: one.balance }) },
          { title: t('space.reaches'), render: (_, one) => `${one.workload} (${one.ready}/${one.replicas})` },
          {
            title: t('apps.endpoints'),
            render: (_, one) => (
              <Flex vertical>
                {one.addresses.map((address) => (
                  <span key={address} className="mono">
                    {address}
                  </span>
                ))}
              </Flex>
            ),
          },
        ]}
      />
    </Card>
  );
}

export function Configs({ apps, org, project, space }: Props) {
  const { t } = useTranslation();
  return (
    <Card title={t('goes.configs')}>
      <Table<ConfigRow>
        size="small"
        aria-label={t('goes.configs')}
        rowKey={(one) => `${one.app}/${one.name}`}
        pagination={{ pageSize: 20, hideOnSinglePage: true }}
        dataSource={configsOf(apps)}
        locale={{ emptyText: t('parts.none') }}
        scroll={{ x: 'max-content' }}
        columns={[
          { title: t('common.name'), dataIndex: 'name' },
          { title: t('deploy.app'), render: (_, one) => <Link to={to.app(org, project, space, one.app)}>{one.app}</Link> },
          { title: t('apps.kind'), render: (_, one) => <Tag color={one.secret ? 'red' : 'blue'}>{t(one.secret ? 'space.secret' : 'space.config')}</Tag> },
          { title: t('space.entries'), render: (_, one) => one.entries.join(', ') },
          { title: t('space.readBy'), render: (_, one) => one.readers.join(', ') || '–' },
          { title: t('apps.revision'), dataIndex: 'revision' },
        ]}
      />
    </Card>
  );
}
