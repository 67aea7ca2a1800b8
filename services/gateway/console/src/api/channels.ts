// Messages of a session in an instance: the number of a channel, then bytes (`v5.channel.k8s.io`).

export const INPUT = 0;
export const OUTPUT = 1;
export const ERRORS = 2;
export const END = 3;
const SIZE = 4;
export const CLOSE = 255;

export const PROTOCOL = 'v5.channel.k8s.io';

/** The message of a channel: its number, then the bytes. */
export function message(channel: number, content: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  const whole = new Uint8Array(bytes.length + 1);
  whole[0] = channel;
  whole.set(bytes, 1);
  return whole;
}

/** How large the terminal is now. */
export const sizeMessage = (columns: number, rows: number) => message(SIZE, JSON.stringify({ Width: columns, Height: rows }));
