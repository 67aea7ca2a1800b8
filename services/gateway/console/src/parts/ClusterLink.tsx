// A Kubernetes cluster by its name. Who may not see it is led nowhere: a space can run on a cluster that is the platform's.

import type { ReactNode } from 'react';
import { Link } from 'react-router';

import { clusters, type Cluster } from '../api/clusters';
import { to } from '../place';
import { useList } from './query';

export function ClusterLink({ name, tab, children }: { name: string; tab?: string; children?: ReactNode }) {
  const known = useList<Cluster>(['clusters'], clusters.all);
  const text = children ?? name;
  if (!known.items.some((one) => one.name === name)) return <>{text}</>;
  return <Link to={`${to.cluster(name)}${tab ? `?tab=${tab}` : ''}`}>{text}</Link>;
}
