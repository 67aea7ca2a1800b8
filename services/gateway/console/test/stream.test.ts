import { afterEach, describe, expect, it, vi } from 'vitest';

import { ApiError, setCsrf } from '../src/api/http';
import { follow, pauseAfter } from '../src/api/sse';

/** A stream that the test writes to. */
function stream() {
  let control!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (own) => void (control = own) });
  return { answer: new Response(body, { status: 200 }), write: (text: string) => control.enqueue(new TextEncoder().encode(text)), end: () => control.close() };
}

const refusal = (status: number, headers: Record<string, string> = {}) => new Response(JSON.stringify({ code: 'x', detail: 'no' }), { status, headers });

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('the pause before a stream is asked for again', () => {
  it('grows to half a minute, differs from browser to browser, and is never shorter than what the service asked for', () => {
    expect([1, 2, 3, 10].map((tries) => pauseAfter(tries, 0.999_999, null)).map(Math.round)).toEqual([1_000, 2_000, 4_000, 30_000]);
    expect(pauseAfter(3, 0, null)).toBe(2_000);
    expect(pauseAfter(1, 0, 20)).toBe(20_000);
    expect(pauseAfter(1, 0.5, 20)).toBeGreaterThan(20_000);
  });
});

describe('a stream that is followed', () => {
  it('that opens and ends at once is not asked for each second', async () => {
    vi.useFakeTimers();
    const asked = vi.fn(async () => {
      const one = stream();
      one.end();
      return one.answer;
    });
    vi.stubGlobal('fetch', asked);
    const stop = follow('/x', { onEvent: () => {} });
    await vi.advanceTimersByTimeAsync(120_000);
    stop();
    expect(asked.mock.calls.length).toBeGreaterThan(2);
    expect(asked.mock.calls.length).toBeLessThan(15);
  });

  it('that says nothing for long is taken for dead', async () => {
    vi.useFakeTimers();
    const lost = vi.fn();
    const asked = vi.fn((_: string, init: RequestInit) => {
      const one = stream();
      init.signal!.addEventListener('abort', () => one.answer.body!.cancel().catch(() => {}));
      return Promise.resolve(new Response(new ReadableStream({ start: (own) => init.signal!.addEventListener('abort', () => own.error(new DOMException('aborted', 'AbortError'))) })));
    });
    vi.stubGlobal('fetch', asked);
    const stop = follow('/x', { onEvent: () => {}, onLost: lost });
    await vi.advanceTimersByTimeAsync(45_000);
    expect(asked).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(8_000);
    expect(lost).toHaveBeenCalled();
    expect(asked).toHaveBeenCalledTimes(2);
    stop();
  });

  it('waits while nobody is signed in, asks nothing, and goes on afterwards', async () => {
    vi.useFakeTimers();
    const answers = [refusal(401), stream().answer];
    const asked = vi.fn(() => Promise.resolve(answers.shift()!));
    vi.stubGlobal('fetch', asked);
    const refused = vi.fn();
    const opened = vi.fn();
    const stop = follow('/x', { onEvent: () => {}, onRefused: refused, onOpen: opened });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(asked).toHaveBeenCalledTimes(1);
    expect(refused).not.toHaveBeenCalled();
    setCsrf('new');
    await vi.advanceTimersByTimeAsync(5_000);
    expect(opened).toHaveBeenCalledTimes(1);
    stop();
  });

  it('ends when it is refused', async () => {
    vi.useFakeTimers();
    const asked = vi.fn(() => Promise.resolve(refusal(403)));
    vi.stubGlobal('fetch', asked);
    const refused = vi.fn<(error: ApiError) => void>();
    follow('/x', { onEvent: () => {}, onRefused: refused });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveBeenCalledTimes(1);
    expect(refused.mock.calls[0]![0].status).toBe(403);
  });
});
