import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

import { message, sizeMessage } from '../src/api/channels';
import { clusterOf, clustersOf, nodesOf, readKubeconfig } from '../src/api/clusters';
import { readCharts, usageOf } from '../src/api/series';
import { commandOf } from '../src/pages/apps/command';
import { accessOf } from '../src/pages/clusters/AccessFields';
import { formOf, settingsOf, USUAL } from '../src/pages/clusters/SettingsFields';
import { authenticationFile, flagsOf, kubeconfigOf } from '../src/pages/clusters/kubectl';
import { moved } from '../src/pages/clusters/Spaces';
import { formOf as rulesForm, rulesOf } from '../src/pages/space/Rules';

const KUBECONFIG = `apiVersion: v1
kind: Config
current-context: prod
contexts:
- {name: prod, context: {cluster: east, user: admin}}
- {name: test, context: {cluster: west, user: admin}}
clusters:
- {name: east, cluster: {server: 'https://10.0.0.1:6443', certificate-authority: /home/me/ca.crt}}
- {name: west, cluster: {server: 'https://10.0.0.2:6443'}}
users:
- {name: admin, user: {client-certificate: me.crt, client-key-data: QQ==}}
`;

const at = (node: string, state: string, ended_at: string | null = null) => ({ node, state, ended_at });

describe('a kubeconfig', () => {
  it('offers its contexts with their servers, and tells of files that are not in it', () => {
    const read = readKubeconfig(KUBECONFIG)!;
    expect(read.current).toBe('prod');
    expect(read.contexts.map((one) => [one.name, one.server])).toEqual([['prod', 'https://10.0.0.1:6443'], ['test', 'https://10.0.0.2:6443']]);
    expect(read.files).toEqual(['/home/me/ca.crt', 'me.crt']);
  });

  it('is none without contexts', () => {
    for (const text of ['', 'hello', 'a: [', 'kind: Config\ncontexts: []', '[1, 2]', 'contexts: {a: 1}']) expect(readKubeconfig(text), text).toBeNull();
  });

  it('is one of three ways in', () => {
    const all = { kubeconfig: 'k', context: 'prod', server: ' https://x:6443 ', ca_pem: 'pem', token: ' t\n' };
    expect(accessOf({ way: 'kubeconfig', ...all })).toEqual({ kubeconfig: 'k', context: 'prod' });
    expect(accessOf({ way: 'server', ...all })).toEqual({ server: 'https://x:6443', ca_pem: 'pem', token: 't' });
    expect(accessOf({ way: 'in_cluster', ...all })).toEqual({ in_cluster: true });
  });
});

describe('a cluster', () => {
  it('has settings that are the same after the form', () => {
    const settings = { ...USUAL, drift: 'correct' as const, gateway: 'gateways/public', space_quota: { 'requests.cpu': '20', pods: '200' } };
    expect(settingsOf(formOf(settings), settings)).toEqual(settings);
  });

  it('has nodes by what runs there', () => {
    expect([clusterOf('east--ip-10-0-0-7'), clusterOf('node-1'), clusterOf('')]).toEqual(['east', null, null]);
    const instances = [at('east--b', 'running'), at('east--a', 'unhealthy'), at('east--b', 'starting'), at('east--b', 'running', '2026-01-01T00:00:00Z'), at('west--a', 'running'), at('east', 'running')];
    expect(nodesOf('east', instances)).toEqual([
      { node: 'a', pods: 1, running: 0, troubled: 1 },
      { node: 'b', pods: 2, running: 1, troubled: 0 },
    ]);
  });
});

describe('placement rules of a space', () => {
  it('keep the cluster, and what the form does not show', () => {
    const rules = { cluster: 'east', pack: 20, required: [], later: { a: 1 } };
    const kept = rulesOf(rulesForm(rules), rules);
    expect(kept).toMatchObject({ cluster: 'east', pack: 20, later: { a: 1 } });
    expect(kept, 'a platform that knows one cluster only is not told of several').not.toHaveProperty('clusters');
    expect(rulesOf({ ...rulesForm(rules), where: 'nodes' }, rules).cluster).toBeNull();
  });

  it('have expressions, of which empty rows are left out', () => {
    const rules = { expressions: [{ where: "node.zone == 'a'", score: '10' }, { score: 'node.cpu.free' }] };
    expect(rulesOf(rulesForm(rules), rules).expressions).toEqual(rules.expressions);
    expect(rulesOf({ ...rulesForm(rules), expressions: [{}, { where: ' true ', score: '' }] }, rules).expressions).toEqual([{ where: 'true' }]);
    expect(rulesOf({ ...rulesForm(rules), expressions: [] }, rules).expressions).toEqual([]);
    expect(rulesOf(rulesForm({ pack: 1 }), { pack: 1 }), 'a platform that knows none is not told of them').not.toHaveProperty('expressions');
  });

  it('keep several clusters with their weights and what is other there', () => {
    const fleet = { policy: 'failover' as const, clusters: [{ cluster: 'east', weight: 3, overrides: { env: { A: '1' } } }, { cluster: 'west', weight: 1 }] };
    const rules = { cluster: null, clusters: fleet };
    expect(rulesOf(rulesForm(rules), rules).clusters).toEqual(fleet);
    expect(rulesOf({ ...rulesForm(rules), where: 'cluster', cluster: 'east' }, rules)).toMatchObject({ cluster: 'east', clusters: null });
    expect(clustersOf(rules)).toEqual(['east', 'west']);
    expect(moved(rules, 'east', false)).toEqual({ cluster: null, clusters: { policy: 'failover', clusters: [{ cluster: 'west', weight: 1 }] } });
    expect(moved(rules, 'north', true)).toEqual({ cluster: 'north', clusters: null });
    expect(moved({ cluster: 'east' }, 'east', false)).toEqual({ cluster: null });
  });
});

describe('sign-in of people on a cluster', () => {
  it('is told to the API server as a file and as flags, and to people without a secret', () => {
    const file = parse(authenticationFile('https://gantry.example.org'));
    expect(file.jwt[0].issuer).toEqual({ url: 'https://gantry.example.org', audiences: ['kubernetes'] });
    expect(file.jwt[0].claimMappings.groups).toEqual({ claim: 'groups', prefix: 'gantry:' });
    expect(flagsOf('https://gantry.example.org').split('\n')).toContain('--oidc-issuer-url=https://gantry.example.org');
    // Groups begin as the cluster's settings say.
    expect(parse(authenticationFile('https://gantry.example.org', 'corp:')).jwt[0].claimMappings.groups.prefix).toBe('corp:');
    expect(flagsOf('https://gantry.example.org', 'corp:').split('\n')).toContain('--oidc-groups-prefix=corp:');
    const read = readKubeconfig(kubeconfigOf('east', 'https://10.0.0.1:6443'))!;
    expect(read).toMatchObject({ current: 'east', files: [], contexts: [{ name: 'east', server: 'https://10.0.0.1:6443' }] });
  });
});

describe('a terminal', () => {
  it('sends channels with their number, and its size', () => {
    expect([...message(0, 'hé')]).toEqual([0, 104, 0xc3, 0xa9]);
    expect(new TextDecoder().decode(sizeMessage(80, 24).subarray(1))).toBe('{"Width":80,"Height":24}');
    expect(sizeMessage(80, 24)[0]).toBe(4);
  });

  it('starts a shell of the image, or what was written', () => {
    expect(commandOf('shell').slice(0, 2)).toEqual(['sh', '-c']);
    expect(commandOf(`psql -c "select 1" 'a b'`)).toEqual(['psql', '-c', 'select 1', 'a b']);
  });
});

const of = (name: string, value: number) => ({ name, unit: '', series: [{ labels: { instance: 'one' }, points: [[1, 9], [2, value]] as [number, number][] }, { labels: { instance: 'two' }, points: [] }] });

describe('charts', () => {
  it('may be of one instance', () => {
    const series = ['one', 'two'].map((instance) => ({ labels: { instance, workload: 'web' }, points: [[1, 2]] as [number, number][] }));
    const answer = { from: '', to: '', step_seconds: 1, charts: [{ name: 'cpu', unit: 'cores', series }] };
    expect(readCharts(answer, 'capacity')[0]!.series).toHaveLength(2);
    expect(readCharts(answer, 'capacity', 'two')[0]!.series.map((one) => one.name)).toEqual(['two web']);
    expect(readCharts(answer, 'capacity', 'three')).toEqual([]);
  });

  it('end with what each instance uses now', () => {
    const usage = usageOf({ from: '', to: '', step_seconds: 1, charts: [of('cpu', 0.5), of('memory', 1_024), of('disk', 7)] });
    expect([...usage]).toEqual([['one', { cpu: 0.5, memory: 1_024 }]]);
  });
});
