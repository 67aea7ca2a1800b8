// A change that was drawn, brought into a file that people wrote: only what differs is written, and their comments, order, anchors and
// `${...}` stay. The service writes a whole file from what it has read; of that only the difference is taken.

import { isMap, isScalar, parseAllDocuments, type Document } from 'yaml';

import type { At } from './model';

type Values = Record<string, unknown>;

const isValues = (value: unknown): value is Values => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whatever order their keys have. */
export function same(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, index) => same(one, b[index]));
  if (isValues(a) && isValues(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].every((key) => same(a[key], b[key]));
  }
  return a === b;
}

/** Makes what was `before` at a place of the document what it is `after`, and touches nothing else. */
function bring(document: Document, at: At, before: unknown, after: unknown): void {
  if (same(before, after)) return;
  const node = at.length === 0 ? document.contents : document.getIn(at, true);
  if (isValues(before) && isValues(after) && isMap(node)) {
    // A flow `{}` grows into lines of its own.
    if (node.items.length === 0) node.flow = false;
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) bring(document, [...at, key], before[key], after[key]);
    return;
  }
  if (after === undefined) {
    if (document.hasIn(at)) document.deleteIn(at);
  } else if (isScalar(node) && (typeof after !== 'object' || after === null)) {
    // The comment behind it stays.
    node.value = after;
  } else {
    document.setIn(at, document.createNode(after));
  }
}

/** Which of several documents it is; the one of a Compose file has no name. */
function nameOf(document: Document): string {
  const value = document.toJS() as unknown;
  if (!isValues(value)) return '';
  const metadata = isValues(value.metadata) ? value.metadata : {};
  return `${String(value.apiVersion ?? '')}/${String(value.kind ?? '')}/${String(metadata.namespace ?? '')}/${String(metadata.name ?? '')}`;
}

function documentsOf(text: string): Document[] | null {
  const documents = [...parseAllDocuments(text)] as Document[];
  return documents.some((one) => one.errors.length > 0) ? null : documents.filter((one) => one.contents !== null);
}

const named = (all: Document[]) => new Map(all.map((one) => [nameOf(one), one]));

/** `mine` with what differs between `before` and `after`; nothing if it cannot be done that way. */
export function merged(mine: string, before: string, after: string): string | null {
  const [own, old, next] = [documentsOf(mine), documentsOf(before), documentsOf(after)];
  if (!own || !old || !next) return null;
  const [olds, nexts] = [named(old), named(next)];
  const owns = named(own);
  // Two of one name cannot be told apart.
  if (owns.size !== own.length || olds.size !== old.length || nexts.size !== next.length) return null;
  const kept: Document[] = [];
  for (const one of own) {
    const name = nameOf(one);
    const [was, will] = [olds.get(name), nexts.get(name)];
    // What the service did not read from it is not its to change.
    if (was && !will) continue;
    if (was && will) bring(one, [], was.toJS(), will.toJS());
    kept.push(one);
  }
  for (const [name, one] of nexts) {
    if (owns.has(name)) continue;
    // It was read from something that is called otherwise in the file.
    if (olds.has(name)) return null;
    kept.push(one);
  }
  for (const one of kept) if (one.directives) one.directives.docStart = null;
  return kept.map((one) => one.toString({ lineWidth: 0 })).join('---\n');
}

/** Whether two documents of our own form say the same. */
export function means(a: string, b: string): boolean {
  const [one, other] = [documentsOf(a), documentsOf(b)];
  return one !== null && other !== null && same(one.map((each) => each.toJS() as unknown), other.map((each) => each.toJS() as unknown));
}
