// Long texts that are being written, kept in this window (sessionStorage) until they are sent: a reload, the back button or a link
// pressed by mistake do not take them away.

export interface Kept {
  text: string;
  format: string;
  /** ISO 8601. */
  at: string;
}

const BEGIN = 'gantry.draft.';
/** Characters. Browsers give a few million for everything. */
const MOST = 1_000_000;

type Store = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

export function keepDraft(store: Store, key: string, draft: Kept): void {
  if (draft.text.trim() === '' || draft.text.length > MOST) return store.removeItem(BEGIN + key);
  try {
    store.setItem(BEGIN + key, JSON.stringify(draft));
  } catch {
    // The store is full or forbidden; nothing is lost but the draft.
  }
  return undefined;
}

/** Nothing where there is none, or none that can be read. */
export function readDraft(store: Store, key: string): Kept | null {
  try {
    const read = JSON.parse(store.getItem(BEGIN + key) ?? 'null') as Partial<Kept> | null;
    return read && typeof read.text === 'string' && typeof read.format === 'string' && typeof read.at === 'string' ? { text: read.text, format: read.format, at: read.at } : null;
  } catch {
    return null;
  }
}

export function dropDraft(store: Store, key: string): void {
  store.removeItem(BEGIN + key);
}

/** Drafts are for whoever wrote them. */
export function dropDrafts(store: Storage): void {
  for (const key of Object.keys(store)) if (key.startsWith(BEGIN)) store.removeItem(key);
}
