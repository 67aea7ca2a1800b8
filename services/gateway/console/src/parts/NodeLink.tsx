// Where something runs: a machine with an agent, or a node of a Kubernetes cluster, which is found on the cluster's page.

import { Link } from 'react-router';

import { clusterOf } from '../api/clusters';
import { to } from '../place';

export function NodeLink({ node }: { node?: string | null }) {
  if (!node) return <>–</>;
  const cluster = clusterOf(node);
  return <Link to={cluster === null ? to.node(node) : `${to.cluster(cluster)}?tab=nodes`}>{node}</Link>;
}
