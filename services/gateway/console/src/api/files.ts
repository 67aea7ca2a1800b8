// Files out of and into an instance, over a WebSocket, as an archive.

import { CLOSE, END, INPUT, message, OUTPUT, PROTOCOL } from './channels';
import { inside, type Container } from './volumes';

/** Of an archive, in one message. */
const PIECE = 256 * 1024;
/** What may wait in the browser before more is read. */
const WAITING = 4 * 1024 * 1024;

/** The session ended otherwise than well: the service's own sentence, or nothing if the connection was refused. */
export class SessionFailed extends Error {}

function session(url: string, begun: (socket: WebSocket) => Promise<void>, output: (piece: Uint8Array<ArrayBuffer>) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, PROTOCOL);
    let ended = false;
    socket.binaryType = 'arraybuffer';
    const fail = (why: string) => {
      reject(new SessionFailed(why));
      socket.close();
    };
    socket.addEventListener('open', () => void begun(socket).catch((error: unknown) => fail(String(error))));
    socket.addEventListener('message', (event) => {
      const bytes = new Uint8Array(event.data as ArrayBuffer);
      if (bytes[0] === OUTPUT) output(bytes.slice(1));
      if (bytes[0] !== END) return;
      ended = true;
      const said = JSON.parse(new TextDecoder().decode(bytes.subarray(1))) as { exit_code?: number; error?: string };
      if (said.exit_code === 0) resolve();
      else fail(said.error ?? '');
      socket.close();
    });
    socket.addEventListener('close', () => !ended && fail(''));
  });
}

/** `path` with all below it. `progress` is told the bytes so far. */
export async function readArchive(at: Container, path: string, progress: (bytes: number) => void): Promise<Blob> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  await session(
    inside.file(at, 'download', path),
    async () => {},
    (piece) => {
      pieces.push(piece);
      size += piece.length;
      progress(size);
    },
  );
  return new Blob(pieces);
}

const room = (socket: WebSocket) =>
  new Promise<void>((done) => {
    const look = () => (socket.bufferedAmount > WAITING && socket.readyState === WebSocket.OPEN ? setTimeout(look, 20) : done());
    look();
  });

/** Unpacks an archive below `folder`, which is made if it is not there. */
export function writeArchive(to: Container, folder: string, archive: Blob, progress: (bytes: number) => void): Promise<void> {
  const send = async (socket: WebSocket) => {
    for (let at = 0; at < archive.size && socket.readyState === WebSocket.OPEN; at += PIECE) {
      /* oxlint-disable no-await-in-loop -- one piece after the other, as the connection takes them */
      socket.send(message(INPUT, new Uint8Array(await archive.slice(at, at + PIECE).arrayBuffer())));
      await room(socket);
      /* oxlint-enable no-await-in-loop */
      progress(Math.min(archive.size, at + PIECE));
    }
    if (socket.readyState === WebSocket.OPEN) socket.send(new Uint8Array([CLOSE, INPUT]));
  };
  return session(inside.file(to, 'upload', folder), send, () => {});
}
