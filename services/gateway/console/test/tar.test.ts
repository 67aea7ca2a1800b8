import { describe, expect, it } from 'vitest';

import { NameTooLong, onlyFile, packed } from '../src/api/tar';

const file = (name: string, text: string) => ({ name, content: new Blob([text]), modified: 1_700_000_000_000 });

describe('an archive', () => {
  it.each(['', 'short', 'x'.repeat(512), '字'.repeat(1_000)])('holds one file, which comes back', async (text) => {
    const back = await onlyFile(packed([file('日志.txt', text)]));
    expect(back?.name).toBe('日志.txt');
    expect(await back!.content.text()).toBe(text);
  });

  it('has headers as POSIX says: sizes in octal, the sum of its bytes', async () => {
    const bytes = new Uint8Array(await packed([file('a.txt', '12345678')]).arrayBuffer());
    const text = (at: number, length: number) => new TextDecoder().decode(bytes.subarray(at, at + length));
    expect([text(0, 5), text(124, 12), text(257, 8), bytes.length]).toEqual(['a.txt', '00000000010\0', 'ustar\x0000', 4 * 512]);
    const blank = bytes.slice(0, 512).fill(32, 148, 156);
    expect(parseInt(text(148, 7), 8)).toBe(blank.reduce((sum, byte) => sum + byte, 0));
  });

  it('of several files is no single one', async () => {
    expect(await onlyFile(packed([file('a', '1'), file('b', '2')]))).toBeNull();
    expect(await onlyFile(new Blob([new Uint8Array(1_024)]))).toBeNull();
  });

  it('refuses a name that does not fit', () => {
    expect(() => packed([file('字'.repeat(34), '')])).toThrow(NameTooLong);
  });
});
