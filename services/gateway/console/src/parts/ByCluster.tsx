// A table of what Kubernetes clusters have of an application, a line for each cluster and workload.

import { Table, type TableProps } from 'antd';
import { useTranslation } from 'react-i18next';

import { ClusterLink } from './ClusterLink';
import { long } from './long';

interface OfCluster {
  cluster: string;
  workload: string;
  /** One sentence for a person, if there is one. */
  reason: string;
}

/** `columns`: what is said between the workload and the reason. */
export function ByCluster<T extends OfCluster>({ label, of, columns }: { label: string; of: T[]; columns: NonNullable<TableProps<T>['columns']> }) {
  const { t } = useTranslation();
  return (
    <Table<T>
      size="small"
      aria-label={label}
      rowKey={(one) => `${one.cluster}/${one.workload}`}
      pagination={{ pageSize: 20, hideOnSinglePage: true }}
      scroll={{ x: 'max-content' }}
      dataSource={of}
      columns={[
        { title: t('where.one'), dataIndex: 'cluster', render: (name: string) => <ClusterLink name={name} /> },
        { title: t('instance.workload'), dataIndex: 'workload' },
        ...columns,
        { title: t('apps.reason'), dataIndex: 'reason', render: long },
      ]}
    />
  );
}
