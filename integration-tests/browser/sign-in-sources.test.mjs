// What people sign in by, by the console: directories and networks, certificate authorities with their lists of revoked ones, the own
// certificate, tokens for machines, issuers outside; in English, and the pages in Chinese.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { api, dropOrg, faults, handles, makeOrg, missing, signedIn, speak } from './suite.mjs';

const reason = missing();
const stamp = Date.now().toString(36);
const org = `src-${stamp}`;

/** An authority's certificate, and its empty list of revoked ones, in PEM. */
function authority() {
  const folder = mkdtempSync(join(tmpdir(), 'authority-'));
  const at = (name) => join(folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('key.pem'), '-out', at('ca.pem'), '-subj', '/CN=cards', '-days', '30');
  writeFileSync(at('index.txt'), '');
  writeFileSync(at('ca.cnf'), `[ca]\ndefault_ca = it\n[it]\ndatabase = ${at('index.txt')}\ndefault_md = sha256\ndefault_crl_days = 2\n`);
  openssl('ca', '-gencrl', '-config', at('ca.cnf'), '-keyfile', at('key.pem'), '-cert', at('ca.pem'), '-out', at('list.pem'));
  const read = { pem: readFileSync(at('ca.pem'), 'utf8'), list: readFileSync(at('list.pem'), 'utf8') };
  rmSync(folder, { recursive: true });
  return read;
}

describe('sign-in sources by the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;

  const { dialog, row, open, confirmed } = handles(() => page);

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    await makeOrg(page, org, 1);
    complaints.take();
  });

  after(async () => {
    if (page) await dropOrg(page, org);
    await browser?.close();
  });

  const clean = () => assert.deepEqual(complaints.take(), []);

  it('connects a directory, is told what is wrong with it, changes it and deletes it', async () => {
    const name = `dir-${stamp}`;
    await open('/upstreams');
    await page.getByRole('button', { name: 'Connect' }).first().click();
    await dialog().getByText('Active Directory').click();
    await dialog().getByLabel('Name', { exact: true }).fill(name);
    await dialog().getByLabel('Servers').fill('ldaps://no-such-host.invalid');
    await dialog().getByLabel('Searching account (DN)').fill('gantry@corp.example');
    await dialog().getByLabel('Base of people').fill('DC=corp,DC=example');
    await dialog().getByLabel('Password of the searching account').fill('secret');
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row(name).waitFor();
    await row(name).getByRole('button', { name: 'Test' }).click();
    await dialog().getByText('Something is wrong').waitFor();
    await dialog().getByText('not known').first().waitFor();
    await page.keyboard.press('Escape');

    await row(name).getByRole('button', { name: 'Settings' }).click();
    const field = dialog().getByLabel('Settings', { exact: true });
    await field.fill('no JSON');
    await dialog().getByRole('button', { name: 'Save' }).click();
    await dialog().getByText('This is no JSON object.').waitFor();
    const settings = (await api(page, 'GET', `/api/v1/upstreams/${name}`)).body.settings;
    settings.mappings = [{ group: 'developers', role: 'editor', at: org }];
    await field.fill(JSON.stringify(settings));
    await dialog().getByRole('button', { name: 'Save' }).click();
    await page.getByText('The change is saved').waitFor();
    assert.equal((await api(page, 'GET', `/api/v1/upstreams/${name}`)).body.settings.mappings[0].group, 'developers');
    await confirmed(row(name), 'Delete');
    await row(name).waitFor({ state: 'detached' });
    clean();
  });

  it('connects a social network', async () => {
    const name = `net-${stamp}`;
    await open('/upstreams');
    await page.getByRole('button', { name: 'Connect' }).first().click();
    await dialog().getByText('Social network', { exact: true }).click();
    await dialog().getByLabel('Name', { exact: true }).fill(name);
    await dialog().getByLabel('Client id').fill('Iv1.0123456789abcdef');
    await dialog().getByLabel('Client secret').fill('secret');
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row(name).waitFor();
    assert.equal((await api(page, 'GET', `/api/v1/upstreams/${name}`)).body.settings.connection.oauth2.preset, 'github');
    await confirmed(row(name), 'Delete');
    await row(name).waitFor({ state: 'detached' });
    clean();
  });

  it('trusts an authority, looks at its list of revoked certificates, and no more', async () => {
    const { pem, list } = authority();
    await open(`/orgs/${org}/security?tab=authorities`);
    await page.getByRole('button', { name: 'Trust an authority' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('cards');
    await dialog().getByLabel('Its certificate (PEM)').fill(pem);
    await dialog().getByRole('button', { name: 'Create' }).click();
    await row('cards').getByText('not looked at').waitFor();
    await row('cards').getByRole('button', { name: 'Revoked certificates' }).click();
    await dialog().getByLabel('Or the list itself (PEM)').fill(list);
    await dialog().getByRole('button', { name: 'Save' }).click();
    await row('cards').getByText('0 revoked, list holds until').waitFor();
    await confirmed(row('cards'), 'Look no more');
    await row('cards').getByText('not looked at').waitFor();
    await confirmed(row('cards'), 'Delete');
    await row('cards').waitFor({ state: 'detached' });
    clean();
  });

  it('leads to the page that binds a certificate, by name if one wishes', async () => {
    await open('/me?tab=security');
    await page.getByRole('button', { name: 'Bind a certificate' }).click();
    await dialog().getByLabel('Name of the certificate').fill('work card');
    await dialog().getByLabel('Found by', { exact: true }).click();
    await page.locator('.ant-select-dropdown:not(.ant-select-dropdown-hidden) .ant-select-item-option-content').filter({ hasText: 'its name' }).click();
    await dialog().getByRole('button', { name: 'Bind a certificate' }).click();
    await page.waitForURL((address) => address.pathname === '/account' && address.searchParams.get('certificate') === 'work card' && address.searchParams.get('by') === 'name');
    clean();
  });

  it('shows these pages in Chinese, and a screen reader finds its way', async () => {
    await speak(page, '简体中文', 'zh-CN');
    for (const path of ['/upstreams', `/orgs/${org}/security?tab=authorities`, '/me?tab=security', `/orgs/${org}/security?tab=issuers`, '/security?tab=machines']) {
      await open(path);
      assert.match(await page.locator('main').innerText(), /[\u4e00-\u9fff]/, path);
      assert.deepEqual(await faults(page), [], path);
    }
    await speak(page, 'English', 'en-US');
    clean();
  });
});
