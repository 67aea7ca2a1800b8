// Signs of an intrusion in the console: found while one looks, by kind, application and node; what follows from them. Images that
// a node fetches ahead.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { appUntil, deploy, makePlace } from './running.mjs';
import { api, dropOrg, faults, handles, missing, signedIn, until } from './suite.mjs';

const reason = missing();
const org = `signs-${Date.now().toString(36)}`;

describe('signs of an intrusion in the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let place;
  let node;

  const { dialog, row, open, pick } = handles(() => page);
  const clean = () => assert.deepEqual(complaints.take(), []);

  /** After `seconds` it runs a program that was not in its image. */
  const document = (seconds) => `services:
  web:
    image: ${place.image}
    command: [sh, -c, "(busybox sleep ${seconds}; busybox mkdir -p /tmp; busybox cp /bin/busybox /tmp/busybox; exec /tmp/busybox sleep 3600) & exec busybox sleep 3600"]
`;

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    place = await makePlace(page, org);
    [node] = (await api(page, 'GET', '/api/v1/nodes')).body.items.filter((one) => one.state === 'ready' && !one.cordoned);
    complaints.take();
  });

  after(async () => {
    if (page) {
      await api(page, 'DELETE', `/api/v1${place?.space}/apps/shop`).catch(() => {});
      await dropOrg(page, org);
    }
    await browser?.close();
  });

  it('says that nothing was found, and what is looked for', async () => {
    await open(`${place.space}/signs`);
    await page.getByText('Nothing was found.', { exact: false }).waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('shows a sign while it is found, and what it means', async (test) => {
    if (!node) return test.skip('no node: nothing runs');
    await open(`${place.space}/signs`);
    await page.getByText('Live', { exact: true }).first().waitFor();
    await deploy(page, place.space, 'shop', document(3));
    await appUntil(page, place.space, 'shop', (app) => app?.state === 'running', 'running');
    // The page is not loaded again.
    await row('/tmp/busybox').waitFor({ timeout: 60_000 });
    await row('/tmp/busybox').getByText('foreign program').waitFor();
    await row('/tmp/busybox').getByRole('link', { name: 'shop', exact: true }).waitFor();
    await row('/tmp/busybox').getByRole('button').click();
    await dialog().getByText('A program runs that is not of the image', { exact: false }).waitFor();
    assert.deepEqual(await faults(page), []);
    await page.keyboard.press('Escape');
    clean();
  });

  it('finds them by kind, application and node', async (test) => {
    if (!node) return test.skip('no node: nothing runs');
    await open(`${place.space}/signs`);
    await row('/tmp/busybox').waitFor();
    await pick('Kind of sign', 'refused connection');
    await page.getByText('Nothing of this was found.', { exact: false }).waitFor();
    await pick('Kind of sign', 'foreign program');
    await pick('Application', 'shop');
    await row('/tmp/busybox').waitFor();
    clean();
  });

  it('is acknowledged with a reason, and is not open any more', async (test) => {
    if (!node) return test.skip('no node: nothing runs');
    await open(`${place.space}/signs`);
    await row('/tmp/busybox').getByText('open', { exact: true }).waitFor();
    await row('/tmp/busybox').getByRole('button').click();
    await dialog().getByRole('button', { name: 'Acknowledge' }).click();
    await dialog().getByLabel('What it was').fill('a trial of ours');
    assert.deepEqual(await faults(page), []);
    await dialog().getByRole('button', { name: 'Acknowledge' }).click();
    await page.getByText('It does not count as open any more').waitFor();
    const path = `/api/v1${place.space}/signs`;
    const all = (await until(page, path, (list) => list.items.some((one) => one.acknowledged), 'acknowledged')).items;
    assert.equal(all.find((one) => one.acknowledged).acknowledged.reason, 'a trial of ours');
    await open(`${place.space}/signs`);
    await page.getByText('acknowledged by', { exact: false }).first().waitFor();
    await page.getByLabel('Only open ones').check();
    const left = (await api(page, 'GET', `${path}?open=true`)).body.items;
    if (left.length === 0) await page.getByText('Nothing is open', { exact: false }).waitFor();
    else assert.equal(await page.getByText('acknowledged by', { exact: false }).count(), 0);
    clean();
  });

  it('shows those of an application on its page, and of an instance on its', async (test) => {
    if (!node) return test.skip('no node: nothing runs');
    await open(`${place.space}/apps/shop?tab=signs`);
    await row('/tmp/busybox').waitFor();
    assert.deepEqual(await faults(page), []);
    const [sign] = (await api(page, 'GET', `/api/v1${place.space}/apps/shop/signs`)).body.items;
    await open(`${place.space}/apps/shop/instances/${sign.instance}?tab=signs`);
    await row('/tmp/busybox').waitFor();
    clean();
  });

  it('says what follows, and keeps the other rules', async () => {
    const rules = `/api/v1${place.space}/placement`;
    assert.equal((await api(page, 'PUT', rules, { pack: 9 })).status, 200);
    await open(`${place.space}/signs?tab=follow`);
    await page.getByRole('radio', { name: 'without any network', exact: false }).click();
    await page.getByLabel('Only what is named here can be reached').click();
    await page.getByLabel('What can be reached').fill('10.0.0.0/8\n192.0.2.10 5432');
    await page.getByLabel('Programs that are expected').fill('opt/plugins');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Each line is a path that begins with a slash').waitFor();
    await page.getByLabel('Programs that are expected').fill('/opt/plugins/');
    await page.getByRole('button', { name: 'Save' }).click();
    const kept = await until(page, rules, (found) => found.guard?.action === 'quarantine', 'what follows is kept');
    assert.deepEqual(kept.guard.egress.map((one) => [one.network, one.port ?? 0]), [['10.0.0.0/8', 0], ['192.0.2.10', 5432]]);
    assert.deepEqual(kept.guard.programs, ['/opt/plugins/']);
    assert.equal(kept.pack, 9, 'the other rules stay');
    assert.deepEqual(await faults(page), []);
    // Rules that are saved keep it in turn, and say that images are fetched ahead.
    await open(`${place.space}/rules`);
    await page.getByLabel('Fetch images ahead').click();
    await page.getByRole('button', { name: 'Save' }).click();
    assert.equal((await until(page, rules, (found) => found.prepull === true, 'fetched ahead')).guard.action, 'quarantine');
    clean();
  });

  it('names an image that a node has ahead, and takes it back', async (test) => {
    if (!node) return test.skip('no node has joined');
    const images = async () => (await api(page, 'GET', '/api/v1/nodes')).body.items.find((one) => one.name === node.name).settings.images ?? [];
    const before = await images();
    await open(`/nodes/${node.name}`);
    await page.getByRole('button', { name: 'Name an image' }).click();
    await dialog().getByLabel('Image', { exact: true }).fill(place.image);
    await dialog().getByRole('button', { name: 'Save' }).click();
    const mine = page.getByRole('table', { name: 'Images that are there ahead' }).locator('tr').filter({ hasText: `${org}/shop/box` }).first();
    await mine.getByText('there', { exact: true }).waitFor({ timeout: 60_000 });
    // The row may have been there before, since an instance uses the image.
    await until(page, images, (kept) => kept.length === before.length + 1, 'not kept');
    assert.deepEqual(await faults(page), []);
    await mine.getByRole('button', { name: 'Remove' }).click();
    await page.locator('.ant-popover:not(.ant-popover-hidden)').getByRole('button', { name: 'Remove' }).click();
    await until(page, '/api/v1/nodes', (list) => (list.items.find((one) => one.name === node.name).settings.images ?? []).length === before.length, 'taken back');
    clean();
  });
});
