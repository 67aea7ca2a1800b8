import { describe, expect, it } from 'vitest';

import type { AppItem, Instance } from '../src/api/scheduler';
import { portsOf } from '../src/api/services';
import { readModel } from '../src/pages/apps/editor/model';
import { netOutside, netRoutes, netServices, shareOf } from '../src/pages/space/reach';

const TEXT = `apiVersion: gantry.io/v1
spec:
  workloads:
    web: {image: a, scaling: {min: 0, max: 3, idle_seconds: 60}}
    store: {image: b}
  services:
  - {name: web, workload: web, port: 8080, protocol: http, service_port: 80, aliases: [shop], routes: [{host: shop.example.org, weight: 3, tls_secret: tls, timeout_ms: 500, headers: [{name: X-A, value: b}], requests_per_second: 50}]}
  - {name: next, workload: web, port: 8080, protocol: http, routes: [{host: shop.example.org, path: /, weight: 1}, {host: ""}]}
  - {name: store, workload: store, port: 0, protocol: tcp, headless: true}
  outside:
    billing: {address: billing.example.org, ports: [443]}
`;

const workload = (name: string, count: number) => ({ name, kind: 'stateless', image: '', replicas: count, ready: count, cpu_millis: 0, memory_bytes: 0 });

function space(replicas: number, state = 'running') {
  const app = {
    name: 'shop',
    state,
    workloads: [workload('web', replicas), workload('store', 1)],
    endpoints: [
      { service: 'web', host: 'shop.example.org', port: 80, protocol: 'http', url: 'http://shop.example.org/' },
      { service: 'web', host: 'shop.example.org', port: 80, protocol: 'http', url: 'http://shop.example.org/' },
      { service: 'store', host: 'node', port: 20001, protocol: 'tcp', url: 'tcp://node:20001' },
    ],
  } as unknown as AppItem;
  const instances = [{ id: '1', workload: 'web', ended_at: null }, { id: '2', workload: 'web', ended_at: '2026-01-01T00:00:00Z' }, { id: '3', workload: 'store', ended_at: null }] as unknown as Instance[];
  return [{ app, instances, model: readModel(TEXT) }];
}

describe('services of a space', () => {
  it('tell how they are reached and what is behind them', () => {
    const [web, , store] = netServices(space(1));
    expect(web).toMatchObject({ inside: ['web.shop:80', 'shop:80'], addresses: [{ url: 'http://shop.example.org/', link: true }], sleep: 'awake', idle: 60 });
    expect(web!.instances.map((one) => one.id)).toEqual(['1']);
    expect(store).toMatchObject({ inside: [], balance: 'headless', sleep: 'never', addresses: [{ url: 'tcp://node:20001', link: false }] });
  });

  it('sleep when their number is zero, unless the application was stopped', () => {
    expect(netServices(space(0))[0]!.sleep).toBe('asleep');
    expect(netServices(space(0, 'stopped'))[0]).toMatchObject({ sleep: 'awake', stopped: true });
  });
});

describe('routes of a space', () => {
  const routes = netRoutes(space(1));

  it('show everything they say, also what is not known here', () => {
    expect(routes[0]).toMatchObject({ host: 'shop.example.org', path: '/', tls: 'tls', rules: [['timeout_ms', '500'], ['headers', 'X-A=b'], ['requests_per_second', '50']] });
    expect(routes[2]).toMatchObject({ host: '*', rules: [], tls: '', own: false });
  });

  it('share the requests that several match', () => {
    expect(routes.map((one) => shareOf(one, routes))).toEqual([75, 25, null]);
  });
});

describe('names for what runs elsewhere', () => {
  it('are listed with their application', () => {
    expect(netOutside(space(1))).toEqual([{ key: 'shop/billing', app: 'shop', name: 'billing', address: 'billing.example.org', ports: [443], registered: false }]);
  });

  it('are told from those that were registered by themselves', () => {
    const model = readModel('apiVersion: gantry.io/v1\nspec:\n  outside:\n    bank: {address: 192.0.2.7}\n');
    const app = { name: 'bank', state: 'running', workloads: [], endpoints: [] } as unknown as AppItem;
    expect(netOutside([{ app, instances: [], model }])).toMatchObject([{ name: 'bank', address: '192.0.2.7', ports: [], registered: true }]);
    expect(netOutside([{ app: { ...app, name: 'other' }, instances: [], model }])[0]!.registered).toBe(false);
  });

  it('have ports that are ports', () => {
    expect(portsOf('8443, 443 443')).toEqual([443, 8443]);
    expect(portsOf(undefined)).toEqual([]);
    expect([portsOf('0'), portsOf('65536'), portsOf('https')]).toEqual([null, null, null]);
  });
});
