// Where the suite is, and a signed-in browser. Reads `.gantry/env` for what the environment leaves out.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

const file = join(process.env.GANTRY_HOME ?? join(root, '.gantry'), 'env');
const written = existsSync(file) ? Object.fromEntries(readFileSync(file, 'utf8').split('\n').map((line) => line.match(/^(\w+)='?([^']*)'?$/)).filter(Boolean).map(([, key, value]) => [key, value])) : {};
const setting = (name) => process.env[name] ?? written[name];

export const url = setting('GANTRY_URL');
export const user = setting('GANTRY_ADMIN_USER');
export const password = setting('GANTRY_ADMIN_PASSWORD');

const browsers = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].filter((path) => path && existsSync(path));

/** Why the browser cannot be tested here; empty when it can. */
export function missing() {
  if (!url || !user || !password) return 'no running suite: set GANTRY_URL, GANTRY_ADMIN_USER and GANTRY_ADMIN_PASSWORD, or run `make up`';
  if (browsers.length === 0) return 'no Chromium: install the package `chromium`, or set CHROMIUM';
  return '';
}

export async function launch() {
  // The sandbox cannot start as root, which is how continuous integration runs. The certificate's authority is the
  // installation's own, which Chromium would only take from a user's certificate store.
  const browser = await chromium.launch({ executablePath: browsers[0], args: ['--no-sandbox', '--disable-dev-shm-usage', '--lang=en-US'] });
  const context = await browser.newContext({ ignoreHTTPSErrors: true, baseURL: url, viewport: { width: 1440, height: 900 }, locale: 'en-US', colorScheme: 'light' });
  context.setDefaultTimeout(20_000);
  return { browser, context };
}

/** Signs in by the sign-in page, as a person does: the suite's administrator, or somebody else. */
export async function signIn(page, name = user, word = password) {
  // Interfaces of containers that were just removed make Chromium drop what is under way, once.
  await page.goto('/').catch((error) => {
    if (!String(error).includes('ERR_NETWORK_CHANGED')) throw error;
    return page.goto('/');
  });
  await page.click('#sign-in');
  await page.waitForURL(/\/(login|oauth2)/);
  await page.fill('input[name=username]', name);
  await page.fill('input[name=password]', word);
  await page.click('form button[type=submit], form input[type=submit]');
  await page.waitForSelector('#main');
}

/** Calls the API with the browser's own session. */
export function api(page, method, path, body) {
  return page.evaluate(
    async ({ method, path, body }) => {
      // Interfaces of containers that come and go make Chromium drop what is under way; what only reads is asked again.
      const read = (url, options, tries = 5) => fetch(url, options).catch((error) => (tries > 0 ? new Promise((done) => setTimeout(done, 300)).then(() => read(url, options, tries - 1)) : Promise.reject(error)));
      const session = await (await read('/auth/session')).json();
      const answer = await (method === 'GET' ? read : fetch)(path, { method, headers: { 'content-type': 'application/json', 'x-csrf': session.csrf }, body: body === undefined ? undefined : JSON.stringify(body) });
      const text = await answer.text();
      return { status: answer.status, body: text === '' ? null : JSON.parse(text) };
    },
    { method, path, body },
  );
}

/** Collects what a page complains about: console errors, exceptions, failed requests. */
export function watch(page) {
  const complaints = [];
  // Containers come and go on this machine, and with each of them a network card; the console then connects again.
  const passing = (text) => /ERR_NETWORK_CHANGED|Unable to preload CSS|dynamically imported module/.test(text ?? '');
  page.on('console', (message) => {
    if (message.type() === 'error' && !passing(message.text())) complaints.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => {
    if (!passing(error.message)) complaints.push(`exception: ${error.message}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} ${response.request().method()} ${new URL(response.url()).pathname}`);
  });
  page.on('requestfailed', (request) => {
    // Streams end when their page is left.
    const text = request.failure()?.errorText;
    if (text !== 'net::ERR_ABORTED' && !passing(text)) complaints.push(`failed: ${request.url()} ${text}`);
  });
  return { take: () => complaints.splice(0) };
}

/** Waits until no placeholder is shown any more. */
export async function settled(page) {
  await page.locator('main h1, main .ant-result').first().waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll('main .ant-skeleton, main .ant-spin-dot')].every((one) => one.getClientRects().length === 0));
  await page.waitForTimeout(150);
}

/** Opens a page and waits for it; once more, if the network changed under it. */
export async function visit(page, path) {
  for (const last of [false, true]) {
    try {
      await page.goto(path);
      return await settled(page);
    } catch (error) {
      if (last) throw error;
    }
  }
}

/** What a screen reader would stumble over: fields and buttons without a name, images without a text, repeated ids. */
export function faults(page) {
  return page.evaluate(() => {
    const found = [];
    const named = (element) => {
      const labelled = element.getAttribute('aria-labelledby')?.split(' ').some((id) => document.getElementById(id)?.textContent?.trim());
      const label = element.id && document.querySelector(`label[for="${CSS.escape(element.id)}"]`)?.textContent?.trim();
      return Boolean(element.getAttribute('aria-label')?.trim() || labelled || label || element.closest('label')?.textContent?.trim() || element.getAttribute('title')?.trim());
    };
    const shown = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== 'hidden' && !element.closest('[aria-hidden=true]');
    const text = (element) => element.outerHTML.slice(0, 160);
    for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea')) if (shown(field) && !named(field)) found.push(`a field without a name: ${text(field)}`);
    for (const button of document.querySelectorAll('button, [role=button], a[href]')) {
      if (shown(button) && !button.textContent?.trim() && !named(button) && !button.querySelector('img[alt]:not([alt=""]), [role=img][aria-label]:not([aria-label=""])')) found.push(`a button or link without a name: ${text(button)}`);
    }
    for (const image of document.querySelectorAll('img:not([alt])')) found.push(`an image without a text: ${text(image)}`);
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id).filter((id) => !id.startsWith('rc_'));
    for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) found.push(`the id ${id} is there twice`);
    if (!document.documentElement.lang) found.push('the page has no language');
    if (document.querySelectorAll('h1').length !== 1) found.push(`${document.querySelectorAll('h1').length} main headings`);
    return found;
  });
}

/** A fresh token of the signed-in person, for what the browser does not do itself: `docker`, scripts. */
export async function freshToken(page, name, scopes = ['api']) {
  const made = await api(page, 'POST', '/api/v1/tokens', { name, scopes, expires_in_days: 1 });
  if (made.status !== 201) throw new Error(`no token: ${made.status} ${JSON.stringify(made.body)}`);
  return made.body;
}

/** A browser of its own with a page on which somebody is signed in, and what the page complains about. */
export async function signedIn(name, word) {
  const { browser, context } = await launch();
  try {
    const page = await context.newPage();
    const complaints = watch(page);
    await signIn(page, name, word);
    return { browser, page, complaints };
  } catch (error) {
    // Nobody else has it, and one that stays open holds up the end of the tests.
    await browser.close();
    throw error;
  }
}

/** Makes an organisation with the project "shop" and the space "test" in it, or the first `levels` of these; answers the path of the last. */
export async function makeOrg(page, org, levels = 3) {
  let path = '';
  for (const [kind, name] of [['orgs', org], ['projects', 'shop'], ['spaces', 'test']].slice(0, levels)) {
    const made = await api(page, 'POST', `/api/v1${path}/${kind}`, { name });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    path += `/${kind}/${name}`;
  }
  return path;
}

/** Takes an organisation away with everything in it. After a test, whatever has become of that. */
export async function dropOrg(page, org) {
  await api(page, 'DELETE', `/api/v1/orgs/${org}?confirm=${org}`).catch(() => {});
}

/** Asks the service, by its path or by `asked`, until the answer is as wanted. */
export async function until(page, asked, wanted, what) {
  let found;
  for (let tries = 0; tries < 300; tries += 1) {
    found = typeof asked === 'string' ? (await api(page, 'GET', asked)).body : await asked();
    if (wanted(found)) return found;
    await page.waitForTimeout(200);
  }
  return assert.fail(`${what}: ${JSON.stringify(found)}`);
}

/** Chooses a language of the console by its name. */
export async function speak(page, name, language) {
  await visit(page, '/');
  await page.getByTestId('language').click();
  await page.getByRole('menuitem', { name }).click();
  await page.waitForFunction((wanted) => document.documentElement.lang === wanted, language);
}

/** What all pages of the console have, by a function that answers the page: it is there only when the tests run. */
export function handles(page) {
  const dialog = () => page().getByRole('dialog').last();
  const option = () => page().locator('.ant-select-dropdown:not(.ant-select-dropdown-hidden) .ant-select-item-option');
  const sure = (name) => page().locator('.ant-popover:not(.ant-popover-hidden)').getByRole('button', { name, exact: true }).click();
  return {
    dialog,
    /** The first line of a table with this text. */
    row: (text) => page().locator('tbody tr.ant-table-row').filter({ hasText: text }).first(),
    open: (path) => visit(page(), path),
    /** Takes one of the choices that are offered under a label. */
    async pick(label, wanted) {
      await page().getByRole('combobox', { name: label, exact: true }).click();
      await option().filter({ hasText: wanted }).first().click();
    },
    /** Says yes to the question that a button asks. */
    sure,
    /** Clicks a button and says yes to its question. */
    async confirmed(where, name) {
      await where.getByRole('button', { name, exact: true }).click();
      await sure(name);
    },
    /** What is shown once; the dialog is closed. */
    async secret() {
      const shown = page().getByTestId('secret');
      const text = (await shown.innerText()).trim();
      // A press of the button is lost when it meets the dialog while that is still growing; a person presses again.
      for (let presses = 1; ; presses += 1) {
        await dialog().getByRole('button', { name: 'I have kept it' }).click();
        try {
          await shown.waitFor({ state: 'detached', timeout: 5_000 });
          return text;
        } catch (error) {
          if (presses === 4) throw error;
        }
      }
    },
  };
}
