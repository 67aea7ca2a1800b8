import { describe, expect, it } from 'vitest';

import type { AppItem } from '../src/api/scheduler';
import { releaseParts } from '../src/pages/apps/releaseOnClusters';

const app = { revision: 3, workloads: [{ name: 'web', replicas: 4 }, { name: 'job', replicas: 1 }] } as unknown as AppItem;
const on = (node: string, revision: number, available = true, ended_at: string | null = null) => ({ node, workload: 'web', revision, available, ended_at });
const share = (cluster: string, replicas: number, reason: string) => ({ workload: 'web', cluster, replicas, target: replicas, ready: 0, reason });

describe('a release on clusters', () => {
  it('is told for each of several in their order: has it, under way, not begun', () => {
    const instances = [on('west--1', 2), on('west--2', 2), on('east--1', 3), on('north--1', 3, false), on('north--2', 2), on('east--9', 2, true, '2026-01-01T00:00:00Z')];
    const parts = releaseParts(app, instances, [share('east', 1, ''), share('north', 1, ''), share('west', 2, 'waits for north')]);
    expect(parts.map((one) => [one.cluster, one.state, one.ready, one.wanted, one.old])).toEqual([
      ['east', 'done', 1, 1, 0],
      ['north', 'going', 0, 1, 1],
      ['west', 'waiting', 0, 2, 2],
    ]);
    expect(parts[2]!.reason).toBe('waits for north');
  });

  it('of one cluster is measured by the workload, and of nodes it is nothing', () => {
    expect(releaseParts(app, [on('east--1', 3), on('east--2', 3, false), on('east--3', 2)], [])).toEqual([{ cluster: 'east', workload: 'web', fresh: 2, ready: 1, old: 1, wanted: 4, state: 'going', reason: '' }]);
    expect(releaseParts(app, [on('node-1', 3)], [])).toEqual([]);
  });
});
