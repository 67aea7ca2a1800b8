// Server-sent events over fetch: unlike EventSource it shows the status and problem of a refused stream.

import { ApiError, send, signedInAgain } from './http';

export interface ServerEvent {
  event: string;
  data: string;
  id: string;
}

/** Splits a text stream into events (HTML standard, section 9.2.6). Feed it pieces; it calls back for whole events. */
export function eventParser(emit: (event: ServerEvent) => void): (piece: string) => void {
  let rest = '';
  let event = '';
  let data: string[] = [];
  let id = '';
  return (piece) => {
    rest += piece;
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) emit({ event: event === '' ? 'message' : event, data: data.join('\n'), id });
        event = '';
        data = [];
        continue;
      }
      if (line.startsWith(':')) continue;
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'event') event = value;
      else if (field === 'data') data.push(value);
      else if (field === 'id') id = value;
    }
  };
}

export interface StreamHandlers {
  onEvent: (event: ServerEvent) => void;
  onOpen?: () => void;
  /** The stream was refused for good (a 4xx); anything else is tried again. */
  onRefused?: (error: ApiError) => void;
  onLost?: () => void;
  /** The server ended the stream. `false` stops; the default is to connect again. */
  onEnd?: () => boolean;
}

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
/** Milliseconds. A stream that stood this long was a good one: the pauses begin anew. */
const STOOD = 10_000;
/** Milliseconds without a byte after which a stream is taken for dead: the services send a comment every 15 s. */
const SILENCE = 50_000;

/**
 * Milliseconds to wait after so many streams (1, 2, ...) in a row that did not stand. `random` in [0, 1) spreads the browsers, which all
 * lose their streams at once when the gateway starts again. `retryAfter`: seconds that the service asked for.
 */
export function pauseAfter(tries: number, random: number, retryAfter: number | null): number {
  const longest = Math.min(FIRST_PAUSE * 2 ** Math.max(0, tries - 1), LONGEST_PAUSE);
  return Math.max(longest * (0.5 + random / 2), (retryAfter ?? 0) * 1_000 * (1 + random / 4));
}

/** Follows a stream until the returned function is called; connects again with growing pauses. */
export function follow(url: string, handlers: StreamHandlers): () => void {
  const stop = new AbortController();
  void run(url, handlers, stop.signal);
  return () => stop.abort();
}

async function run(url: string, handlers: StreamHandlers, signal: AbortSignal): Promise<void> {
  let tries = 0;
  let lastId = '';
  while (!signal.aborted) {
    let opened = 0;
    let retryAfter: number | null = null;
    const watch = watchdog(signal);
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (lastId !== '') headers['last-event-id'] = lastId;
      const response = await send('GET', url, { headers, signal: watch.signal });
      opened = Date.now();
      handlers.onOpen?.();
      const feed = eventParser((event) => {
        lastId = event.id;
        handlers.onEvent(event);
      });
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        watch.heard();
        const { done, value } = await reader.read();
        if (done) break;
        feed(value);
      }
      if (handlers.onEnd?.() === false) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429 && error.status !== 401) {
        handlers.onRefused?.(error);
        return;
      }
      handlers.onLost?.();
      if (error instanceof ApiError) retryAfter = error.retryAfter;
      // Nothing is asked while nobody is signed in: the page stays, and its streams go on afterwards.
      if (error instanceof ApiError && error.status === 401) await signedInAgain(signal);
    } finally {
      watch.end();
    }
    tries = opened > 0 && Date.now() - opened >= STOOD ? 1 : tries + 1;
    await pause(pauseAfter(tries, Math.random(), retryAfter), signal);
  }
}

/** A signal that ends with `outer`, and when nothing was heard for too long. */
function watchdog(outer: AbortSignal): { signal: AbortSignal; heard: () => void; end: () => void } {
  const own = new AbortController();
  const abort = () => own.abort();
  outer.addEventListener('abort', abort);
  let timer = setTimeout(abort, SILENCE);
  return {
    signal: own.signal,
    heard: () => {
      clearTimeout(timer);
      timer = setTimeout(abort, SILENCE);
    },
    end: () => {
      clearTimeout(timer);
      outer.removeEventListener('abort', abort);
    },
  };
}

/** Ends early when the browser has a network again. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      globalThis.removeEventListener?.('online', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    globalThis.addEventListener?.('online', done);
  });
}
