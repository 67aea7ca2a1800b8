// File and picture of an application: each edits the other, faults stand at their line, and it is deployed from there.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { shows } from './clause.mjs';
import { makePlace } from './running.mjs';
import { api, dropOrg, faults, missing, settled, signedIn } from './suite.mjs';

const reason = missing();
const org = `edit-${Date.now().toString(36)}`;

describe('the editor of applications', { skip: reason === '' ? false : reason, timeout: 300_000 }, () => {
  let browser;
  let page;
  let complaints;
  let place;

  const clean = () => assert.deepEqual(complaints.take(), []);
  const file = () => page.getByLabel('Document', { exact: true });
  const box = (id) => page.locator(`[data-box="${id}"]`);
  const arrow = (from, to) => page.locator(`[data-arrow="${from}>${to}"]`);
  /** Waits until the file says so. */
  const says = (pattern) => page.waitForFunction(([source, flags]) => new RegExp(source, flags).test(document.querySelector('#document').value), [pattern.source, pattern.flags]);

  before(async () => {
    ({ browser, page, complaints } = await signedIn());
    place = await makePlace(page, org);
    complaints.take();
  });

  after(async () => {
    if (page) {
      await api(page, 'DELETE', `/api/v1${place.space}/apps/drawn`).catch(() => {});
      await dropOrg(page, org);
    }
    await browser?.close();
  });

  it('draws what is written', async () => {
    await page.goto(`${place.space}/deploy`);
    await settled(page);
    await file().fill(`services:\n  web:\n    image: ${place.image}\n    ports: ["8080"]\n    depends_on: [store]\n  store:\n    image: ${place.image}\n    expose: ["6379"]\n    volumes: ["data:/data"]\nvolumes:\n  data: {}\n`);
    for (const id of ['w:web', 'w:store', 's:0', 'v:data']) await box(id).waitFor();
    assert.equal(await arrow('w:web', 'w:store').count(), 1);
    assert.equal(await arrow('w:store', 'v:data').count(), 1);
    await page.getByRole('list', { name: 'Parts of the picture' }).getByText('waits for store').waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('shows a fault at its line and goes there', async () => {
    const text = await file().inputValue();
    await file().fill(text.replace('    expose: ["6379"]', '    expose: ["6379"]\n    colour: red'));
    await page.getByRole('list', { name: 'Remarks on the file' }).getByText('colour').first().waitFor();
    const line = text.split('\n').indexOf('    expose: ["6379"]') + 2;
    await page.locator('.sheet-unsupported', { hasText: new RegExp(`^${line}$`) }).waitFor();
    await page.getByRole('button', { name: `line ${line}`, exact: true }).first().click();
    assert.match(await file().evaluate((area) => area.value.slice(area.selectionStart, area.selectionEnd)), /colour: red/);
    await file().fill(text);
    await page.locator('.sheet-unsupported').waitFor({ state: 'detached' });
    clean();
  });

  it('writes what is drawn, by pointer', shows(['6.3.2.c', '6.3.2.d', '6.3.2.j'], async () => {
    await page.getByRole('button', { name: 'Add workload' }).click();
    // Names are free ones; "web" is taken.
    await box('w:web-2').waitFor();
    await says(/\n {2}web-2:/);
    const [from, to] = [await page.getByTestId('dot w:web-2').boundingBox(), await box('w:store').boundingBox()];
    await page.mouse.move(from.x + 6, from.y + 6);
    await page.mouse.down();
    await page.mouse.move(to.x + 40, to.y + 30, { steps: 8 });
    await page.mouse.up();
    await arrow('w:web-2', 'w:store').waitFor({ state: 'attached' });
    await says(/web-2:[\s\S]*depends_on/);
    const before = await box('w:web-2').boundingBox();
    await page.mouse.move(before.x + 60, before.y + 30);
    await page.mouse.down();
    await page.mouse.move(before.x + 60, before.y + 110, { steps: 8 });
    await page.mouse.up();
    const moved = await box('w:web-2').boundingBox();
    assert.ok(Math.abs(moved.y - before.y - 80) < 6, `it stands where it was put: ${before.y} ${moved.y}`);
    clean();
  }));

  it('writes what the forms say', shows(['6.3.2.k'], async () => {
    await box('w:web-2').click();
    const form = page.locator('.small-form').first();
    await form.getByLabel('Image').fill(place.image);
    await form.getByLabel('Instances wanted').fill('2');
    // Below what is reserved: the file is not written before that is mended.
    await form.getByLabel('Memory limit').fill('1Mi');
    await form.getByLabel('Memory limit').press('Enter');
    const faulty = page.getByText('What was drawn has faults', { exact: false });
    await faulty.waitFor();
    // What was written before may still be on its way: what is typed meanwhile stays.
    await form.getByLabel('Memory limit').fill('256Mi');
    await form.getByLabel('Memory limit').press('Enter');
    await faulty.waitFor({ state: 'detached' });
    await form.getByLabel('Environment').fill('COLOUR=red');
    await form.getByRole('button', { name: 'Add a health check' }).click();
    await form.getByRole('group', { name: 'Check 1' }).getByLabel('Path').fill('/healthy');
    await form.getByRole('group', { name: 'Check 1' }).getByLabel('Port').click();
    await says(/\/healthy/);
    await says(/COLOUR/);
    await says(/replicas: 2/);
    assert.deepEqual(await faults(page), []);
    clean();
  }));

  it('keeps what people wrote when the picture changes, and takes changes back', async () => {
    const before = await file().inputValue();
    const mine = `# the shop\nservices:\n  web:\n    image: ${place.image} # pinned\n    ports: ["8080"]\n  # kept apart\n  store:\n    image: ${place.image}\n`;
    await file().fill(mine);
    await box('w:web-2').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Add volume' }).click();
    await says(/^volumes:\n {2}data:/m);
    for (const comment of ['# the shop', '# pinned', '# kept apart']) assert.ok((await file().inputValue()).includes(comment), `${comment}: ${await file().inputValue()}`);
    await page.getByRole('button', { name: 'Undo' }).click();
    await box('v:data').waitFor({ state: 'detached' });
    assert.equal(await file().inputValue(), mine);
    await page.getByRole('button', { name: 'Redo' }).click();
    await box('v:data').waitFor();
    await file().press('Control+z');
    await box('v:data').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Smaller' }).click();
    const small = await box('w:web').boundingBox();
    await page.getByRole('button', { name: 'Plain size' }).click();
    const plain = await box('w:web').boundingBox();
    assert.ok(Math.abs(small.width / plain.width - 0.75) < 0.02, `${small.width} of ${plain.width}`);
    await file().fill(before);
    await box('w:web-2').waitFor();
    assert.deepEqual(await faults(page), []);
    clean();
  });

  it('is used by keyboard alone', async () => {
    await box('w:web-2').focus();
    const top = () => box('w:web-2').evaluate((element) => element.offsetTop);
    const before = await top();
    await page.keyboard.press('ArrowDown');
    assert.equal(await top(), before + 20);
    await page.keyboard.press('c');
    await box('v:data').focus();
    await page.keyboard.press('Enter');
    await arrow('w:web-2', 'v:data').waitFor({ state: 'attached' });
    // What was there stays as it was written, in one form or the other.
    await says(/(data:\/data|source: data)[\s\S]*(data:\/data|source: data)/);
    await box('w:web').focus();
    await page.keyboard.press('Delete');
    await box('w:web').waitFor({ state: 'detached' });
    clean();
  });

  it('turns the file into the other formats', async () => {
    await page.getByText('Own form', { exact: true }).click();
    await says(/^apiVersion: gantry.io\/v1/);
    await page.getByText('Kubernetes YAML', { exact: true }).click();
    await says(/kind: Deployment/);
    await page.getByText('Compose file', { exact: true }).click();
    await says(/^services:/m);
    await box('w:store').waitFor();
    clean();
  });

  it('shows what a deployment would do, deploys, and opens what is there', async () => {
    await file().fill(`services:\n  store:\n    image: ${place.image}\n    command: [busybox, sleep, "3600"]\n    expose: ["6379"]\n`);
    await page.getByLabel('Application').fill('drawn');
    await page.getByRole('button', { name: 'Dry run' }).click();
    await page.getByRole('list', { name: 'What would change' }).getByText('+ workloads.store.kind').waitFor();
    await page.getByRole('button', { name: 'Deploy', exact: true }).click();
    await page.waitForURL('**/apps/drawn');
    await page.goto(`${place.space}/deploy?app=drawn`);
    await box('w:store').waitFor();
    await says(/store:/);
    // What it registered: a service with its name and address inside of the space.
    await page.goto(`${place.space}/services`);
    const row = page.getByRole('table', { name: 'Services' }).locator('tr').filter({ hasText: 'drawn' });
    await row.getByText('store.drawn:6379').first().waitFor();
    await row.getByRole('cell', { name: 'store', exact: true }).first().waitFor();
    clean();
  });
});
