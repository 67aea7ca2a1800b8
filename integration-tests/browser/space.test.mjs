// A space and the nodes below it: its topology, its placement rules, a node's settings, and closing and opening it.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { shows } from './clause.mjs';
import { appUntil, deploy, makePlace } from './running.mjs';
import { api, dropOrg, faults, handles, missing, signedIn, until } from './suite.mjs';

const reason = missing();
const org = `space-${Date.now().toString(36)}`;

describe('a space and its nodes in the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let place;
  let node;

  const { dialog, open } = handles(() => page);
  const clean = () => assert.deepEqual(complaints.take(), []);
  const box = (name) => page.locator('[data-box]').filter({ hasText: name });
  const nodeNow = (list) => list.items.find((one) => one.name === node.name);

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    place = await makePlace(page, org);
    [node] = (await api(page, 'GET', '/api/v1/nodes')).body.items.filter((one) => one.state === 'ready' && !one.cordoned);
    const document = `services:
  web:
    image: ${place.image}
    command: [sh, -c, "mkdir -p /www; exec busybox httpd -f -p 8080 -h /www"]
    ports: ["8080"]
    depends_on: [store]
    x-gantry: {routes: [{host: ${org}.example.org, port: 8080}]}
  store:
    image: ${place.image}
    command: [busybox, sleep, "3600"]
    volumes: ["data:/data"]
    configs: [greeting]
volumes:
  data: {}
configs:
  greeting: {content: hello}
`;
    await deploy(page, place.space, 'shop', document);
    if (node) await appUntil(page, place.space, 'shop', (app) => app?.state === 'running', 'running');
    complaints.take();
  });

  after(async () => {
    if (page) {
      for (const app of ['shop', 'caller', 'bank']) await api(page, 'DELETE', `/api/v1${place.space}/apps/${app}`).catch(() => {});
      await dropOrg(page, org);
    }
    await browser?.close();
  });

  it('draws routes, services, workloads, volumes and nodes, with what leads to what', async () => {
    await open(`${place.space}/topology`);
    for (const name of [`${org}.example.org`, 'shop / web', 'shop / store', 'data']) await box(name).first().waitFor();
    for (const arrow of ['shop/w:web>shop/w:store', 'shop/w:store>shop/v:data']) await page.locator(`[data-arrow="${arrow}"]`).waitFor({ state: 'attached' });
    if (node) {
      await page.locator(`[data-arrow="shop/w:web>n:${node.name}"]`).waitFor({ state: 'attached' });
      assert.match(await box('shop / web').getAttribute('class'), /box-running/);
    }
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('lists the instances of what is chosen, by keyboard', async (test) => {
    if (!node) return test.skip('no node: nothing runs');
    const rows = page.getByRole('table', { name: 'Instances' }).locator('tbody tr.ant-table-row');
    await rows.nth(1).waitFor();
    await page.getByRole('table', { name: 'Services', exact: true }).getByText('web.shop:8080').waitFor();
    await page.getByRole('table', { name: 'Configurations and secrets' }).getByText('greeting').waitFor();
    await box('shop / store').focus();
    await page.keyboard.press('Enter');
    await rows.nth(1).waitFor({ state: 'detached' });
    assert.equal(await rows.count(), 1);
    await page.getByRole('link', { name: 'Open shop' }).click();
    await page.waitForURL('**/apps/shop');
    clean();
  });

  it('shows services, what is behind them, and routes', shows(['6.3.2.m', '6.3.3.j'], async (test) => {
    await open(`${place.space}/services`);
    const services = page.getByRole('table', { name: 'Services' });
    await services.getByText('web.shop:8080').waitFor();
    assert.deepEqual(await faults(page), []);
    if (node) {
      await services.locator('tr').filter({ hasText: 'web.shop:8080' }).getByRole('button', { name: /Expand/ }).click();
      await page.getByRole('table', { name: 'Instances behind web' }).getByRole('link', { name: node.name }).waitFor();
    }
    await page.getByRole('tab', { name: /^Routes/ }).click();
    await page.getByRole('table', { name: 'Routes' }).getByText(`${org}.example.org`).waitFor();
    // A program finds the same by the API.
    const { endpoints } = (await api(page, 'GET', `/api/v1${place.space}/apps/shop`)).body;
    const reached = endpoints.filter((one) => one.service === 'web');
    assert.ok(reached.some((one) => one.host === `${org}.example.org` && one.url.startsWith(`http://${org}.example.org:`)), JSON.stringify(endpoints));
    assert.ok(reached.some((one) => one.host !== `${org}.example.org` && one.port > 0), `a published port: ${JSON.stringify(endpoints)}`);
    await page.getByRole('tab', { name: /^Outside services/ }).click();
    await page.getByText("No names for what runs elsewhere").waitFor();
    await page.getByLabel('Find by name', { exact: false }).fill('nothing is called so');
    await page.getByRole('tab', { name: 'Services (0)', exact: true }).click();
    assert.deepEqual(await faults(page), []);
    clean();
    if (!node) test.diagnostic('no node: what is behind services was left out');
  }));

  it('registers a service that runs elsewhere, which instances find by its name', shows(['6.3.3.i', '6.3.3.j'], async (test) => {
    const found = async () => (await api(page, 'GET', `/api/v1${place.space}/services?name=bank`)).body.items;
    await open(`${place.space}/services`);
    await page.getByRole('tab', { name: /^Outside services/ }).click();
    await page.getByRole('button', { name: 'Register a service' }).first().click();
    await dialog().getByLabel('Name in the space').fill('bank');
    await dialog().getByLabel('Leads to').fill('192.0.2.7');
    await dialog().getByLabel('Ports it listens on').fill('443, 70000');
    await dialog().getByRole('button', { name: 'Save' }).click();
    await dialog().getByText('Ports are whole numbers', { exact: false }).waitFor();
    assert.deepEqual(await found(), [], 'nothing before that is mended');
    await dialog().getByLabel('Ports it listens on').fill('443, 8443');
    await dialog().getByRole('button', { name: 'Save' }).click();
    const row = page.getByRole('table', { name: 'Outside services' }).locator('tr').filter({ hasText: 'bank' });
    await row.getByText('192.0.2.7', { exact: true }).waitFor();
    const [bank] = await found();
    assert.deepEqual([bank.name, bank.address, bank.ports, bank.kind], ['bank', '192.0.2.7', [443, 8443], 'outside']);
    assert.ok(bank.id.length > 0, 'it has an identifier');
    assert.deepEqual(await faults(page), []);
    const calls = (address) => until(page, `/api/v1${place.space}/apps/caller/logs`, (log) => log?.items?.at(-1)?.text.startsWith(address), `an instance finds ${address}`);
    if (node) {
      await deploy(page, place.space, 'caller', `services:\n  caller:\n    image: ${place.image}\n    command: [sh, -c, "while true; do busybox grep bank /etc/hosts; busybox sleep 1; done"]\n`);
      await calls('192.0.2.7');
    }
    // It moves: who asks meanwhile is not started anew.
    await row.getByRole('button', { name: 'Change' }).click();
    await dialog().getByLabel('Leads to').fill('192.0.2.8');
    await dialog().getByRole('button', { name: 'Save' }).click();
    await row.getByText('192.0.2.8', { exact: true }).waitFor();
    assert.equal((await found())[0].id, bank.id);
    if (node) await calls('192.0.2.8');
    else test.diagnostic('no node: that instances find it was left out');
    await row.getByRole('button', { name: 'Take back' }).click();
    await page.locator('.ant-popover:not(.ant-popover-hidden)').getByRole('button', { name: 'Take back' }).click();
    await row.waitFor({ state: 'detached' });
    assert.deepEqual(await found(), []);
    clean();
  }));

  it('lists the volumes of the space', async () => {
    await open(`${place.space}/volumes`);
    const { items } = (await api(page, 'GET', `/api/v1${place.space}/volumes`)).body;
    for (const one of items) await page.locator('tbody tr.ant-table-row').filter({ hasText: one.name }).first().waitFor();
    if (items.length === 0) await page.getByText('Nothing is kept in this space').waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('keeps the placement rules of the space', async () => {
    await open(`${place.space}/rules`);
    await page.getByLabel('Only on nodes where').fill('node.os exists\nnode.arch in amd64,arm64');
    await page.getByLabel('Rather on nodes where').fill('node.zone in a *30');
    await page.getByLabel('The fuller node').fill('20');
    await page.getByRole('button', { name: 'Save' }).click();
    const rules = await until(page, `/api/v1${place.space}/placement`, (found) => found.pack === 20, 'the rules are kept');
    assert.deepEqual(rules.required.map((part) => [part.attribute, part.operator, part.values]), [['node.os', 'exists', []], ['node.arch', 'in', ['amd64', 'arm64']]]);
    assert.equal(rules.preferred[0].weight, 30);
    await open(`${place.space}/rules`);
    assert.equal(await page.getByLabel('Rather on nodes where').inputValue(), 'node.zone in a *30');
    clean();
    await page.getByLabel('Only on nodes where').fill('node.os sideways');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('alert').first().waitFor();
    assert.equal((await api(page, 'GET', `/api/v1${place.space}/placement`)).body.required.length, 2, 'what is wrong is refused');
    complaints.take();
  });

  it('sets what the agent of a node cannot know', async (test) => {
    if (!node) return test.skip('no node has joined');
    await open(`/nodes/${node.name}`);
    await page.getByRole('button', { name: 'Settings' }).click();
    await dialog().getByLabel('Labels').fill('disk=ssd');
    await dialog().getByLabel('Taints').fill('slow=yes:PreferNoSchedule');
    await dialog().getByLabel('Overcommit processors to').fill('150');
    await dialog().getByRole('button', { name: 'Save' }).click();
    const now = nodeNow(await until(page, '/api/v1/nodes', (list) => nodeNow(list).settings.overcommit_cpu_percent === 150, 'the settings are kept'));
    assert.deepEqual(now.settings.labels, { disk: 'ssd' });
    await page.getByText('slow=yes:PreferNoSchedule').first().waitFor();
    await page.getByText('disk=ssd').first().waitFor();
    await page.getByRole('table', { name: `Instances of ${org}/shop/test` }).getByRole('link', { name: 'shop', exact: true }).first().waitFor();
    assert.deepEqual(await faults(page), []);
    // Opened again, it shows what was kept.
    await page.getByRole('button', { name: 'Settings' }).click();
    assert.equal(await dialog().getByLabel('Taints').inputValue(), 'slow=yes:PreferNoSchedule');
    await dialog().getByRole('button', { name: 'Cancel' }).click();
    assert.equal((await api(page, 'PUT', `/api/v1/nodes/${node.name}/settings`, node.settings)).status, 200);
    clean();
  });

  it('closes a node after a question, and opens it', async (test) => {
    if (!node) return test.skip('no node has joined');
    await open('/nodes');
    const row = page.locator('tbody tr.ant-table-row').filter({ hasText: node.name }).first();
    await row.getByRole('button', { name: 'Close' }).click();
    assert.equal(nodeNow((await api(page, 'GET', '/api/v1/nodes')).body).cordoned, false, 'nothing before the answer');
    await page.locator('.ant-popover:not(.ant-popover-hidden)').getByRole('button', { name: 'Close' }).click();
    await until(page, '/api/v1/nodes', (list) => nodeNow(list).cordoned, 'closed');
    await row.getByRole('button', { name: 'Open' }).click();
    await until(page, '/api/v1/nodes', (list) => !nodeNow(list).cordoned, 'open');
    clean();
  });
});
