// Images by the console: what was pushed is seen, moved, restored, ruled over and measured.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { push as pushImage, registryToken } from './registry.mjs';
import { api, dropOrg, freshToken, handles, makeOrg, missing, settled, signedIn } from './suite.mjs';

const reason = missing();
const stamp = Date.now().toString(36);
const org = `img-${stamp}`;
const base = `/orgs/${org}/projects/shop`;

describe('images in the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let bearer;

  const { dialog, row, open, confirmed } = handles(() => page);

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    await makeOrg(page, org, 2);
    const me = (await api(page, 'GET', '/api/v1/me')).body;
    const token = await freshToken(page, `images ${stamp}`);
    bearer = await registryToken(`${org}/shop/web`, me.username, token.secret);
    await push('v1', 'one');
    await scanned();
    // The overview, which was open meanwhile, asked for the bill of an organisation that billing did not know yet.
    complaints.take();
  });

  /** The report comes a moment after the push. */
  async function scanned() {
    for (let tries = 0; tries < 100; tries += 1) {
      const [tag] = (await api(page, 'GET', `/api/v1${base}/images/web/tags`)).body?.items ?? [];
      if (tag?.scan) return;
      await page.waitForTimeout(200);
    }
    assert.fail('the image is not scanned');
  }

  after(async () => {
    if (page) await dropOrg(page, org);
    await browser?.close();
  });

  const push = (tag, content) => pushImage({ bearer, name: `${org}/shop/web`, tag, members: [{ name: 'etc/what', content }], history: [{ created_by: `COPY ${content}` }] });

  const clean = () => assert.deepEqual(complaints.take(), []);

  it('shows a pushed image with its tags, and the image itself', async () => {
    await open(`${base}/images`);
    await page.getByRole('link', { name: 'web', exact: true }).click();
    await page.getByRole('link', { name: 'v1', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: /^web@[0-9a-f]{12}$/ }).waitFor();
    await settled(page);
    await page.getByRole('tab', { name: 'Layers' }).click();
    await page.getByText('COPY one').waitFor();
    await page.getByRole('tab', { name: 'Signatures' }).click();
    await page.getByText('Nobody has signed this image').waitFor();
    clean();
  });

  it('deletes a tag and restores it from its history', async () => {
    await push('old', 'two');
    await open(`${base}/images/web`);
    await confirmed(row('old'), 'Delete');
    await row('old').waitFor({ state: 'detached' });
    await page.getByRole('tab', { name: 'History' }).click();
    await confirmed(row('old').first(), 'Restore');
    await page.getByRole('tab', { name: 'Tags' }).click();
    // The history names it, too, but deletes nothing.
    await row('old').filter({ has: page.getByRole('button', { name: 'Delete' }) }).waitFor();
    clean();
  });

  it('makes tags immutable, and a push over one is refused', async () => {
    await open(`${base}/registry?tab=immutable`);
    await page.getByRole('button', { name: 'Add a rule' }).click();
    await page.getByRole('textbox', { name: 'Tags' }).fill('v*');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved').first().waitFor();
    assert.notEqual(await push('v1', 'something else'), 201);
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.waitForTimeout(300);
    clean();
  });

  it('simulates retention before anything goes', async () => {
    await open(`${base}/registry?tab=retention`);
    await page.getByRole('button', { name: 'Add a rule' }).click();
    await page.getByLabel('How many').fill('1');
    await page.getByRole('button', { name: 'Simulate' }).click();
    await page.getByText('Would go: 1; stay: 1').waitFor();
    const tags = await api(page, 'GET', `/api/v1${base}/images/web/tags`);
    assert.equal(tags.body.items.length, 2, 'nothing went');
    clean();
  });

  it('limits the storage and shows it counted both ways', async () => {
    await open(`${base}/registry`);
    await page.getByText('Saved by sharing').waitFor();
    await page.getByLabel('Storage limit').fill('2');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved').first().waitFor();
    const usage = await api(page, 'GET', `/api/v1${base}/registry/usage`);
    assert.equal(usage.body.quota_bytes, 2 * 1024 ** 3);
    clean();
  });

  it('sets a policy, and the image says that it would be refused', async () => {
    await open(`${base}/registry?tab=policies`);
    await page.getByRole('button', { name: 'Add a policy' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('signed');
    await dialog().getByLabel('Signed by').click();
    await page.locator('.ant-select-dropdown:not(.ant-select-dropdown-hidden) .ant-select-item-option-content').filter({ hasText: 'any trusted key' }).click();
    await dialog().locator('.ant-modal-title').click();
    await dialog().getByRole('button', { name: 'Save' }).click();
    await row('signed').waitFor();
    await open(`${base}/images/web`);
    await page.getByRole('link', { name: 'v1', exact: true }).click();
    await page.getByRole('tab', { name: 'Signatures' }).click();
    await page.getByText('Deployment: refused').waitFor();
    await open(`${base}/registry?tab=policies`);
    await confirmed(row('signed'), 'Delete');
    await row('signed').waitFor({ state: 'detached' });
    clean();
  });

  it('collects what no image needs, and checks everything', async () => {
    await open('/image-store');
    await page.getByRole('button', { name: 'Dry run' }).click();
    await page.locator('tbody tr.ant-table-row').first().waitFor();
    await page.getByRole('button', { name: 'Check everything' }).click();
    await page.getByText('Everything is being read').first().waitFor();
    clean();
  });
});
