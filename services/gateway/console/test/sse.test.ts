import { describe, expect, it } from 'vitest';

import { eventParser, type ServerEvent } from '../src/api/sse';

function parsed(...pieces: string[]): ServerEvent[] {
  const events: ServerEvent[] = [];
  const feed = eventParser((event) => events.push(event));
  pieces.forEach(feed);
  return events;
}

describe('a stream of events', () => {
  it('is read whatever the pieces it comes in', () => {
    const text = 'event: state\nid: 7\ndata: {"a":1}\n\n: keep-alive\n\ndata: x\ndata: y\n\n';
    const whole = parsed(text);
    expect(whole).toEqual([
      { event: 'state', data: '{"a":1}', id: '7' },
      { event: 'message', data: 'x\ny', id: '7' },
    ]);
    expect(parsed(...text)).toEqual(whole);
  });

  it('accepts all three line ends and a value without a space', () => {
    expect(parsed('data:a\r\n\r\n', 'data: b\r\rdata: c\n\n').map((event) => event.data)).toEqual(['a', 'b', 'c']);
  });

  it('gives no event before its empty line', () => {
    expect(parsed('data: half\n')).toEqual([]);
  });
});
