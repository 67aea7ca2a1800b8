// Programs of others that sign people in here: `openid-client`, `oidc-client-ts`, and Apache with mod_auth_openidc. Each
// is set up as docs/identity/relying-parties.md says.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { InMemoryWebStorage, OidcClient, WebStorageStateStore } from 'oidc-client-ts';
import * as openid from 'openid-client';

import { password, url, user } from './suite.mjs';

const reason = !url || !user || !password ? 'no running suite: set GANTRY_URL, GANTRY_CA, GANTRY_ADMIN_USER and GANTRY_ADMIN_PASSWORD' : '';
if (reason !== '') console.log(`# relying parties are left out: ${reason}`);

/** A browser without pictures: keeps cookies by host, follows redirects until `stop`. */
class Browser {
  #cookies = new Map();

  async open(address, { method = 'GET', form, stop = () => false } = {}) {
    for (let hops = 0; hops < 20; hops += 1) {
      if (stop(address)) return { address };
      const { host } = new URL(address);
      const jar = this.#cookies.get(host) ?? new Map();
      const headers = { accept: 'text/html', cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') };
      const answer = await send(address, method, headers, form);
      for (const line of answer.cookies) {
        const [pair] = line.split(';');
        const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
        if (value === '' || /max-age=0/i.test(line)) jar.delete(name);
        else jar.set(name, value);
      }
      this.#cookies.set(host, jar);
      if (answer.status < 300 || answer.status > 399 || !answer.location) return { address, ...answer };
      address = new URL(answer.location, address).toString();
      [method, form] = ['GET', undefined];
    }
    throw new Error(`too many redirects: ${address}`);
  }

  /** Fills in the sign-in page when there is one. */
  async through(address, stop) {
    const page = await this.open(address, { stop });
    if (!page.address.includes('/login')) return page;
    const field = (name) => decode(page.body.match(new RegExp(`name="${name}" value="([^"]*)"`))[1]);
    const form = { csrf: field('csrf'), continue: field('continue'), username: user, password };
    return this.open(`${url}/login`, { method: 'POST', form, stop });
  }
}

const decode = (text) => text.replaceAll('&amp;', '&').replaceAll('&#x2f;', '/').replaceAll('&#x27;', "'").replaceAll('&quot;', '"');

/** One request without following. `fetch` forbids setting cookies on plain http to some hosts, so that goes by `node:http`. */
async function send(address, method, headers, form) {
  const body = form && new URLSearchParams(form).toString();
  if (body) headers['content-type'] = 'application/x-www-form-urlencoded';
  if (address.startsWith('https:')) {
    const answer = await fetch(address, { method, headers, body, redirect: 'manual' });
    return { status: answer.status, location: answer.headers.get('location'), cookies: answer.headers.getSetCookie(), body: await answer.text() };
  }
  return new Promise((resolve, reject) => {
    const sent = request(address, { method, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk) => (text += chunk));
      answer.on('end', () => resolve({ status: answer.statusCode, location: answer.headers.location, cookies: answer.headers['set-cookie'] ?? [], body: text }));
    });
    sent.on('error', reject).end(body);
  });
}

/** A token of the administrator, for making clients: a personal one, exchanged. */
async function admin() {
  const basic = Buffer.from(`${user}:${password}`).toString('base64');
  const made = await fetch(`${url}/api/v1/tokens`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: `relying parties ${Date.now()}`, expires_in_days: 1 }),
  });
  assert.equal(made.status, 201, await made.clone().text());
  const exchanged = await fetch(`${url}/oauth2/token`, {
    method: 'POST',
    body: new URLSearchParams({
      client_id: 'gantry-cli',
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: (await made.json()).secret,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    }),
  });
  return (await exchanged.json()).access_token;
}

async function call(token, method, path, body) {
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? null : JSON.parse(text) };
}

const REDIRECT = 'http://127.0.0.1/callback';

describe('relying parties', { skip: reason === '' ? false : reason, timeout: 180_000 }, () => {
  let token;
  const made = [];

  before(async () => {
    token = await admin();
  });

  after(async () => {
    for (const id of made) await call(token, 'DELETE', `/api/v1/clients/${id}`);
  });

  async function client(settings) {
    const body = {
      settings: {
        client_name: 'Test',
        redirect_uris: [REDIRECT],
        post_logout_redirect_uris: ['http://127.0.0.1/bye'],
        grant_types: ['authorization_code', 'refresh_token'],
        ...settings,
      },
    };
    const answer = await call(token, 'POST', '/api/v1/clients', body);
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    made.push(answer.body.id);
    return answer.body;
  }

  it('openid-client: discovery, code with PKCE, UserInfo, refresh, introspection, revocation, sign-out', async () => {
    const { id, secret } = await client({});
    const config = await openid.discovery(new URL(url), id, secret);
    const verifier = openid.randomPKCECodeVerifier();
    const [state, nonce] = [openid.randomState(), openid.randomNonce()];
    const asked = openid.buildAuthorizationUrl(config, {
      redirect_uri: REDIRECT,
      scope: 'openid profile email groups roles offline_access',
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    });
    const browser = new Browser();
    const back = await browser.through(asked.toString(), (address) => address.startsWith(REDIRECT));
    const tokens = await openid.authorizationCodeGrant(config, new URL(back.address), { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, maxAge: 3600 });
    const claims = tokens.claims();
    assert.equal(claims.preferred_username, user);
    assert.ok(claims.groups.includes('platform:admin') && claims.roles.includes('platform:admin'), JSON.stringify(claims));
    const info = await openid.fetchUserInfo(config, tokens.access_token, claims.sub);
    assert.equal(info.preferred_username, user);
    const refreshed = await openid.refreshTokenGrant(config, tokens.refresh_token);
    assert.notEqual(refreshed.refresh_token, tokens.refresh_token);
    assert.equal((await openid.tokenIntrospection(config, refreshed.access_token)).active, true);
    await openid.tokenRevocation(config, refreshed.refresh_token);
    assert.equal((await openid.tokenIntrospection(config, refreshed.access_token)).active, false);
    const out = openid.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, post_logout_redirect_uri: 'http://127.0.0.1/bye', state: 'x' });
    const bye = await browser.open(out.toString(), { stop: (address) => address.startsWith('http://127.0.0.1/bye') });
    assert.equal(bye.address, 'http://127.0.0.1/bye?state=x');
  });

  it('openid-client: private_key_jwt, pushed request, DPoP, every signing algorithm', async () => {
    for (const alg of ['RS256', 'ES256', 'EdDSA']) {
      const pair = await openid.randomDPoPKeyPair('ES256', { extractable: true });
      const jwk = { ...(await crypto.subtle.exportKey('jwk', pair.publicKey)), kid: 'k1', use: 'sig' };
      const { id } = await client({
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [jwk] },
        require_pushed_authorization_requests: true,
        dpop_bound_access_tokens: true,
        id_token_signed_response_alg: alg,
      });
      const metadata = { id_token_signed_response_alg: alg === 'EdDSA' ? 'Ed25519' : alg };
      const config = await openid.discovery(new URL(url), id, alg === 'EdDSA' ? { id_token_signed_response_alg: 'EdDSA' } : metadata, openid.PrivateKeyJwt({ key: pair.privateKey, kid: 'k1' }));
      const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair());
      const verifier = openid.randomPKCECodeVerifier();
      const parameters = { redirect_uri: REDIRECT, scope: 'openid profile', code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', state: 's' };
      const asked = await openid.buildAuthorizationUrlWithPAR(config, parameters, { DPoP });
      assert.match(asked.searchParams.get('request_uri'), /^urn:ietf:params:oauth:request_uri:/);
      const back = await new Browser().through(asked.toString(), (address) => address.startsWith(REDIRECT));
      const tokens = await openid.authorizationCodeGrant(config, new URL(back.address), { pkceCodeVerifier: verifier, expectedState: 's' }, undefined, { DPoP });
      assert.equal(tokens.token_type, 'dpop');
      const info = await openid.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
      assert.equal(info.preferred_username, user);
      const refreshed = await openid.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
      assert.ok(refreshed.access_token);
    }
  });

  it('openid-client: a client registers itself and gets its own tokens', async () => {
    const initial = await call(token, 'POST', '/api/v1/client-registration-tokens', {});
    assert.equal(initial.status, 201);
    const registered = await openid.dynamicClientRegistration(
      new URL(url),
      { client_name: 'Self-made', redirect_uris: [REDIRECT], grant_types: ['client_credentials', 'authorization_code'], token_endpoint_auth_method: 'client_secret_basic' },
      undefined,
      { initialAccessToken: initial.body.token },
    );
    const { client_id: id, client_secret: secret } = registered.clientMetadata();
    made.push(id);
    const config = await openid.discovery(new URL(url), id, { client_secret: secret }, openid.ClientSecretBasic(secret));
    const tokens = await openid.clientCredentialsGrant(config, {});
    assert.equal((await call(tokens.access_token, 'GET', '/api/v1/orgs')).status, 200);
  });

  it('oidc-client-ts: sign-in and sign-out of a public client', async () => {
    const { id } = await client({ token_endpoint_auth_method: 'none' });
    const oidc = new OidcClient({
      authority: url,
      client_id: id,
      redirect_uri: REDIRECT,
      post_logout_redirect_uri: 'http://127.0.0.1/bye',
      scope: 'openid profile email',
      loadUserInfo: true,
      stateStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
    });
    const asked = await oidc.createSigninRequest({ state: { page: 7 } });
    const browser = new Browser();
    const back = await browser.through(asked.url, (address) => address.startsWith(REDIRECT));
    const answer = await oidc.processSigninResponse(back.address);
    assert.equal(answer.profile.preferred_username, user);
    assert.deepEqual(answer.userState, { page: 7 });
    const out = await oidc.createSignoutRequest({ id_token_hint: answer.id_token, state: {} });
    const bye = await browser.open(out.url, { stop: (address) => address.startsWith('http://127.0.0.1/bye') });
    assert.ok(await oidc.processSignoutResponse(bye.address));
  });

  const apache = existsSync('/usr/sbin/apache2') && existsSync('/usr/lib/apache2/modules/mod_auth_openidc.so');
  it('Apache with mod_auth_openidc: only those who are signed in come in', { skip: apache ? false : 'Apache with mod_auth_openidc is not installed' }, async () => {
    const port = await freePort();
    const own = `http://127.0.0.1:${port}`;
    const { id, secret } = await client({ redirect_uris: [`${own}/app/callback`], post_logout_redirect_uris: [`${own}/bye`] });
    const folder = mkdtempSync(join(tmpdir(), 'gantry-apache-'));
    const modules = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'auth_openidc', 'dir', 'mime', 'headers'];
    const config = [
      `ServerRoot ${folder}`, `PidFile ${folder}/pid`, `Listen 127.0.0.1:${port}`, 'ServerName 127.0.0.1', `ErrorLog ${folder}/error.log`, `DocumentRoot ${folder}`,
      ...(process.getuid() === 0 ? ['User www-data', 'Group www-data'] : []),
      ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
      `TypesConfig /etc/mime.types`,
      `OIDCProviderMetadataURL ${url}/.well-known/openid-configuration`,
      ...(process.env.GANTRY_CA ? [`OIDCCABundlePath ${folder}/ca.pem`] : []),
      `OIDCClientID ${id}`, `OIDCClientSecret ${secret}`, `OIDCRedirectURI ${own}/app/callback`, 'OIDCCryptoPassphrase for-this-test-alone',
      'OIDCPKCEMethod S256', 'OIDCScope "openid profile email groups"', 'OIDCRemoteUserClaim preferred_username', 'OIDCCookiePath /',
      `<Location /app>`, 'AuthType openid-connect', 'Require claim groups:platform:admin', '</Location>',
      `<Location /app/other>`, 'Require claim groups:nobody', '</Location>',
      `<Directory ${folder}>`, 'Require all granted', '</Directory>',
    ].join('\n');
    writeFileSync(join(folder, 'apache.conf'), `${config}\n`);
    chmodSync(folder, 0o755);
    // Apache reads it as another user, who may not see the suite's folder.
    if (process.env.GANTRY_CA) copyFileSync(process.env.GANTRY_CA, join(folder, 'ca.pem'));
    mkdirSync(join(folder, 'app/other'), { recursive: true });
    writeFileSync(join(folder, 'app/hello.txt'), 'hello\n');
    writeFileSync(join(folder, 'app/other/hello.txt'), 'hello\n');
    const server = spawn('/usr/sbin/apache2', ['-f', join(folder, 'apache.conf'), '-DFOREGROUND'], { stdio: ['ignore', 'inherit', 'inherit'] });
    try {
      await until(() => send(`${own}/nothing`, 'GET', {}), 'Apache listens');
      // Without `accept` the module takes a request for a script's and answers 401.
      const outside = await send(`${own}/app/hello.txt`, 'GET', { accept: 'text/html' });
      assert.ok(outside.status === 302 && outside.location.startsWith(`${url}/oauth2/authorize`), `${outside.status} ${outside.location}`);
      const browser = new Browser();
      const inside = await browser.through(`${own}/app/hello.txt`, () => false);
      assert.equal(`${inside.status} ${inside.body}`, '200 hello\n', inside.body);
      assert.ok([401, 403].includes((await browser.open(`${own}/app/other/hello.txt`)).status), 'groups decide');
      assert.equal((await browser.open(`${own}/app/callback?info=json`)).status, 404, 'no information hook unless it is switched on');
    } catch (error) {
      console.log(readFileSync(join(folder, 'error.log'), 'utf8').split('\n').slice(-20).join('\n'));
      throw error;
    } finally {
      server.kill();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

async function until(attempt, what) {
  const end = Date.now() + 15_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > end) throw new Error(`not within 15 s: ${what}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
