import { describe, expect, it } from 'vitest';

import { formOf, partOf, partText, settingsOf } from '../src/pages/nodes/settings';

describe('settings of a node', () => {
  it('are the same after the form', () => {
    const settings = {
      labels: { disk: 'ssd', place: '' },
      taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }, { key: 'old', value: '', effect: 'NoExecute' }],
      overcommit_cpu_percent: 200,
      overcommit_memory_percent: null,
      system: { cpu_millis: 500, memory_bytes: 512 * 1024 * 1024, storage_bytes: 7, pids: 1 },
      max_instances: 40,
      bandwidth_kbps: 0,
      reserved: [{ space: 'acme/shop/production', amounts: { cpu_millis: 4000, memory_bytes: 1024 * 1024 * 1024, pids: 3 } }],
    };
    expect(settingsOf(formOf(settings), settings)).toEqual(settings);
  });

  it('are what the platform has where nothing is said', () => {
    const none = { labels: {}, taints: [], overcommit_cpu_percent: null, overcommit_memory_percent: null, system: { cpu_millis: 0, memory_bytes: 0 }, max_instances: 0, bandwidth_kbps: 0, reserved: [] };
    expect(settingsOf(formOf({}), {})).toEqual(none);
  });
});

describe('conditions on nodes', () => {
  it('are lines', () => {
    const parts = [{ attribute: 'node.labels.disk', operator: 'in', values: ['ssd', 'nvme'], weight: 30 }, { attribute: 'node.zone', operator: 'exists', values: [] }];
    expect(parts.map(partText)).toEqual(['node.labels.disk in ssd,nvme *30', 'node.zone exists']);
    expect(parts.map((part) => partOf(partText(part)))).toEqual(parts);
    expect(partOf('node.arch in amd64, arm64').values).toEqual(['amd64', 'arm64']);
  });
});
