// What the log streams send, as lines.

import type { LogLine } from '../api/monitoring';
import type { Line } from './lines';

/** One event of an application's log: a line, or several. */
export function readAppLog(data: string, event: string): Line[] {
  if (event === 'problem') return [];
  let read: unknown;
  try {
    read = JSON.parse(data);
  } catch {
    return [{ text: data }];
  }
  const lines = (Array.isArray(read) ? read : ((read as { items?: unknown[] }).items ?? [read])) as LogLine[];
  return lines.map((line) => ({ at: line.at, text: line.text, stream: line.stream, source: `${line.workload}/${line.instance.slice(-6)}`, attempt: line.attempt }));
}
