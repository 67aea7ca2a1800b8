// Measured series as the charts want them, from what monitoring answers.

export interface Chart {
  name: string;
  /** "cores", "bytes", "bytes_per_second". */
  unit: string;
  /** Points: Unix time in seconds, value. */
  series: { labels: Record<string, string>; points: [number, number][] }[];
}

export interface Charts {
  from: string;
  to: string;
  step_seconds: number;
  charts: Chart[];
}

export interface Measured {
  name: string;
  unit: string;
  /** Points: milliseconds since 1970, value. */
  series: { name: string; points: [number, number][] }[];
}

const CAPACITY = '_capacity';

/** A capacity is drawn into the chart of what it bounds; charts without any point are left out. `only`: an instance. */
export function readCharts(answer: Charts, capacity: string, only?: string): Measured[] {
  const found = new Map<string, Measured>();
  for (const chart of answer.charts) {
    const bound = chart.name.endsWith(CAPACITY);
    const name = bound ? chart.name.slice(0, -CAPACITY.length) : chart.name;
    const one = found.get(name) ?? { name, unit: chart.unit, series: [] };
    found.set(name, one);
    for (const series of chart.series) {
      if (series.points.length === 0 || (only !== undefined && series.labels.instance !== only)) continue;
      const label = Object.values(series.labels).map(short).join(' ');
      one.series.push({ name: bound ? capacity : label === '' ? name : label, points: series.points.map(([at, value]) => [at * 1000, value]) });
    }
  }
  return [...found.values()].filter((one) => one.series.length > 0);
}

/** The end of a UUID tells instances apart; other labels are shown whole. */
function short(label: string): string {
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(label) ? label.slice(-6) : label;
}

export interface Usage {
  /** Cores. */
  cpu?: number;
  /** Bytes. */
  memory?: number;
}

/** The last points of each instance. */
export function usageOf(answer: Charts): Map<string, Usage> {
  const found = new Map<string, Usage>();
  for (const chart of answer.charts) {
    if (chart.name !== 'cpu' && chart.name !== 'memory') continue;
    for (const { labels, points } of chart.series) {
      const last = points.at(-1);
      if (!labels.instance || !last) continue;
      found.set(labels.instance, { ...found.get(labels.instance), [chart.name]: last[1] });
    }
  }
  return found;
}
