// How a browser test says which clauses of docs/clauses.tsv it shows: one line each in the file that GANTRY_CLAUSES names, once
// it has passed. `make conformance` makes its table of them; without that variable nothing is written.

import { appendFileSync } from 'node:fs';
import { basename } from 'node:path';

/** The body of a test that shows `clauses`. One that fails or is skipped shows none. */
export function shows(clauses, body) {
  return async (test) => {
    const skip = test.skip.bind(test);
    let skipped = false;
    test.skip = (why) => {
      skipped = true;
      skip(why);
    };
    await body(test);
    if (!skipped) mark(clauses, test.name);
  };
}

function mark(clauses, name) {
  const file = process.env.GANTRY_CLAUSES;
  if (!file) return;
  const test = `browser::${basename(process.argv[1] ?? '', '.test.mjs')} ${name}`;
  // One write: tests of several processes append to the same file.
  appendFileSync(file, clauses.map((clause) => `${JSON.stringify({ clause, test, passed: true })}\n`).join(''));
}
