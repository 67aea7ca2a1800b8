// Where the suite is, and a signed-in browser. Reads `.gantry/env` for what the environment leaves out.

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

const browsers = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', process.env.CHROMIUM].filter((path) => path && existsSync(path));

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

/** Signs in by the sign-in page, as a person does. */
export async function signIn(page) {
  // Interfaces of containers that were just removed make Chromium drop what is under way, once.
  await page.goto('/').catch((error) => {
    if (!String(error).includes('ERR_NETWORK_CHANGED')) throw error;
    return page.goto('/');
  });
  await page.click('#sign-in');
  await page.waitForURL(/\/(login|oauth2)/);
  await page.fill('input[name=username]', user);
  await page.fill('input[name=password]', password);
  await page.click('form button[type=submit], form input[type=submit]');
  await page.waitForSelector('#main');
}

/** Calls the API with the browser's own session. */
export function api(page, method, path, body) {
  return page.evaluate(
    async ({ method, path, body }) => {
      const session = await (await fetch('/auth/session')).json();
      const answer = await fetch(path, { method, headers: { 'content-type': 'application/json', 'x-csrf': session.csrf }, body: body === undefined ? undefined : JSON.stringify(body) });
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
  const passing = (text) => /ERR_NETWORK_CHANGED/.test(text ?? '');
  page.on('console', (message) => {
    if (message.type() === 'error' && !passing(message.text())) complaints.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
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
