// The marks of clauses: only of what has passed.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';

import { shows } from './clause.mjs';

const folder = mkdtempSync(join(tmpdir(), 'gantry-clauses-'));
after(() => rmSync(folder, { recursive: true }));

it('marks what has passed, and neither what failed nor what was skipped', async () => {
  const file = join(folder, 'clauses.jsonl');
  writeFileSync(file, '');
  const before = process.env.GANTRY_CLAUSES;
  process.env.GANTRY_CLAUSES = file;
  const run = (name, body) => shows(['6.3.2.c', '6.3.2.j'], body)({ name, skip: () => {} });
  try {
    await run('draws', async () => {});
    await assert.rejects(run('breaks', () => Promise.reject(new Error('no'))));
    await run('has no node', async (test) => test.skip('nothing runs'));
  } finally {
    if (before === undefined) delete process.env.GANTRY_CLAUSES;
    else process.env.GANTRY_CLAUSES = before;
  }
  const lines = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(lines, ['6.3.2.c', '6.3.2.j'].map((clause) => ({ clause, test: 'browser::clause draws', passed: true })));
});
