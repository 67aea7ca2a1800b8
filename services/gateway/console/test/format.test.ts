import { describe, expect, it } from 'vitest';

import { ageOf, bytes, cpu, duration, money, short } from '../src/parts/format';

describe('numbers and times', () => {
  it('are read by people', () => {
    expect(bytes(0)).toBe('0 B');
    expect(bytes(1536)).toBe('1.5 KiB');
    expect(bytes(512 * 1024 * 1024)).toBe('512 MiB');
    expect(bytes(null)).toBe('–');
    expect(cpu(1000)).toBe('1');
    expect(cpu(250)).toBe('0.25');
    expect(duration(950, 'en-US')).toBe('950 ms');
    expect(duration(61_000, 'en-US')).toBe('1 min 1 sec');
    expect(duration(61_000, 'zh-CN')).toMatch(/^1\s?分钟 1\s?秒$/);
    expect(duration(null, 'zh-CN')).toBe('–');
    expect(short('sha256:0123456789abcdef')).toBe('0123456789ab');
  });

  it('tell an age in the language asked for', () => {
    const now = Date.parse('2026-11-22T12:00:00Z');
    expect(ageOf('2026-11-22T11:58:00Z', now, 'en-US')).toBe('2 minutes ago');
    expect(ageOf('2026-11-22T11:58:00Z', now, 'zh-CN')).toBe('2分钟前');
    expect(ageOf('2026-11-22T12:00:00Z', now, 'en-US')).toBe('');
  });

  it('keep small amounts of money visible', () => {
    expect(money('12.5', 'CNY', 'zh-CN')).toBe('¥12.50');
    expect(money('0.000123', 'USD', 'en-US')).toBe('$0.000123');
    expect(money('not a number', 'CNY', 'en-US')).toBe('not a number');
  });
});
