// Archives as instances take and give them (POSIX ustar), as far as single files need it.

const BLOCK = 512;
/** Bytes of a name in a header. */
const LONGEST = 100;

const padding = (size: number) => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);

function header(name: string, size: number, modified: number): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const block = new Uint8Array(BLOCK);
  const put = (at: number, text: string) => block.set(encoder.encode(text), at);
  const octal = (at: number, length: number, value: number) => put(at, `${Math.floor(value).toString(8).padStart(length - 1, '0')}\0`);
  put(0, name);
  octal(100, 8, 0o644);
  octal(108, 8, 0);
  octal(116, 8, 0);
  octal(124, 12, size);
  octal(136, 12, modified / 1000);
  put(148, '        ');
  put(156, '0');
  put(257, 'ustar\x0000');
  octal(148, 7, block.reduce((sum, byte) => sum + byte, 0));
  return block;
}

export class NameTooLong extends Error {}

/** Files as one archive; they are read as it is sent. */
export function packed(files: { name: string; content: Blob; modified: number }[]): Blob {
  const parts = files.flatMap(({ name, content, modified }) => {
    if (new TextEncoder().encode(name).length > LONGEST) throw new NameTooLong(name);
    return [header(name, content.size, modified), content, padding(content.size)];
  });
  return new Blob([...parts, new Uint8Array(2 * BLOCK)]);
}

const text = (block: Uint8Array, at: number, length: number) => new TextDecoder().decode(block.subarray(at, at + length)).split('\0')[0]!;

/** The file, if the archive holds just one and nothing else. */
export async function onlyFile(archive: Blob): Promise<{ name: string; content: Blob } | null> {
  let found: { name: string; content: Blob } | null = null;
  for (let at = 0; at + BLOCK <= archive.size; ) {
    // oxlint-disable-next-line no-await-in-loop -- where the next header is, this one says
    const block = new Uint8Array(await archive.slice(at, at + BLOCK).arrayBuffer());
    if (block.every((byte) => byte === 0)) return found;
    const size = parseInt(text(block, 124, 12).trim() || '0', 8);
    const kind = String.fromCharCode(block[156]!);
    if (!Number.isFinite(size) || (kind !== '0' && kind !== '\0') || found) return null;
    found = { name: text(block, 0, LONGEST).split('/').at(-1)!, content: archive.slice(at + BLOCK, at + BLOCK + size) };
    at += BLOCK + size + padding(size).length;
  }
  return found;
}
