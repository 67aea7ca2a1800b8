// What a record says a thing was before and is after, field by field.

export interface FieldChange {
  field: string;
  before: string;
  after: string;
}

type Tree = Record<string, unknown>;

const tree = (value: unknown): Tree | null => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Tree) : null);
const shown = (value: unknown): string => (value === undefined || value === null ? '–' : typeof value === 'string' ? value : JSON.stringify(value));

/** `before` and `after` of the record itself or of its content; only what differs. */
export function changesOf(record: { content?: unknown; before?: unknown; after?: unknown }): FieldChange[] {
  const inner = tree(record.content);
  const before = record.before ?? inner?.before;
  const after = record.after ?? inner?.after;
  if (before === undefined && after === undefined) return [];
  return differences(before, after, '');
}

function differences(before: unknown, after: unknown, at: string): FieldChange[] {
  const [a, b] = [tree(before), tree(after)];
  // A thing that was made or deleted differs in each of its fields.
  if ((a || before == null) && (b || after == null) && (a || b)) {
    const keys = [...new Set([...Object.keys(a ?? {}), ...Object.keys(b ?? {})])];
    return keys.flatMap((key) => differences(a?.[key], b?.[key], at === '' ? key : `${at}.${key}`));
  }
  const [left, right] = [shown(before), shown(after)];
  return left === right ? [] : [{ field: at === '' ? '*' : at, before: left, after: right }];
}
