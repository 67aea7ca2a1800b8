// Measured series as the charts want them, from what monitoring or Prometheus answers.

export interface Measured {
  name: string;
  unit: string;
  series: { name: string; points: [number, number][] }[];
}

type Json = Record<string, unknown>;

/**
 * Reads `{ items: [{ name, unit, series: [{ labels, points }] }] }`, or Prometheus' own
 * `{ data: { result: [{ metric, values }] } }`. Times are seconds (Prometheus) or RFC 3339.
 */
export function readMetrics(answer: unknown): Measured[] {
  const body = (answer ?? {}) as Json;
  const data = body.data as Json | undefined;
  if (Array.isArray(data?.result)) return [measured('value', '', data.result as Json[])];
  const items = (Array.isArray(body.items) ? body.items : Array.isArray(body.metrics) ? body.metrics : Array.isArray(body.series) ? body.series : []) as Json[];
  const found = new Map<string, Measured>();
  for (const item of items) {
    const name = String(item.name ?? item.metric ?? 'value');
    const one = measured(name, String(item.unit ?? ''), Array.isArray(item.series) ? (item.series as Json[]) : [item]);
    const known = found.get(name);
    if (known) known.series.push(...one.series);
    else found.set(name, one);
  }
  return [...found.values()].filter((one) => one.series.some((series) => series.points.length > 0));
}

function measured(name: string, unit: string, series: Json[]): Measured {
  return { name, unit, series: series.map((one) => ({ name: label(one, name), points: points(one.points ?? one.values) })) };
}

function label(one: Json, name: string): string {
  const labels = (one.labels ?? (typeof one.metric === 'object' ? one.metric : undefined) ?? {}) as Record<string, string>;
  const text = Object.entries(labels)
    .filter(([key]) => key !== '__name__')
    .map(([, value]) => value)
    .join(' ');
  return text === '' ? String(one.label ?? name) : text;
}

function points(given: unknown): [number, number][] {
  if (!Array.isArray(given)) return [];
  return given
    .map((point): [number, number] => {
      const [at, value] = Array.isArray(point) ? point : [(point as Json).at ?? (point as Json).t, (point as Json).value ?? (point as Json).v];
      return [typeof at === 'number' ? (at < 1e12 ? at * 1000 : at) : Date.parse(String(at)), Number(value)];
    })
    .filter(([at, value]) => Number.isFinite(at) && Number.isFinite(value));
}
