// What goes in and out of a project's images, and what is known of them: scanners, caches, replication, platforms, origin, search.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';

import { push, registryToken } from './registry.mjs';
import { api, dropOrg, faults, freshToken, handles, makeOrg, missing, settled, signedIn, url } from './suite.mjs';

const reason = missing();
const stamp = Date.now().toString(36);
const org = `reg-${stamp}`;
const base = `/orgs/${org}/projects/shop`;

describe('rules of a registry in the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let adapter;
  let asked = 0;

  const { dialog, row, open, confirmed } = handles(() => page);
  const clean = () => assert.deepEqual(complaints.take(), []);
  async function pick(label, option) {
    await dialog().getByLabel(label, { exact: true }).click();
    await page.locator('.ant-select-dropdown:not(.ant-select-dropdown-hidden) .ant-select-item-option').filter({ hasText: option }).first().click();
  }

  before(async () => {
    // Of the other side only what the trial asks: who it is (Harbor's pluggable scanner API, GET /api/v1/metadata).
    adapter = createServer((request, response) => {
      asked += 1;
      if (request.url !== '/api/v1/metadata') return response.writeHead(404).end();
      const capability = { consumes_mime_types: ['application/vnd.oci.image.manifest.v1+json'], produces_mime_types: ['application/vnd.security.vulnerability.report; version=1.1'] };
      response.writeHead(200, { 'content-type': 'application/vnd.scanner.adapter.metadata+json; version=1.0' });
      return response.end(JSON.stringify({ scanner: { name: 'Watcher', vendor: 'Acme', version: '7.1' }, capabilities: [capability], properties: {} }));
    });
    await new Promise((resolve) => adapter.listen(0, '127.0.0.1', resolve));
    ({ browser, page, complaints } = await signedIn());
    await makeOrg(page, org, 2);
    const me = (await api(page, 'GET', '/api/v1/me')).body;
    const token = await freshToken(page, `rules ${stamp}`);
    const below = [{ name: 'etc/base', content: 'a base' }];
    const bearer = async (name) => registryToken(name, me.username, token.secret);
    const [ground, web] = [`${org}/shop/ground`, `${org}/shop/web`];
    assert.equal(await push({ bearer: await bearer(ground), name: ground, tag: '1', members: below, run: { Labels: { team: 'base' } } }), 201);
    assert.equal(await push({ bearer: await bearer(web), name: web, tag: 'v1', below: [below], members: [{ name: 'etc/web', content: stamp }], run: { Labels: { team: `web-${stamp}` } } }), 201);
    complaints.take();
  });

  after(async () => {
    adapter?.close();
    if (page) await dropOrg(page, org);
    await browser?.close();
  });

  it('gives images to a scanner outside, tries it, changes it and takes it away', async () => {
    await open(`${base}/registry?tab=scanners`);
    await page.getByRole('button', { name: 'Add a scanner' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('watcher');
    await dialog().getByLabel('Address', { exact: true }).fill(`http://127.0.0.1:${adapter.address().port}`);
    await dialog().getByLabel('It is at a private address').check();
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row('watcher').waitFor();
    await row('watcher').getByRole('button', { name: 'Test' }).click();
    await page.locator('.ant-message-success').filter({ hasText: 'Watcher' }).waitFor();
    assert.ok(asked > 0, 'the scanner was asked');
    assert.deepEqual(await faults(page), []);
    await row('watcher').getByRole('button', { name: 'Change' }).click();
    assert.equal(await dialog().getByLabel('Name', { exact: true }).count(), 0, 'a name is not changed');
    assert.equal(await dialog().getByLabel('Address', { exact: true }).inputValue(), `http://127.0.0.1:${adapter.address().port}`);
    await dialog().getByLabel('Repositories').fill('web*');
    await dialog().getByRole('button', { name: 'Save' }).click();
    await row('web*').waitFor();
    const [kept] = (await api(page, 'GET', `/api/v1${base}/registry/scanners`)).body.items.filter((one) => one.scanner.name === 'watcher');
    assert.deepEqual([kept.scanner.repositories, kept.scanner.allow_private, kept.scanner.enabled], ['web*', true, true]);
    await confirmed(row('watcher'), 'Delete');
    await row('watcher').waitFor({ state: 'detached' });
    clean();
  });

  it('caches another registry, and says whether that answers', async () => {
    await open(`${base}/registry?tab=caches`);
    await page.getByRole('button', { name: 'Add a cache' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('other');
    await dialog().getByLabel('Address', { exact: true }).fill(`http://127.0.0.1:${adapter.address().port}`);
    await dialog().getByLabel('It is at a private address').check();
    await dialog().getByLabel('Beginning here').fill('hub');
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row('other').filter({ hasText: 'hub' }).waitFor();
    // What listens there is no registry, and the console says so.
    await row('other').getByRole('button', { name: 'Test' }).click();
    await page.locator('.ant-message-error').waitFor();
    assert.deepEqual(await faults(page), []);
    await confirmed(row('other'), 'Delete');
    await row('other').waitFor({ state: 'detached' });
    clean();
  });

  it('replicates to another registry, first as a dry run', async () => {
    await open(`${base}/registry?tab=replications`);
    await page.getByRole('button', { name: 'Add a registry' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('there');
    await dialog().getByLabel('Address', { exact: true }).fill(url);
    await dialog().getByLabel('It is at a private address').check();
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row('there').waitFor();
    await page.getByRole('button', { name: 'Add a rule' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('nightly');
    await pick('Registry', 'there');
    await dialog().getByLabel('Schedule').fill('0 3 * * *');
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row('nightly').filter({ hasText: '0 3 * * *' }).waitFor();
    await row('nightly').getByRole('button', { name: 'Dry run' }).click();
    await page.getByText('The run has begun').first().waitFor();
    await row('nightly').locator('.ant-table-row-expand-icon').click();
    await page.getByRole('table', { name: 'Runs of nightly' }).getByText('Dry run', { exact: false }).first().waitFor();
    await confirmed(row('nightly').first(), 'Delete');
    await row('nightly').first().waitFor({ state: 'detached' });
    await confirmed(row('there'), 'Delete');
    await row('there').waitFor({ state: 'detached' });
    clean();
  });

  it('shows for which platforms an image is, and lets it be taken away as an archive', async () => {
    await open(`${base}/images/web`);
    await page.getByRole('link', { name: 'v1', exact: true }).click();
    await page.getByRole('tab', { name: 'Platforms' }).click();
    await row('linux/amd64').getByRole('button', { name: 'Export' }).click();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'OCI archive' }).click()]);
    assert.match(download.suggestedFilename(), /^web-[0-9a-f]{12}\.tar$/);
    assert.deepEqual(await faults(page), []);
    complaints.take();
  });

  it('shows what an image is built on, and what is built on it', async () => {
    const origin = async (repository, tag) => {
      await open(`${base}/images/${repository}`);
      await page.getByRole('link', { name: tag, exact: true }).click();
      await page.getByRole('tab', { name: 'Origin' }).click();
      await settled(page);
    };
    await origin('web', 'v1');
    await page.getByRole('link', { name: new RegExp(`^${org}/shop/ground@`) }).first().waitFor();
    await page.getByText('its layers, 1 of its layers').waitFor();
    await origin('ground', '1');
    await page.getByRole('link', { name: new RegExp(`^${org}/shop/web@`) }).first().waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('finds images by name, label and platform, with what was asked in the address', async () => {
    await open('/images');
    await page.getByLabel('Label: name or name=value').fill(`team=web-${stamp}`);
    await page.getByRole('button', { name: 'Find', exact: true }).click();
    await page.getByRole('link', { name: new RegExp(`${org}/shop/web`) }).first().waitFor();
    await row('ground').first().waitFor({ state: 'detached' });
    assert.match(page.url(), /label=team/);
    await open(`/images?q=${org}&platform=linux%2Farm64`);
    await page.getByText('No image is like that', { exact: false }).waitFor();
    await open(`/images?q=${org}&platform=linux%2Famd64`);
    await row('ground').first().waitFor();
    await row('web').first().waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });
});
