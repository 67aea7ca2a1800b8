// Kubernetes clusters in the console: import with what is in the way told, test, spaces, settings, removal. No cluster runs here:
// an API server of the tests stands for it, which has no pods; what runs on a real one is shown by `make test-kubernetes`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';

import { startCluster } from './cluster-api.mjs';
import { api, dropOrg, faults, handles, makeOrg, missing, signedIn, until, visit } from './suite.mjs';

const reason = missing();
const mark = Date.now().toString(36);
const org = `clusters-${mark}`;
const name = `east-${mark}`;
const away = `away-${mark}`;
const space = `/orgs/${org}/projects/shop/spaces/test`;

describe('clusters in the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let cluster;

  const { dialog, row, sure } = handles(() => page);
  const clean = () => assert.deepEqual(complaints.take(), []);
  const clusterNow = async (which) => (await api(page, 'GET', `/api/v1/clusters/${which}`)).body;
  const placement = async () => (await api(page, 'GET', `/api/v1${space}/placement`)).body;

  before(async () => {
    cluster = await startCluster();
    ({ browser, page, complaints } = await signedIn());
    await makeOrg(page, org);
    complaints.take();
  });

  after(async () => {
    if (page) {
      for (const one of [name, away]) await api(page, 'DELETE', `/api/v1/clusters/${one}`).catch(() => {});
      await dropOrg(page, org);
    }
    await browser?.close();
    await cluster?.stop();
  });

  it('shows the least rights, and gives them as a file', async () => {
    await visit(page, '/clusters/import');
    await page.getByText('ClusterRoleBinding').first().waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
    assert.match(readFileSync(await download.path(), 'utf8'), /kind: ServiceAccount/);
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('tells what is in the way, and takes a cluster in all the same only when told to', async () => {
    await visit(page, '/clusters/import');
    await page.getByLabel('Name', { exact: true }).fill(away);
    await page.getByText('Address and token').click();
    await page.getByLabel('API server').fill('https://127.0.0.1:1');
    await page.getByLabel('Token', { exact: true }).fill('nothing');
    await page.getByRole('button', { name: 'Test and import' }).click();
    await page.getByRole('alert').filter({ hasText: '127.0.0.1' }).first().waitFor();
    assert.equal((await api(page, 'GET', `/api/v1/clusters/${away}`)).status, 404, 'it was not taken in');
    complaints.take();
    await page.getByRole('button', { name: 'Import without a test' }).click();
    await page.waitForURL(`**/clusters/${away}`);
    await page.getByText('not reached').first().waitFor();
    await page.getByText('Correct what it says', { exact: false }).waitFor();
    clean();
  });

  it('takes a context of a kubeconfig, and shows what the cluster is and can do', async () => {
    await visit(page, '/clusters/import');
    await page.getByLabel('Name', { exact: true }).fill(name);
    await page.getByLabel('Kubeconfig (YAML)').fill('no kubeconfig');
    await page.getByText('This is no kubeconfig', { exact: false }).waitFor();
    await page.getByLabel('Kubeconfig (YAML)').fill(cluster.kubeconfig);
    await page.getByRole('combobox', { name: 'Context' }).click();
    await page.locator('.ant-select-dropdown:not(.ant-select-dropdown-hidden) .ant-select-item-option').filter({ hasText: cluster.address }).click();
    await page.getByRole('button', { name: 'Test and import' }).click();
    await page.waitForURL(`**/clusters/${name}`);
    await page.getByText('v1.33.1').first().waitFor();
    await page.getByText('routes can become HTTPRoutes', { exact: false }).waitFor();
    await page.getByText('install metrics-server', { exact: false }).waitFor();
    assert.equal((await clusterNow(name)).server, cluster.address);
    assert.ok(!(await page.content()).includes(cluster.token), 'the credential is not shown');
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('lists them with health and version', async () => {
    await visit(page, '/clusters');
    await row(name).getByText('v1.33.1').waitFor();
    await row(name).getByText('usable', { exact: true }).waitFor();
    await row(away).getByText('not reached').first().waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('names the rights that are missing', async () => {
    cluster.denied.add('patch deployments');
    await visit(page, `/clusters/${name}`);
    await page.getByText('patch deployments.apps', { exact: true }).waitFor();
    await page.getByText('apply it on the cluster, then test again', { exact: false }).waitFor();
    cluster.denied.clear();
    await page.getByRole('button', { name: 'Test the connection' }).click();
    await page.getByText('gives all rights that are needed', { exact: false }).waitFor();
    clean();
  });

  it('keeps what is done about drift, and the other settings with it', async () => {
    await visit(page, `/clusters/${name}?tab=drift`);
    await page.getByText('Nobody has changed anything').waitFor();
    await page.getByRole('radio', { name: 'put back', exact: false }).click();
    await until(page, () => clusterNow(name), (one) => one.settings.drift === 'correct', 'put back');
    await visit(page, `/clusters/${name}?tab=settings`);
    await page.getByLabel('Beginning of groups').fill('corp:');
    await page.getByLabel('Limits of each space').fill('pods=20\nrequests.cpu=4');
    await page.getByRole('button', { name: 'Save' }).click();
    const { settings } = await until(page, () => clusterNow(name), (one) => one.settings.space_quota.pods === '20', 'the limits are kept');
    assert.equal(settings.drift, 'correct');
    assert.equal(settings.groups_prefix, 'corp:');
    assert.deepEqual(settings.space_quota, { pods: '20', 'requests.cpu': '4' });
    clean();
    await page.getByLabel('Limits of each space').fill('pods=many');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('alert').filter({ hasText: 'no amount' }).first().waitFor();
    complaints.take();
  });

  it('moves a space there and away, and rules that are saved do not', async () => {
    await visit(page, `/clusters/${name}?tab=spaces`);
    await page.getByRole('combobox', { name: 'Organisation', exact: true }).click();
    await page.keyboard.type(org);
    await page.keyboard.press('Enter');
    await row(`${org}/shop/test`).getByRole('button', { name: 'Run here' }).click();
    await sure('Run here');
    await until(page, placement, (rules) => rules.cluster === name, 'placed there');
    await row('this cluster').waitFor();
    await visit(page, `${space}/rules`);
    await page.getByLabel('The fuller node').fill('7');
    await page.getByRole('button', { name: 'Save' }).click();
    const rules = await until(page, placement, (found) => found.pack === 7, 'the rules are kept');
    assert.equal(rules.cluster, name, 'the cluster stays');
    await visit(page, `/clusters/${name}?tab=spaces`);
    await row(`${org}/shop/test`).getByRole('button', { name: 'Take away' }).click();
    await sure('Take away');
    await until(page, placement, (found) => !found.cluster, 'taken away');
    assert.equal((await placement()).pack, 7, 'the other rules stay');
    clean();
  });

  it('has tabs for nodes, pods and events', async () => {
    await visit(page, `/clusters/${name}?tab=nodes`);
    await page.getByText('Nothing of the chosen spaces runs here').first().waitFor();
    await visit(page, `/clusters/${name}?tab=releases`);
    await page.getByText('Nothing is being released here', { exact: false }).waitFor();
    await visit(page, `/clusters/${name}?tab=sign-in`);
    await page.getByText('--oidc-groups-prefix=corp:', { exact: false }).first().waitFor();
    await visit(page, `/clusters/${name}?tab=events`);
    await page.getByText('cluster.added').waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('renews the credential after a test', async () => {
    await visit(page, `/clusters/${name}`);
    await page.getByRole('button', { name: 'Other credential' }).click();
    await dialog().getByText('Address and token').click();
    await dialog().getByLabel('API server').fill(cluster.address);
    await dialog().getByLabel('Authority to trust (PEM)').fill(cluster.cert);
    await dialog().getByLabel('Token', { exact: true }).fill('a wrong one');
    await dialog().getByRole('button', { name: 'Test and use' }).click();
    await dialog().getByRole('alert').first().waitFor();
    complaints.take();
    await dialog().getByLabel('Token', { exact: true }).fill(cluster.token);
    await dialog().getByRole('button', { name: 'Test and use' }).click();
    await page.getByText('The cluster is reached by it now').waitFor();
    clean();
  });

  it('is removed once its name was written, with a look at what is on it', async () => {
    await visit(page, `/clusters/${away}`);
    await page.getByRole('button', { name: 'Remove', exact: true }).click();
    await dialog().getByText('is destroyed for ever').waitFor();
    assert.ok(await dialog().getByRole('button', { name: 'Remove', exact: true }).isDisabled());
    await dialog().getByRole('textbox').fill(away);
    await dialog().getByRole('button', { name: 'Remove', exact: true }).click();
    await page.waitForURL('**/clusters');
    assert.equal((await api(page, 'GET', `/api/v1/clusters/${away}`)).status, 404);
    complaints.take();
  });
});
