// The console as a person uses it: every page, in both languages and both looks, without an error.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { api, dropOrg, faults, launch, missing, root, settled, signIn, speak, watch } from './suite.mjs';

const reason = missing();
if (reason !== '') console.log(`# browser tests are left out: ${reason}`);

const org = `browser-${Date.now().toString(36)}`;
const project = 'shop';
const space = 'test';
const base = `/orgs/${org}/projects/${project}`;

/** Every page, with its title in the two languages. */
const PAGES = [
  ['/', 'Overview', '概览'],
  ['/orgs', 'Organisations', '组织'],
  [`/orgs/${org}`, org, org],
  [`/orgs/${org}/access`, 'Members and rights', '成员与权限'],
  [`/orgs/${org}/security`, 'Protection', '安全防护'],
  [`/orgs/${org}/billing`, 'Billing', '计费'],
  [base, project, project],
  [`${base}/images`, 'Images', '镜像'],
  [`${base}/registry`, 'Rules and storage', '规则与存储'],
  [`${base}/repositories`, 'Repositories', '代码仓库'],
  [`${base}/runs`, 'Pipelines', '流水线'],
  [`${base}/spaces/${space}/apps`, 'Applications', '应用'],
  [`${base}/spaces/${space}/deploy`, 'Deploy an application', '部署应用'],
  [`${base}/spaces/${space}/topology`, 'Topology', '拓扑'],
  [`${base}/spaces/${space}/volumes`, 'Volumes', '存储卷'],
  [`${base}/spaces/${space}/rules`, 'Placement rules', '放置规则'],
  [`${base}/spaces/${space}/signs`, 'Intrusion signs', '入侵迹象'],
  [`${base}/spaces/${space}/alerts`, 'Alerts', '告警'],
  [`${base}/spaces/${space}/configs`, 'Configs and secrets', '配置与密钥'],
  [`${base}/spaces/${space}/services`, 'Services and routes', '服务与路由'],
  [`${base}/spaces/${space}/instances`, 'Service instances', '服务实例'],
  ['/catalog', 'Catalogue', '服务目录'],
  ['/nodes', 'Nodes', '节点'],
  ['/address-pools', 'Public addresses', '公网地址'],
  ['/clusters', 'Clusters', '集群'],
  ['/clusters/import', 'Import a cluster', '导入集群'],
  ['/me', 'My account', '我的账号'],
  ['/people', 'People', '用户'],
  ['/people/import', 'Import', '导入'],
  ['/clients', 'Clients', '客户端'],
  ['/upstreams', 'Sign-in sources', '登录来源'],
  ['/security', 'Security', '安全'],
  ['/price-plans', 'Price plans', '价格方案'],
  ['/image-store', 'Image store', '镜像存储'],
  ['/audit', 'Audit', '审计'],
  ['/health', 'Health', '健康状况'],
  ['/api/docs', 'API', 'API 文档'],
];

describe('the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;

  before(async () => {
    const launched = await launch();
    browser = launched.browser;
    page = await launched.context.newPage();
    complaints = watch(page);
  });

  after(async () => {
    if (page) await dropOrg(page, org);
    await browser?.close();
  });

  it('lets an administrator sign in and shows who it is', async () => {
    await signIn(page);
    const cookies = await page.context().cookies();
    const session = cookies.find((cookie) => cookie.name === '__Host-gantry');
    assert.ok(session?.httpOnly && session.secure, 'the session is out of reach of scripts');
    const stored = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
    assert.ok(!/eyJ/.test(stored), 'no token is kept in the browser');
    assert.deepEqual(complaints.take(), []);
  });

  it('makes an organisation, a project and a space by its forms', async () => {
    await page.goto('/orgs');
    await page.getByRole('button', { name: 'Create an organisation' }).first().click();
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('Not A Name');
    await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
    await page.getByText("it begins with a letter and ends with a letter or digit").waitFor();
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill(org);
    await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
    await page.waitForURL(`**/orgs/${org}`);
    await page.getByRole('button', { name: 'Create a project' }).click();
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill(project);
    await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
    await page.getByRole('link', { name: project, exact: true }).click();
    await page.getByRole('button', { name: 'Create a space' }).click();
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill(space);
    await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
    await page.getByRole('link', { name: space, exact: true }).waitFor();
    assert.deepEqual(complaints.take(), []);
  });

  for (const [language, index, name] of [
    ['en-US', 1, 'English'],
    ['zh-CN', 2, '简体中文'],
  ]) {
    it(`shows every page in ${language} without an error`, async () => {
      await speak(page, name, language);
      const links = new Set();
      for (const entry of PAGES) {
        await page.goto(entry[0]);
        await page.getByRole('heading', { level: 1, name: entry[index], exact: true }).waitFor();
        await settled(page);
        assert.deepEqual(complaints.take(), [], `${language} ${entry[0]}`);
        assert.deepEqual(await faults(page), [], `${language} ${entry[0]}`);
        const alerts = await page.locator('main [role=alert].ant-alert-error').allInnerTexts();
        assert.deepEqual(alerts, [], `${language} ${entry[0]} shows an error`);
        for (const tab of await page.locator('main').getByRole('tab').all()) {
          await tab.click();
          await settled(page);
          const where = `${language} ${entry[0]} ${await tab.innerText()}`;
          assert.deepEqual(complaints.take(), [], where);
          assert.deepEqual(await faults(page), [], where);
          assert.deepEqual(await page.locator('main [role=alert].ant-alert-error').allInnerTexts(), [], `${where} shows an error`);
        }
        for (const link of await page.locator('a[href^="/"]').evaluateAll((all) => all.map((a) => a.getAttribute('href')))) links.add(link);
      }
      const known = new Set(PAGES.map((entry) => entry[0]));
      for (const link of links) {
        if (known.has(link) || link.startsWith('/api/v1/') || link === '/api/openapi.json' || link.startsWith('/#')) continue;
        await page.goto(link);
        await page.locator('h1, .ant-result').first().waitFor();
        assert.equal(await page.locator('.ant-result-404').count(), 0, `${link} leads nowhere`);
        await settled(page);
        assert.deepEqual(complaints.take(), [], link);
      }
    });
  }

  it('shows what runs: an application, its run, its node', async (test) => {
    const busy = await busiest(page);
    if (!busy) return test.skip('nothing runs in this suite; `make demo` brings an application');
    const place = `/orgs/${busy.org}/projects/${busy.project}`;
    const [app] = (await api(page, 'GET', `/api/v1${place}/spaces/${busy.space}/apps`)).body.items;
    await page.goto(`${place}/spaces/${busy.space}/apps/${app.name}`);
    await page.getByRole('heading', { level: 1, name: app.name }).waitFor();
    for (const tab of await page.getByRole('tab').all()) {
      await tab.click();
      await settled(page);
      assert.deepEqual(await faults(page), []);
    }
    const [run] = (await api(page, 'GET', `/api/v1${place}/runs`)).body.items;
    if (run) {
      await page.goto(`${place}/runs/${run.id}`);
      await page.getByRole('log').waitFor();
      await settled(page);
    }
    const [node] = (await api(page, 'GET', '/api/v1/nodes')).body.items;
    if (node) {
      await page.goto(`/nodes/${node.name}`);
      await page.getByRole('heading', { level: 1, name: node.name }).waitFor();
      await settled(page);
    }
    assert.deepEqual(complaints.take(), []);
    assert.deepEqual(await page.locator('main [role=alert].ant-alert-error').allInnerTexts(), []);
  });

  it('is used by keyboard alone', async () => {
    await page.goto('/orgs');
    await settled(page);
    await page.keyboard.press('Tab');
    assert.match(await page.evaluate(() => document.activeElement?.getAttribute('href') ?? ''), /#main/, 'the first stop skips the menu');
    await page.keyboard.press('Enter');
    let reached = false;
    for (let stop = 0; stop < 40 && !reached; stop += 1) {
      await page.keyboard.press('Tab');
      reached = await page.evaluate((wanted) => document.activeElement?.getAttribute('href') === wanted, `/orgs/${org}`);
    }
    assert.ok(reached, 'the organisation is reached by Tab');
    await page.keyboard.press('Enter');
    await page.waitForURL(`**/orgs/${org}`);
  });

  it('says what is wrong and what to do when a service refuses', async () => {
    await speak(page, 'English', 'en-US');
    await page.goto(`${base}/spaces/${space}/deploy`);
    await page.getByLabel('Application').fill('web');
    await page.getByLabel('Document', { exact: true }).fill('services: [this is: no compose file');
    await page.getByRole('button', { name: 'Dry run' }).click();
    await page.getByRole('alert').filter({ hasText: 'Correct it and send it again.' }).first().waitFor();
    complaints.take();
  });

  it('keeps what was written when the session ends', async () => {
    await page.goto(`${base}/spaces/${space}/deploy`);
    await page.getByLabel('Application').fill('half-written');
    // As the gateway answers then; the real session is needed for the tests that follow.
    await page.route('**/auth/session', (route) => route.fulfill({ json: { signed_in: false } }));
    await page.route('**/documents', (route) => route.fulfill({ status: 401, contentType: 'application/problem+json', body: '{"code":"auth.required","detail":"sign in"}' }));
    await page.getByLabel('Document', { exact: true }).fill('services: {}');
    await page.getByRole('dialog').getByText('Your session has ended').waitFor();
    await page.unrouteAll({ behavior: 'wait' });
    await page.getByRole('button', { name: 'I have signed in' }).click();
    await page.getByText('Your session has ended').waitFor({ state: 'hidden' });
    assert.equal(await page.getByLabel('Application').inputValue(), 'half-written');
    complaints.take();
  });

  it('shows what happens while it happens', async () => {
    await page.goto('/');
    await page.getByText('Live', { exact: true }).first().waitFor();
    const name = `live-${Date.now().toString(36)}`;
    const made = await api(page, 'POST', `/api/v1/orgs/${org}/projects`, { name, public: false });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    await page.getByText('org.project-created').first().waitFor({ timeout: 15_000 });
    assert.deepEqual(complaints.take(), []);
  });

  it('is light and dark, and is drawn for the README', async () => {
    // Where something runs there is more to see.
    const busy = await busiest(page);
    if (busy) await page.evaluate((place) => localStorage.setItem('gantry.place', JSON.stringify(place)), busy);
    await page.goto('/');
    await settled(page);
    await page.waitForTimeout(1_500);
    mkdirSync(join(root, 'docs'), { recursive: true });
    await page.screenshot({ path: join(root, 'docs/console.png') });
    await page.getByTestId('look').click();
    await page.waitForFunction(() => document.documentElement.dataset.look === 'dark');
    await page.getByTestId('look').click();
    assert.deepEqual(complaints.take(), []);
  });

  it('signs out, and then nothing is left to see', async () => {
    await api(page, 'DELETE', `/api/v1/orgs/${org}?confirm=${org}`);
    complaints.take();
    await page.getByTestId('account').click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.locator('#sign-in').waitFor();
    await page.goto('/orgs');
    await page.locator('#sign-in').waitFor();
    assert.equal((await page.context().cookies()).find((cookie) => cookie.name === '__Host-gantry'), undefined);
  });
});

/** A space that has applications, if there is one. */
async function busiest(page) {
  const items = async (path) => (await api(page, 'GET', path)).body?.items ?? [];
  for (const { name: o } of await items('/api/v1/orgs')) {
    for (const { name: p } of await items(`/api/v1/orgs/${o}/projects`)) {
      for (const { name: s } of await items(`/api/v1/orgs/${o}/projects/${p}/spaces`)) {
        if ((await items(`/api/v1/orgs/${o}/projects/${p}/spaces/${s}/apps`)).length > 0) return { org: o, project: p, space: s };
      }
    }
  }
  return null;
}
