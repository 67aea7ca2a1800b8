// Numbers and times as people read them.

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];

/** How long ago, in the largest unit that fits; empty below one second. */
export function ageOf(at: string, now: number, language: string): string {
  const seconds = Math.round((Date.parse(at) - now) / 1000);
  if (Number.isNaN(seconds)) return at;
  const step = STEPS.find(([, size]) => Math.abs(seconds) >= size);
  if (!step) return '';
  return new Intl.RelativeTimeFormat(language, { numeric: 'auto' }).format(Math.trunc(seconds / step[1]), step[0]);
}

/** With the zone it is told in: operators read each other's times. */
const FULL: Intl.DateTimeFormatOptions = { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'short' };

export function formatTime(at: string, language: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? at : new Intl.DateTimeFormat(language, FULL).format(date);
}

const two = (value: number) => String(value).padStart(2, '0');

/** The time of day of a log's line, where the reader is: "13:05:07.042". Without the zone of the browser it would differ from all other times shown. */
export function clockOf(at: string): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return at;
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(value?: number | null): string {
  if (value === undefined || value === null || !Number.isFinite(value)) return '–';
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size >= 100 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`;
}

/** Thousandths of a processor. */
export function cpu(millis?: number | null): string {
  return millis === undefined || millis === null ? '–' : millis % 1000 === 0 ? `${millis / 1000}` : `${(millis / 1000).toFixed(2)}`;
}

export function decimal(value: number, language: string, digits = 2): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/** An amount given as decimal text, so that nothing is rounded on the way. */
export function money(amount: string | number | undefined | null, currency: string | undefined, language: string): string {
  if (amount === undefined || amount === null) return '–';
  const value = Number(amount);
  if (!Number.isFinite(value)) return String(amount);
  const small = value !== 0 && Math.abs(value) < 0.01;
  try {
    return new Intl.NumberFormat(language, { style: 'currency', currency: currency ?? 'CNY', maximumFractionDigits: small ? 6 : 2 }).format(value);
  } catch {
    return `${amount} ${currency ?? ''}`;
  }
}

/** In its two largest units. */
export function duration(ms: number | null | undefined, language: string): string {
  if (ms === undefined || ms === null || ms < 0) return '–';
  const part = (value: number, unit: string) => new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'short' }).format(value);
  if (ms < 1000) return part(Math.round(ms), 'millisecond');
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return part(seconds, 'second');
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${part(minutes, 'minute')} ${part(seconds % 60, 'second')}` : `${part(Math.floor(minutes / 60), 'hour')} ${part(minutes % 60, 'minute')}`;
}

/** The start of a digest or commit, enough to tell two apart. */
export function short(id?: string | null): string {
  if (!id) return '–';
  return id.replace(/^sha256:/, '').slice(0, 12);
}
