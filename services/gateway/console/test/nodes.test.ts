import { describe, expect, it } from 'vitest';

import { readModel } from '../src/pages/apps/editor/model';
import { configsOf, servicesOf } from '../src/pages/space/rows';
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

describe('parts of a space', () => {
  const text = `apiVersion: gantry.io/v1
spec:
  workloads:
    web: {image: a, env_sources: {TOKEN: keys/token}}
    job: {image: a, files: [{path: /etc/motd, source: texts/motd}]}
  services: [{name: web, workload: web, port: 8080, protocol: http}]
  configs: {keys: {secret: true, entries: {token: "\${TOKEN}"}}, texts: {entries: {motd: hello}}}
`;
  const app = { name: 'shop', revision: 4, workloads: [{ name: 'web', ready: 1, replicas: 2 }], endpoints: [{ service: 'web', url: 'http://a:1' }, { service: 'other', url: 'http://b:1' }] };
  const apps = [{ app, instances: [], model: readModel(text) }] as unknown as Parameters<typeof servicesOf>[0];

  it('are services with their addresses', () => {
    expect(servicesOf(apps)).toEqual([{ app: 'shop', name: 'web', inside: 'web.shop:8080', protocol: 'http', balance: 'roundrobin', workload: 'web', ready: 1, replicas: 2, addresses: ['http://a:1'] }]);
  });

  it('are configurations with their readers, and no contents', () => {
    expect(configsOf(apps)).toEqual([
      { app: 'shop', name: 'keys', secret: true, entries: ['token'], readers: ['web'], revision: 4 },
      { app: 'shop', name: 'texts', secret: false, entries: ['motd'], readers: ['job'], revision: 4 },
    ]);
    expect(JSON.stringify(configsOf(apps))).not.toContain('hello');
  });
});
