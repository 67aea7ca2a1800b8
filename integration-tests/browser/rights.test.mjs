// The console as people see it who do not run the platform: an administrator of an organisation, in Chinese, and somebody who may
// only read. What they may not do is not offered, and no page asks for what they may not see.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { appUntil, deploy, makePlace } from './running.mjs';
import { api, dropOrg, faults, launch, missing, settled, signIn, visit, watch } from './suite.mjs';

const reason = missing();
const mark = Date.now().toString(36);
const org = `rights-${mark}`;
const word = `Long-enough-${mark}-words`;

describe('the console by rights', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let operator;
  let place;
  const people = {};
  const browsers = [];

  /** A member of the organisation in a browser of their own. */
  async function member(role, language) {
    const username = `${role}-${mark}`;
    const made = await api(operator, 'POST', '/api/v1/users', { username, email: `${username}@example.com`, password: word, must_change_password: false });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const put = await api(operator, 'PUT', `/api/v1/orgs/${org}/members/${made.body.id}`, { role });
    assert.ok(put.status < 300, JSON.stringify(put.body));
    const launched = await launch();
    browsers.push(launched.browser);
    const page = await launched.context.newPage();
    const complaints = watch(page);
    await page.addInitScript((chosen) => localStorage.setItem('gantry.language', chosen), language);
    await signIn(page, username, word);
    await visit(page, `/orgs/${org}`);
    complaints.take();
    people[role] = { id: made.body.id, page, complaints };
  }

  before(async () => {
    const launched = await launch();
    browsers.push(launched.browser);
    operator = await launched.context.newPage();
    await signIn(operator);
    place = await makePlace(operator, org);
    await deploy(operator, place.space, 'shop', `services:\n  web:\n    image: ${place.image}\n    command: [busybox, sleep, "3600"]\n`);
    const nodes = (await api(operator, 'GET', '/api/v1/nodes')).body.items.filter((one) => one.state === 'ready' && !one.cordoned);
    if (nodes.length > 0) await appUntil(operator, place.space, 'shop', (app) => app?.state === 'running', 'running');
    await member('admin', 'zh-CN');
    await member('viewer', 'en-US');
  });

  after(async () => {
    if (operator) {
      await api(operator, 'DELETE', `/api/v1${place?.space}/apps/shop`).catch(() => {});
      for (const { id } of Object.values(people)) await api(operator, 'DELETE', `/api/v1/users/${id}`).catch(() => {});
      await dropOrg(operator, org);
    }
    for (const browser of browsers) await browser.close();
  });

  /** Opens the page with each of its tabs: nothing is refused, and nothing lacks a name. */
  async function walk({ page, complaints }, path) {
    await visit(page, path);
    const look = async (where) => {
      assert.deepEqual(complaints.take(), [], where);
      assert.deepEqual(await faults(page), [], where);
      assert.deepEqual(await page.locator('main [role=alert].ant-alert-error, .shell-main [role=alert].ant-alert-error').allInnerTexts(), [], `${where} shows an error`);
    };
    await look(path);
    for (const tab of await page.locator('.shell-main').getByRole('tab').all()) {
      await tab.click();
      await settled(page);
      await look(`${path} ${await tab.innerText()}`);
    }
  }

  it('shows an administrator of an organisation every page without a refusal, in Chinese', async () => {
    const project = `/orgs/${org}/projects/shop`;
    const pages = ['/', '/orgs', `/orgs/${org}`, `/orgs/${org}/access`, `/orgs/${org}/security`, `/orgs/${org}/billing`, project, `${project}/images`, `${project}/registry`, `${project}/repositories`, `${project}/runs`];
    const below = ['apps', 'apps/shop', 'deploy', 'topology', 'volumes', 'configs', 'rules', 'services', 'signs', 'alerts', 'instances'].map((one) => `${place.space}/${one}`);
    for (const path of [...pages, ...below, '/catalog', '/clusters', '/clusters/import', '/address-pools', '/me', '/people', '/clients', '/upstreams', '/audit', '/health']) await walk(people.admin, path);
  });

  it('offers them what is theirs, and not what is the platform\'s', async () => {
    const { page } = people.admin;
    await visit(page, `${place.space}/apps`);
    await page.getByRole('link', { name: '部署应用' }).first().waitFor();
    const menu = page.getByRole('navigation', { name: '主菜单' });
    await menu.getByRole('link', { name: '登录来源' }).waitFor();
    for (const name of ['节点', '公网地址', '价格方案', '镜像存储']) assert.equal(await menu.getByRole('link', { name, exact: true }).count(), 0, name);
    await visit(page, `/orgs/${org}?tab=quota`);
    assert.equal(await page.getByRole('button', { name: '修改配额' }).count(), 0, 'limits of an organisation are the platform\'s');
    await visit(page, `/orgs/${org}/projects/shop`);
    await page.getByRole('button', { name: '创建空间' }).waitFor();
    await page.getByRole('button', { name: '修改配额' }).waitFor();
  });

  it('shows a reader what runs, without a refusal', async () => {
    const project = `/orgs/${org}/projects/shop`;
    for (const path of ['/', `/orgs/${org}`, project, `${project}/images`, `${project}/repositories`, `${project}/runs`, ...['apps', 'apps/shop', 'volumes', 'rules', 'services', 'signs', 'alerts', 'instances'].map((one) => `${place.space}/${one}`)]) await walk(people.viewer, path);
  });

  it('offers a reader nothing that would be refused', async () => {
    const { page } = people.viewer;
    await visit(page, `${place.space}/apps/shop`);
    await page.getByRole('tab', { name: 'Log' }).waitFor();
    await page.getByRole('tab', { name: 'Instances' }).click();
    for (const name of ['Restart', 'Stop', 'Delete', 'Scale']) assert.equal(await page.getByRole('button', { name, exact: true }).count(), 0, name);
    assert.equal(await page.getByRole('link', { name: 'Terminal' }).count(), 0);
    const [instance] = (await api(operator, 'GET', `/api/v1${place.space}/apps/shop/instances`)).body.items;
    if (instance) {
      await visit(page, `${place.space}/apps/shop/instances/${instance.id}`);
      await page.getByRole('tab', { name: 'Log' }).waitFor();
      assert.equal(await page.getByRole('button', { name: 'Move', exact: true }).count(), 0);
    }
    for (const path of ['/clusters', '/address-pools']) {
      await visit(page, path);
      for (const name of ['Import a cluster', 'Add a pool']) {
        assert.equal(await page.getByRole('button', { name }).count(), 0, name);
        assert.equal(await page.getByRole('link', { name }).count(), 0, name);
      }
    }
    await visit(page, `${place.space}/signs?tab=follow`);
    await page.getByText('Only administrators of the space can change this.').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Save' }).count(), 0);
    await visit(page, `${place.space}/rules`);
    await page.getByText('Only administrators of the space can change this.').waitFor();
    await visit(page, `/orgs/${org}/access`);
    await page.getByRole('cell', { name: `viewer-${mark}` }).first().waitFor();
    assert.equal(await page.getByRole('button', { name: 'Add' }).count(), 0);
  });
});
