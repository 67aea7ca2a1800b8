// Ready-made services in the console: one click makes one, its credentials become a secret, and an application uses it by that.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';

import { shows } from './clause.mjs';
import { push, registryToken } from './registry.mjs';
import { makePlace } from './running.mjs';
import { api, dropOrg, faults, freshToken, handles, missing, settled, signedIn, until } from './suite.mjs';

const reason = missing();
const org = `offer-${Date.now().toString(36)}`;

describe('the catalogue in the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let place;
  let image;
  let node;

  const { dialog, open, row } = handles(() => page);
  const clean = () => assert.deepEqual(complaints.take(), []);
  const instance = (wanted, what) => until(page, `/api/v1${place.space}/instances/nginx`, wanted, what);

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    place = await makePlace(page, org);
    [node] = (await api(page, 'GET', '/api/v1/nodes')).body.items.filter((one) => one.state === 'ready' && !one.cordoned);
    // What answers as nginx would, of this machine's programs.
    const me = (await api(page, 'GET', '/api/v1/me')).body;
    const token = await freshToken(page, `catalogue ${org}`);
    const name = `${org}/shop/pages`;
    const members = [{ name: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: '0000755' }, { name: 'bin/sh', link: 'busybox' }];
    const run = { Env: ['PATH=/bin'], Cmd: ['/bin/sh', '-c', 'busybox mkdir -p /www; echo ready-made > /www/index.html; exec busybox httpd -f -p 80 -h /www'] };
    assert.equal(await push({ bearer: await registryToken(name, me.username, token.secret), name, tag: '1', members, run }), 201);
    image = `${name}:1`;
    complaints.take();
  });

  after(async () => {
    if (page) {
      await api(page, 'DELETE', `/api/v1${place.space}/apps/caller`).catch(() => {});
      await api(page, 'DELETE', `/api/v1${place.space}/instances/nginx`).catch(() => {});
      await dropOrg(page, org);
    }
    await browser?.close();
  });

  it('deploys an offering with one click and what it cannot know', shows(['6.3.3.o'], async (test) => {
    // The place that was looked at last is where it is made.
    await open(`${place.space}/instances`);
    await page.getByRole('link', { name: 'From the catalogue' }).first().click();
    await page.waitForURL('**/catalog');
    await settled(page);
    await page.locator('.ant-card').filter({ hasText: 'Web and proxy server' }).getByRole('button', { name: 'Create' }).click();
    assert.equal(await dialog().getByLabel('Name', { exact: true }).inputValue(), 'nginx', 'a name is there');
    assert.equal(await dialog().getByLabel('Copies').inputValue(), '1');
    await dialog().getByLabel('Image').fill(image);
    assert.deepEqual(await faults(page), []);
    await dialog().getByRole('button', { name: 'Create' }).click();
    await page.waitForURL('**/instances');
    await row('nginx').waitFor();
    const made = await instance((one) => one?.state === (node ? 'ready' : 'provisioning'), 'made');
    assert.deepEqual([made.offering, made.parameters.image], ['nginx', image], JSON.stringify(made));
    const app = await until(page, `/api/v1${place.space}/apps/svc-nginx`, (one) => one?.revision === 1, 'deployed');
    assert.match(app.workloads[0].image, /\/pages(:1)?@sha256:/);
    if (!node) test.diagnostic('no node: that it runs was left out');
    clean();
  }));

  it('gives an application the middleware that it needs', shows(['6.3.2.f'], async (test) => {
    if (!node) return test.skip('no node: nothing runs');
    await open(`${place.space}/instances`);
    await row('nginx').getByRole('button', { name: 'Bind' }).click();
    await dialog().getByLabel('Name', { exact: true }).fill('caller');
    await dialog().getByRole('button', { name: 'Create' }).click();
    await page.getByRole('button', { name: 'Keep as a secret of the space' }).click();
    const secret = await until(page, `/api/v1${place.space}/configs`, (list) => list.items.some((one) => one.name === 'nginx-caller' && one.secret), 'kept as a secret');
    assert.ok(secret.items.find((one) => one.name === 'nginx-caller').keys.includes('uri'));
    clean();
    const document = `apiVersion: gantry.io/v1
kind: Application
metadata: {name: caller}
spec:
  configs: {nginx-caller: {secret: true, external: nginx-caller}}
  workloads:
    caller:
      image: ${place.image}
      command: [sh, -c, 'while true; do busybox wget -q -O - "$$SERVER"; busybox sleep 1; done']
      env_sources: {SERVER: nginx-caller/uri}
`;
    const deployed = await api(page, 'POST', `/api/v1${place.space}/apps`, { name: 'caller', format: 'gantry', document });
    assert.equal(deployed.status, 201, JSON.stringify(deployed.body));
    await until(page, `/api/v1${place.space}/apps/caller/logs`, (log) => log?.items?.at(-1)?.text === 'ready-made', 'what it needs answers it');
    return clean();
  }));
});
