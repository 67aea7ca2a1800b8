// Pools of public addresses in the console: made, changed, in use, and deleted when nobody has an address of them.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { deploy, makePlace } from './running.mjs';
import { api, dropOrg, faults, handles, missing, signedIn, until } from './suite.mjs';

const reason = missing();
const mark = Date.now().toString(36);
const org = `addr-${mark}`;
const name = `pool-${mark}`;
// Of a network for documentation (RFC 5737), so that no machine has it; another one in each run, for a pool may be left over.
const last = (Date.now() % 120) * 2;
const range = `203.0.113.${last}-203.0.113.${last + 1}`;

describe('public addresses in the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let place;

  const clean = () => assert.deepEqual(complaints.take(), []);
  const { dialog, row, open, pick } = handles(() => page);
  const pool = async () => (await api(page, 'GET', '/api/v1/address-pools')).body.items.find((one) => one.name === name);

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    place = await makePlace(page, org);
    complaints.take();
  });

  after(async () => {
    if (page) {
      await api(page, 'DELETE', `/api/v1${place?.space}/apps/shop`).catch(() => {});
      await api(page, 'DELETE', `/api/v1/address-pools/${name}`).catch(() => {});
      await dropOrg(page, org);
    }
    await browser?.close();
  });

  it('are reached by the menu, and a pool is made', async () => {
    await open('/');
    await page.getByRole('navigation').getByRole('link', { name: 'Public addresses' }).click();
    await page.getByRole('heading', { level: 1, name: 'Public addresses' }).waitFor();
    await page.getByRole('button', { name: 'Add a pool' }).first().click();
    await dialog().getByLabel('Name', { exact: true }).fill(name);
    await dialog().getByLabel('Addresses', { exact: true }).fill(range);
    assert.deepEqual(await faults(page), []);
    await dialog().getByRole('button', { name: 'Save' }).click();
    await row(name).getByText('2 of 2').waitFor();
    await row(name).getByText('all', { exact: true }).waitFor();
    clean();
  });

  it('are for some organisations alone', async () => {
    await row(name).getByRole('button', { name: 'Change' }).click();
    await pick('For organisations', org);
    // The choice of several stays open until one goes elsewhere.
    await dialog().getByLabel('Addresses', { exact: true }).click();
    await dialog().getByRole('button', { name: 'Save' }).click();
    await row(name).getByRole('link', { name: org }).waitFor();
    assert.deepEqual((await pool()).orgs, [org]);
    clean();
  });

  it('show who has which, and a pool in use is not deleted', async () => {
    await deploy(page, place.space, 'shop', `services:\n  web:\n    image: ${place.image}\n    command: [busybox, sleep, "3600"]\n    ports: ["80:8080"]\n    x-gantry: {address: ${name}}\n`);
    await until(page, pool, (one) => one.claims.length === 1, 'an address is taken');
    await open('/address-pools');
    await row(name).getByText('1 of 2').waitFor();
    await row(name).getByRole('button', { name: 'Delete' }).click();
    await dialog().getByText('These applications have addresses of it.', { exact: false }).waitFor();
    await dialog().getByRole('link', { name: `${org}/shop/test/shop` }).waitFor();
    assert.ok(await dialog().getByRole('button', { name: 'Delete' }).isDisabled());
    assert.deepEqual(await faults(page), []);
    await dialog().getByRole('button', { name: 'Cancel' }).click();
    clean();
  });

  it('are deleted when nobody has one', async () => {
    assert.equal((await api(page, 'DELETE', `/api/v1${place.space}/apps/shop`)).status, 204);
    await until(page, pool, (one) => one.claims.length === 0, 'it is given back');
    await open('/address-pools');
    await row(name).getByRole('button', { name: 'Delete' }).click();
    await dialog().getByRole('button', { name: 'Delete' }).click();
    await until(page, pool, (one) => one === undefined, 'deleted');
    complaints.take();
  });
});
