// Server-sent events over fetch: unlike EventSource it shows the status and problem of a refused stream.

import { ApiError, send } from './http';

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

/** Follows a stream until the returned function is called; connects again with growing pauses. */
export function follow(url: string, handlers: StreamHandlers): () => void {
  const stop = new AbortController();
  void run(url, handlers, stop.signal);
  return () => stop.abort();
}

async function run(url: string, handlers: StreamHandlers, signal: AbortSignal): Promise<void> {
  let pause = 1_000;
  let lastId = '';
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (lastId !== '') headers['last-event-id'] = lastId;
      const response = await send('GET', url, { headers, signal });
      handlers.onOpen?.();
      pause = 1_000;
      const feed = eventParser((event) => {
        lastId = event.id;
        handlers.onEvent(event);
      });
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        feed(value);
      }
      if (handlers.onEnd?.() === false) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) {
        handlers.onRefused?.(error);
        return;
      }
      handlers.onLost?.();
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 30_000);
  }
}
