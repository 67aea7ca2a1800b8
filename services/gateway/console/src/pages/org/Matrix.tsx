// A row for everybody with a role here or above, a column for each area of permissions.

import { Card, Flex, Table, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import { people, type MatrixRow, type Permission } from '../../api/people';
import { PagedTable, usePaged } from '../../parts/paged';
import { useList } from '../../parts/query';

export default function Matrix({ org }: { org: string }) {
  const { t } = useTranslation();
  const query = usePaged<MatrixRow>(['matrix', org], people.matrix, { query: { org } });
  const published = useList<Permission>(['permissions'], people.permissions);
  const areas = [...new Set(published.items.map((permission) => permission.area))];
  return (
    <Card title={t('access.matrix')}>
      <PagedTable<MatrixRow>
        label={t('access.matrix')}
        query={query}
        rowKey="subject"
        empty={t('access.nobody')}
        columns={[
          { title: t('org.who'), dataIndex: 'name', fixed: 'left' },
          Table.EXPAND_COLUMN,
          ...areas.map((area) => ({
            key: area,
            title: area,
            render: (_: unknown, row: MatrixRow) => {
              const of = published.items.filter((permission) => permission.area === area);
              const has = of.filter((permission) => row.permissions.includes(permission.name)).length;
              return has === 0 ? '–' : <Tag color={has === of.length ? 'green' : 'gold'}>{`${has}/${of.length}`}</Tag>;
            },
          })),
        ]}
        expandable={{
          expandedRowRender: (row) => (
            <Flex gap={4} wrap>
              {row.permissions.map((name) => (
                <Tag key={name}>{name}</Tag>
              ))}
            </Flex>
          ),
        }}
      />
    </Card>
  );
}
