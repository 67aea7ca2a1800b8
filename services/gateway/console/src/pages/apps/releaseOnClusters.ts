// How far a release is on each Kubernetes cluster.

import { clusterOf, type Share } from '../../api/clusters';
import type { AppItem, Instance } from '../../api/scheduler';

export interface ReleasePart {
  cluster: string;
  workload: string;
  /** Of the new revision. */
  fresh: number;
  /** Of these, those that requests are sent to. */
  ready: number;
  /** Of earlier revisions. */
  old: number;
  /** How many there are to be when it is over. */
  wanted: number;
  state: 'done' | 'going' | 'waiting';
  /** One sentence for a person, if there is one. */
  reason: string;
}

const stateOf = (part: Pick<ReleasePart, 'fresh' | 'ready' | 'old' | 'wanted'>): ReleasePart['state'] => {
  if (part.old === 0 && part.ready >= part.wanted) return 'done';
  return part.fresh === 0 ? 'waiting' : 'going';
};

/** By cluster, in the order in which the space names them, then by workload. Nothing for what runs on nodes. */
export function releaseParts(app: Pick<AppItem, 'revision' | 'workloads'>, instances: Pick<Instance, 'node' | 'workload' | 'revision' | 'available' | 'ended_at'>[], shares: Share[]): ReleasePart[] {
  const there = instances.filter((one) => !one.ended_at && clusterOf(one.node) !== null);
  const clusters = [...new Set([...shares.map((one) => one.cluster), ...there.map((one) => clusterOf(one.node)!)])];
  return clusters.flatMap((cluster) =>
    app.workloads.flatMap((workload) => {
      const own = there.filter((one) => clusterOf(one.node) === cluster && one.workload === workload.name);
      const share = shares.find((one) => one.cluster === cluster && one.workload === workload.name);
      if (own.length === 0 && !share) return [];
      const fresh = own.filter((one) => one.revision === app.revision);
      const counts = { fresh: fresh.length, ready: fresh.filter((one) => one.available).length, old: own.length - fresh.length, wanted: share?.replicas ?? (clusters.length === 1 ? workload.replicas : fresh.length) };
      return [{ cluster, workload: workload.name, ...counts, state: stateOf(counts), reason: share?.reason ?? '' }];
    }),
  );
}
