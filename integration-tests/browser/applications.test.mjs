// A running application in the console: what it does, what it logs, what was deployed, going back, and its end.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';

import { appUntil, deploy, makePlace } from './running.mjs';
import { api, dropOrg, faults, handles, missing, signedIn } from './suite.mjs';

const reason = missing();
const org = `app-${Date.now().toString(36)}`;

describe('an application in the console', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let place;
  let nodes;

  const { dialog, open, pick } = handles(() => page);
  const clean = () => assert.deepEqual(complaints.take(), []);
  const at = (tab) => `${place.space}/apps/shop?tab=${tab}`;

  /** `word` is what it writes, and what it serves. */
  const document = (word, replicas) => `services:
  web:
    image: ${place.image}
    command: [sh, -c, "echo ${word}; mkdir -p /www; echo ${word} > /www/index.html; exec busybox httpd -f -p 8080 -h /www"]
    ports: ["8080"]
    depends_on: [ticker]
    environment: {WORD: "${word}"}
  ticker:
    image: ${place.image}
    command: [sh, -c, "while true; do echo tick; busybox sleep 1; done"]
    volumes: ["ticks:/ticks"]
    deploy: {replicas: ${replicas}}
volumes:
  ticks: {}
`;

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    place = await makePlace(page, org);
    nodes = (await api(page, 'GET', '/api/v1/nodes')).body.items.filter((one) => one.state === 'ready' && !one.cordoned);
    await deploy(page, place.space, 'shop', document('apple', 1), 'the first');
    if (nodes.length > 0) await appUntil(page, place.space, 'shop', (app) => app?.state === 'running', 'running');
    await deploy(page, place.space, 'shop', document('pear', 1), 'the second');
    if (nodes.length > 0) await appUntil(page, place.space, 'shop', (app) => app?.finished_revision === 2, 'released');
    complaints.take();
  });

  after(async () => {
    if (page) {
      await api(page, 'DELETE', `/api/v1${place.space}/apps/shop`).catch(() => {});
      await dropOrg(page, org);
    }
    await browser?.close();
  });

  it('compares two revisions', async () => {
    await open(at('revisions'));
    const changes = page.getByRole('list', { name: 'What differs from revision 1 to 2' });
    await changes.getByText('env.WORD').waitFor();
    assert.deepEqual(await faults(page), []);
    await pick('To revision', '1');
    await page.getByText('Nothing differs between them').waitFor();
    clean();
  });

  it('shows what going back would change, and goes back', async () => {
    await open(at('revisions'));
    await page.locator('tbody tr.ant-table-row').filter({ hasText: 'the first' }).getByRole('button', { name: 'Roll back' }).click();
    await dialog().getByRole('list', { name: 'What differs from revision 2 to 1' }).getByText('env.WORD').waitFor();
    assert.equal((await api(page, 'GET', `/api/v1${place.space}/apps/shop`)).body.revision, 2, 'looking changes nothing');
    await dialog().getByRole('button', { name: 'Roll back' }).click();
    await appUntil(page, place.space, 'shop', (app) => app.revision === 1, 'rolled back');
    clean();
  });

  it('follows the log of all, of one workload and of one instance', async (test) => {
    if (nodes.length === 0) return test.skip('no node: nothing runs');
    await appUntil(page, place.space, 'shop', (app) => app.finished_revision === 1 && app.state === 'running', 'released');
    await open(at('logs'));
    const lines = (text) => page.getByRole('log').locator('.log-line').filter({ hasText: text });
    await lines(/tick$/).first().waitFor();
    await pick('Workload', 'web');
    await lines(/apple$/).first().waitFor();
    assert.equal(await lines(/tick$/).count(), 0, 'only the lines of the workload');
    await pick('Instance', 'running');
    await pick('Which start', 'Since the last start');
    await lines(/apple$/).first().waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('runs commands in an instance and lists its processes', async (test) => {
    if (nodes.length === 0) return test.skip('no node: nothing runs');
    await appUntil(page, place.space, 'shop', (app) => app.finished_revision === 1 && app.state === 'running', 'released');
    const one = (await api(page, 'GET', `/api/v1${place.space}/apps/shop/instances`)).body.items.find((each) => each.workload === 'web' && each.state === 'running');
    await open(`${place.space}/apps/shop/instances/${one.id}?tab=shell`);
    await page.getByRole('button', { name: 'Start', exact: true }).click();
    const line = page.getByLabel('Line to write', { exact: false });
    await line.fill('cat /www/index.html; echo sum $((20+3))');
    await line.press('Enter');
    const output = page.getByRole('log');
    await output.getByText('sum 23').waitFor();
    assert.match(await output.innerText(), /apple/);
    await line.press('ArrowUp');
    assert.equal(await line.inputValue(), 'cat /www/index.html; echo sum $((20+3))', 'arrow up brings the line before');
    await line.fill('exit 3');
    await line.press('Enter');
    await page.getByText('It ended with exit code 3.').waitFor();
    assert.deepEqual(await faults(page), []);
    await page.getByRole('tab', { name: 'Processes' }).click();
    await page.getByRole('table', { name: 'Processes' }).getByText('busybox httpd', { exact: false }).waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('has a terminal with colours and a size, in the whole window', async (test) => {
    if (nodes.length === 0) return test.skip('no node: nothing runs');
    await open(`${place.space}/apps/shop`);
    await page.getByRole('row', { name: /web/ }).getByRole('link', { name: 'Terminal' }).first().click();
    await page.waitForURL('**/terminal?instance=*');
    await page.getByRole('button', { name: 'Connect' }).click();
    await page.getByRole('button', { name: 'Disconnect' }).waitFor();
    const screen = page.locator('.xterm-rows');
    const type = async (line) => {
      await page.keyboard.type(line);
      await page.keyboard.press('Enter');
    };
    await page.locator('.xterm-helper-textarea').focus();
    await type('echo sum $((40+2)) $TERM');
    await screen.getByText('sum 42 xterm-256color').first().waitFor();
    await type("printf '\\033[38;2;250;10;20mcolour\\033[0m\\n'");
    // The page's policy lets no style be given as text; the colour arrives all the same.
    await page.waitForFunction(() => [...document.querySelectorAll('.xterm-rows span')].some((one) => one.textContent.trim() === 'colour' && getComputedStyle(one).color === 'rgb(250, 10, 20)'));
    await page.setViewportSize({ width: 1100, height: 700 });
    await type('echo size $(stty size)');
    await page.waitForFunction(() => /size \d+ \d+/.test(document.querySelector('.xterm-rows').textContent));
    const [, rows, columns] = (await screen.innerText()).match(/size (\d+) (\d+)/).map(Number);
    assert.ok(rows > 5 && columns > 40 && columns < 140, `${rows} x ${columns}`);
    await page.setViewportSize({ width: 1440, height: 900 });
    assert.deepEqual(await faults(page), []);
    await page.locator('.xterm-helper-textarea').focus();
    await type('exit 5');
    await page.getByText('It ended with exit code 5.').waitFor();
    clean();
  });

  it('has the charts and events of one instance', async (test) => {
    if (nodes.length === 0) return test.skip('no node: nothing runs');
    const one = (await api(page, 'GET', `/api/v1${place.space}/apps/shop/instances`)).body.items.find((each) => each.workload === 'web' && each.state === 'running');
    await open(`${place.space}/apps/shop/instances/${one.id}?tab=events`);
    await page.getByText('instance.exec').first().waitFor();
    await page.getByRole('tab', { name: 'Metrics' }).click();
    await page.getByRole('img', { name: /Memory$/ }).or(page.getByText('Nothing measured in this time')).first().waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('takes files out of an instance and puts files into it', async (test) => {
    if (nodes.length === 0) return test.skip('no node: nothing runs');
    const one = (await api(page, 'GET', `/api/v1${place.space}/apps/shop/instances`)).body.items.find((each) => each.workload === 'web' && each.state === 'running');
    await open(`${place.space}/apps/shop/instances/${one.id}?tab=files`);
    const content = Buffer.from('a line\n'.repeat(60_000));
    await page.getByLabel('Folder', { exact: true }).fill('/www/new');
    await page.locator('input[type=file]').setInputFiles([
      { name: 'large.txt', mimeType: 'text/plain', buffer: content },
      { name: '小.txt', mimeType: 'text/plain', buffer: Buffer.from('small') },
    ]);
    await page.getByText('large.txt, 小.txt was written to /www/new').waitFor();
    await page.getByLabel('File or folder').fill('/www/new/large.txt');
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
    assert.equal(download.suggestedFilename(), 'large.txt');
    assert.ok(content.equals(readFileSync(await download.path())), 'it comes back as it was');
    await page.getByLabel('File or folder').fill('/www/new');
    const [folder] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
    assert.equal(folder.suggestedFilename(), 'new.tar');
    await page.getByLabel('File or folder').fill('/not/there');
    await page.getByRole('button', { name: 'Download' }).click();
    await page.getByRole('alert').filter({ hasText: 'there' }).waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('searches the whole log', async (test) => {
    if (nodes.length === 0) return test.skip('no node: nothing runs');
    await open(at('logs'));
    await page.getByLabel('Search the whole log').fill('apple');
    await page.getByLabel('Search the whole log').press('Enter');
    await page.getByRole('log').locator('.log-line').filter({ hasText: /apple$/ }).first().waitFor();
    assert.equal(await page.getByRole('log').locator('.log-line').filter({ hasText: /tick$/ }).count(), 0, 'only lines with it');
    clean();
  });

  it('scales a workload, stops and starts the application', async (test) => {
    if (nodes.length === 0) return test.skip('no node: nothing runs');
    await open(at('instances'));
    const row = page.locator('tbody tr').filter({ hasText: 'stateless' }).filter({ hasText: 'web' }).first();
    await row.getByRole('spinbutton').fill('2');
    await row.getByRole('button', { name: 'Scale' }).click();
    await appUntil(page, place.space, 'shop', (app) => app.workloads.find((one) => one.name === 'web').ready === 2, 'scaled');
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.locator('.ant-popover:not(.ant-popover-hidden)').getByRole('button', { name: 'Stop' }).click();
    await page.getByRole('button', { name: /Start$/ }).waitFor();
    await appUntil(page, place.space, 'shop', (app) => app.state === 'stopped', 'stopped');
    await page.getByRole('button', { name: /Start$/ }).click();
    await appUntil(page, place.space, 'shop', (app) => app.state === 'running', 'running');
    clean();
  });

  it('shows what goes along before it deletes', async () => {
    await open(at('instances'));
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await dialog().getByText('This goes with it:').waitFor();
    await dialog().getByText('ticks', { exact: true }).waitFor();
    await dialog().getByText('ticker, web', { exact: true }).waitFor();
    assert.deepEqual(await faults(page), []);
    assert.ok(await dialog().getByRole('button', { name: 'Delete' }).isDisabled(), 'the name has to be written first');
    await dialog().getByRole('textbox').fill('shop');
    complaints.take();
    await dialog().getByRole('button', { name: 'Delete' }).click();
    await page.waitForURL('**/apps');
  });
});
