// Administering identity by the console, as a person does: make it, see it, use it, take it away.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { api, dropOrg, handles, launch, makeOrg, missing, signedIn, signIn, url } from './suite.mjs';

const reason = missing();
const stamp = Date.now().toString(36);
const org = `adm-${stamp}`;

describe('administration by the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;

  const { dialog, row, open, confirmed, secret } = handles(() => page);

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    await makeOrg(page, org, 2);
    complaints.take();
  });

  after(async () => {
    if (page) await dropOrg(page, org);
    await browser?.close();
  });

  /** Opens a choice, writes what is wanted and takes it. */
  async function choose(where, label, wanted) {
    const field = where.getByLabel(label, { exact: true }).first();
    await field.click();
    if (await field.isEditable()) await field.fill(wanted);
    await page.locator('.ant-select-dropdown:not(.ant-select-dropdown-hidden) .ant-select-item-option-content').filter({ hasText: wanted }).first().click();
  }
  const clean = () => assert.deepEqual(complaints.take(), []);

  it('makes an access token, shows it once, and deletes it', async () => {
    await open('/me?tab=tokens');
    await page.getByRole('button', { name: 'Make a token' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill(`browser ${stamp}`);
    await dialog().getByRole('button', { name: 'Create' }).click();
    const token = await secret();
    assert.ok(token.length > 20);
    await row(`browser ${stamp}`).waitFor();
    await confirmed(row(`browser ${stamp}`), 'Delete');
    await row(`browser ${stamp}`).waitFor({ state: 'detached' });
    clean();
  });

  it('lists the sessions and ends another one', async (test) => {
    const other = await launch();
    test.after(() => other.browser.close());
    const theirs = await other.context.newPage();
    await signIn(theirs);
    await open('/me?tab=sessions');
    await page.getByText('this one').waitFor();
    const before = await page.locator('tbody tr.ant-table-row').count();
    assert.ok(before >= 2, 'the other browser is listed');
    const theirRow = page.locator('tbody tr.ant-table-row').filter({ hasNotText: 'this one' }).first();
    // By its key: where there are more sessions than a page has rows, the next one takes its place.
    const key = await theirRow.getAttribute('data-row-key');
    await confirmed(theirRow, 'End');
    await page.locator(`tr[data-row-key="${key}"]`).waitFor({ state: 'detached' });
    clean();
  });

  it('shows where somebody is signed in', async () => {
    const me = (await api(page, 'GET', '/api/v1/me')).body;
    await open(`/people/${me.id}?tab=sessions`);
    await page.getByText('this one').waitFor();
    clean();
  });

  it('registers a client, rotates its secret without a gap, and deletes it', async () => {
    const id = `svc-${stamp}`;
    await open('/clients');
    await page.getByRole('button', { name: 'Register a client' }).first().click();
    await dialog().getByText('Service', { exact: true }).click();
    await dialog().getByLabel('Client id').fill(id);
    await dialog().getByLabel('Display name').fill('A nightly job');
    await dialog().getByRole('button', { name: 'Create' }).click();
    const first = await secret();
    await page.waitForURL(`**/clients/${id}`);
    const token = async (key) => {
      const body = new URLSearchParams({ grant_type: 'client_credentials' });
      const answer = await fetch(`${url}/oauth2/token`, { method: 'POST', body, headers: { authorization: `Basic ${Buffer.from(`${id}:${key}`).toString('base64')}` } });
      return answer.status;
    };
    assert.equal(await token(first), 200, 'the first secret is good');
    await page.getByRole('button', { name: 'Make a secret' }).click();
    await dialog().getByRole('button', { name: 'Create' }).click();
    const second = await secret();
    assert.deepEqual([await token(first), await token(second)], [200, 200], 'both are good meanwhile');
    await confirmed(row(first.slice(0, 4)).first(), 'Delete');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr.ant-table-row').length === 1);
    assert.equal(await token(second), 200, 'the second goes on');
    assert.equal(await token(first), 401, 'the first is refused');
    await page.getByRole('tab', { name: 'Settings' }).click();
    await page.getByLabel('Display name').fill('A nightly job, renamed');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('heading', { level: 1, name: 'A nightly job, renamed' }).waitFor();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await dialog().getByRole('textbox').fill(id);
    await dialog().getByRole('button', { name: 'Delete', exact: true }).click();
    await page.waitForURL('**/clients');
    assert.equal(await token(second), 401, 'a deleted client gets nothing');
    clean();
  });

  it('sets the policy of an organisation, and it is there afterwards', async () => {
    await open(`/orgs/${org}/security`);
    await page.getByLabel('Sessions end after', { exact: true }).fill('12');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('The policy holds from now on').waitFor();
    await open(`/orgs/${org}/security`);
    assert.equal(await page.getByLabel('Sessions end after', { exact: true }).inputValue(), '12');
    clean();
  });

  it('makes and takes back a provisioning token', async () => {
    await open(`/orgs/${org}/security?tab=scim`);
    await page.getByRole('button', { name: 'Make a token' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('entra');
    await dialog().getByRole('button', { name: 'Create' }).click();
    const address = (await dialog().locator('.mono').last().innerText()).trim();
    const token = await secret();
    const people = () => fetch(`${address}/Users?count=1`, { headers: { authorization: `Bearer ${token}` } }).then((answer) => answer.status);
    assert.equal(await people(), 200);
    await confirmed(row('entra'), 'Delete');
    await row('entra').waitFor({ state: 'detached' });
    assert.equal(await people(), 401);
    clean();
  });

  it('rotates the signing keys', async () => {
    await open('/security?tab=keys');
    const before = await page.locator('tbody tr.ant-table-row').count();
    await page.getByRole('button', { name: 'Rotate' }).click();
    await dialog().getByRole('button', { name: 'Create' }).click();
    await page.waitForFunction((count) => document.querySelectorAll('tbody tr.ant-table-row').length > count, before);
    await page.getByText('coming').first().waitFor();
    clean();
  });

  it('invites somebody by a link', async () => {
    await open(`/orgs/${org}/access?tab=invitations`);
    await page.getByRole('button', { name: 'Invite' }).click();
    await dialog().getByLabel('E-mail').fill(`new-${stamp}@example.com`);
    await dialog().getByRole('button', { name: 'Invite' }).click();
    const link = await secret();
    assert.match(link, /^https:\/\//);
    assert.equal((await fetch(link)).status, 200, 'the link opens');
    await confirmed(row(`new-${stamp}@example.com`), 'Withdraw');
    await row(`new-${stamp}@example.com`).waitFor({ state: 'detached' });
    clean();
  });

  it('makes a team, a role of its own and a service account with a key', async () => {
    await open(`/orgs/${org}/access?tab=teams`);
    await page.getByRole('button', { name: 'Create a team' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('builders');
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row('builders').waitFor();

    await page.getByRole('tab', { name: 'Roles' }).click();
    await page.getByRole('button', { name: 'Define a role' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('deployer');
    await dialog().getByRole('checkbox', { name: 'apps', exact: true }).check();
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row('deployer').waitFor();

    await page.getByRole('tab', { name: 'Service accounts' }).click();
    await page.getByRole('button', { name: 'Create a service account' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('ci');
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row('ci').getByRole('button', { name: 'Expand row' }).click();
    await page.getByRole('button', { name: 'Make a key' }).click();
    await dialog().getByRole('button', { name: 'Create' }).click();
    assert.ok((await secret()).length > 20);

    await page.getByRole('tab', { name: 'Rights' }).click();
    await page.getByRole('button', { name: 'Grant a role' }).click();
    await choose(dialog(), 'Who', 'Team builders');
    await choose(dialog(), 'Role', 'deployer');
    await dialog().getByRole('button', { name: 'Grant a role' }).click();
    await row('team:builders').waitFor();
    clean();
  });

  it('answers who can, with the reason', async () => {
    await open(`/orgs/${org}/access?tab=who-can`);
    await choose(page, 'Permission', 'apps.write');
    await page.getByRole('button', { name: 'Ask' }).click();
    await page.getByText(`Administrator at ${org}`).first().waitFor();
    await page.getByRole('tab', { name: 'Who may what' }).click();
    await page.locator('tbody tr.ant-table-row').first().waitFor();
    clean();
  });

  it('imports people after a dry run, then finds, suspends and erases one', async () => {
    const name = `imp${stamp}`;
    await open('/people/import');
    await page.getByLabel('File', { exact: true }).fill(`username,email,display_name,password_hash\n${name},${name}@example.com,Imported Person,\nbad name,not-an-address,,\n`);
    await page.getByRole('button', { name: 'Dry run' }).click();
    await page.getByText('Would be created: 1; unchanged: 0; refused: 1').waitFor();
    await page.getByRole('main').getByRole('button', { name: 'Import' }).click();
    await page.locator('.ant-popover:not(.ant-popover-hidden)').getByRole('button', { name: 'Import' }).click();
    await page.getByText(/^Created: 1;/).waitFor();
    await open('/people');
    await page.getByLabel('Beginning of a name, or a whole e-mail address').fill(name);
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name, exact: true }).click();
    await page.getByRole('heading', { level: 1, name: 'Imported Person' }).waitFor();
    await confirmed(page.getByRole('main'), 'Suspend');
    await page.getByText('suspended', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByText('active', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Erase' }).click();
    await dialog().getByRole('textbox').fill(name);
    await dialog().getByRole('button', { name: 'Erase' }).click();
    await page.waitForURL('**/people');
    const left = await api(page, 'GET', `/api/v1/users?q=${name}`);
    assert.deepEqual(left.body.items, []);
    clean();
  });

  it('finds in the audit trail what was just done, with its content', async () => {
    await open('/audit');
    await page.getByLabel('What', { exact: true }).fill('org.*');
    await page.getByLabel('Search', { exact: true }).fill(org);
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('button', { name: 'org.created' }).first().click();
    await dialog().getByText('Content', { exact: true }).waitFor();
    await dialog().getByText(org).first().waitFor();
    await page.keyboard.press('Escape');
    const csv = await page.getByRole('link', { name: 'CSV' }).getAttribute('href');
    const text = await page.evaluate(async (address) => (await fetch(address)).text(), csv);
    assert.ok(text.includes('org.created') && text.split('\n').length > 1, text.slice(0, 200));
    clean();
  });

  it('publishes a price plan and bills an organisation by it', async () => {
    const plan = `plan-${stamp}`;
    await open('/price-plans');
    await page.getByRole('button', { name: 'Create a price plan' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill(plan);
    await dialog().getByLabel('Processor, core hours', { exact: true }).fill('0.33');
    await dialog().getByRole('button', { name: 'Publish' }).click();
    await row(plan).waitFor();
    await open(`/orgs/${org}/billing?tab=prices`);
    await choose(page, 'Another plan', plan);
    await confirmed(page.getByRole('main'), 'Give');
    await page.locator('.ant-card-head-title').getByText(plan).waitFor();
    await page.getByText('0.33').waitFor();
    clean();
  });
});
