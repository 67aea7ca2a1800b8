// Where something runs: a machine with an agent, or a node of a Kubernetes cluster, which is found on the cluster's page.

import { Link } from 'react-router';

import { clusterOf } from '../api/clusters';
import { to } from '../place';
import { ClusterLink } from './ClusterLink';
import { useMay } from './may';

export function NodeLink({ node }: { node?: string | null }) {
  // Nodes are the platform's; who may not see them would be led nowhere.
  const operates = useMay('apps.read', {});
  if (!node) return <>–</>;
  const cluster = clusterOf(node);
  if (cluster !== null) {
    return (
      <ClusterLink name={cluster} tab="nodes">
        {node}
      </ClusterLink>
    );
  }
  return operates ? <Link to={to.node(node)}>{node}</Link> : <>{node}</>;
}
