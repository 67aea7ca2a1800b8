// A place with an application that really runs, of a program of this machine.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { api, freshToken, makeOrg, until } from './suite.mjs';
import { push, registryToken } from './registry.mjs';

/** Makes organisation, project "shop" and space "test", and pushes the image `<org>/shop/box:1`: busybox. */
export async function makePlace(page, org) {
  const space = await makeOrg(page, org);
  const me = (await api(page, 'GET', '/api/v1/me')).body;
  const token = await freshToken(page, `running ${org}`);
  const name = `${org}/shop/box`;
  const bearer = await registryToken(name, me.username, token.secret);
  const members = [{ name: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: '0000755' }, { name: 'bin/sh', link: 'busybox' }, { name: 'etc/passwd', content: 'root:x:0:0:root:/:/bin/sh\n' }];
  assert.equal(await push({ bearer, name, tag: '1', members, run: { Env: ['PATH=/bin'], Cmd: ['/bin/sh'] } }), 201);
  return { image: `${name}:1`, space };
}

/** Deploys a Compose document; answers what was done. */
export async function deploy(page, space, name, document, reason = '') {
  const answer = await api(page, 'POST', `/api/v1${space}/apps`, { name, document, reason });
  assert.ok(answer.status === 200 || answer.status === 201, JSON.stringify(answer.body));
  return answer.body;
}

/** Waits until the application is as wanted. */
export const appUntil = (page, space, name, wanted, what) => until(page, `/api/v1${space}/apps/${name}`, wanted, `${name} is not ${what}`);
