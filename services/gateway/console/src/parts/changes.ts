// What a record says a thing was before and is after, field by field.

export interface FieldChange {
  field: string;
  before: string;
  after: string;
}

type Tree = Record<string, unknown>;

/** Endings of kinds after which something is gone. */
const GONE = /(deleted|removed|revoked|unbound)$/;

const tree = (value: unknown): Tree | null => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Tree) : null);
const shown = (value: unknown): string => (value === undefined || value === null ? '–' : typeof value === 'string' ? value : JSON.stringify(value));

/** `before` holds the fields that are different now, as they were; `content` holds them as they became. */
export function changesOf(record: { kind: string; content?: unknown; before?: unknown }): FieldChange[] {
  const before = tree(record.before);
  if (before === null) return [];
  const after = GONE.test(record.kind) ? null : tree(record.content);
  return Object.keys(before).flatMap((key) => differences(before[key], after?.[key], key));
}

function differences(before: unknown, after: unknown, at: string): FieldChange[] {
  const [a, b] = [tree(before), tree(after)];
  if (a && b) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
    return keys.flatMap((key) => differences(a[key], b[key], `${at}.${key}`));
  }
  const [left, right] = [shown(before), shown(after)];
  return left === right ? [] : [{ field: at, before: left, after: right }];
}
