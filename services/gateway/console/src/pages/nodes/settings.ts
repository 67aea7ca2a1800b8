// A node's settings and a space's conditions as lines that people write.

import type { NodeSettings, Part } from '../../api/scheduler';

export interface SettingsForm {
  labels: string;
  taints: string;
  overcommit_cpu_percent?: number | null;
  overcommit_memory_percent?: number | null;
  system_cpu_millis?: number | null;
  system_memory_mib?: number | null;
  max_instances?: number | null;
  bandwidth_kbps?: number | null;
  reserved: string;
}

const MIB = 1024 * 1024;

export const lines = (text: string | undefined): string[] => (text ?? '').split('\n').map((line) => line.trim()).filter((line) => line !== '');

/** `key=value:Effect`, `key:Effect`. */
export const taintText = (taint: { key: string; value?: string; effect: string }) => `${taint.key}${taint.value ? `=${taint.value}` : ''}:${taint.effect}`;

export function formOf(settings: NodeSettings): SettingsForm {
  return {
    labels: Object.entries(settings.labels ?? {}).map(([key, value]) => `${key}=${value}`).join('\n'),
    taints: (settings.taints ?? []).map(taintText).join('\n'),
    overcommit_cpu_percent: settings.overcommit_cpu_percent,
    overcommit_memory_percent: settings.overcommit_memory_percent,
    system_cpu_millis: settings.system?.cpu_millis || null,
    system_memory_mib: settings.system?.memory_bytes ? Math.round(settings.system.memory_bytes / MIB) : null,
    max_instances: settings.max_instances || null,
    bandwidth_kbps: settings.bandwidth_kbps || null,
    reserved: (settings.reserved ?? []).map((one) => `${one.space} ${one.amounts.cpu_millis ?? 0} ${Math.round((one.amounts.memory_bytes ?? 0) / MIB)}`).join('\n'),
  };
}

/** What the form does not show stays as it was. */
export function settingsOf(form: SettingsForm, was: NodeSettings): NodeSettings {
  const labels = lines(form.labels).map((line) => {
    const cut = line.indexOf('=');
    return cut < 0 ? [line, ''] : [line.slice(0, cut).trim(), line.slice(cut + 1).trim()];
  });
  const taints = lines(form.taints).map((line) => {
    const cut = line.lastIndexOf(':');
    const [name, effect] = cut < 0 ? [line, 'NoSchedule'] : [line.slice(0, cut), line.slice(cut + 1).trim()];
    const [key, value] = name.split('=');
    return { key: key!.trim(), value: value?.trim() ?? '', effect };
  });
  const reserved = lines(form.reserved).map((line) => {
    const [space, cpu, memory] = line.split(/\s+/);
    const before = was.reserved?.find((one) => one.space === space)?.amounts;
    return { space: space!, amounts: { ...before, cpu_millis: Number(cpu ?? 0), memory_bytes: Number(memory ?? 0) * MIB } };
  });
  return {
    ...was,
    labels: Object.fromEntries(labels) as Record<string, string>,
    taints,
    overcommit_cpu_percent: form.overcommit_cpu_percent ?? null,
    overcommit_memory_percent: form.overcommit_memory_percent ?? null,
    system: { ...was.system, cpu_millis: form.system_cpu_millis ?? 0, memory_bytes: (form.system_memory_mib ?? 0) * MIB },
    max_instances: form.max_instances ?? 0,
    bandwidth_kbps: form.bandwidth_kbps ?? 0,
    reserved,
  };
}

/** `node.labels.disk in ssd,nvme *30`; the weight only for what is preferred. */
export function partText(part: Part): string {
  return [part.attribute, part.operator, (part.values ?? []).join(','), part.weight ? `*${part.weight}` : ''].filter((word) => word !== '').join(' ');
}

export function partOf(line: string): Part {
  const words = line.split(/\s+/);
  const weight = /^\*\d+$/.test(words.at(-1) ?? '') ? Number(words.pop()!.slice(1)) : undefined;
  const [attribute = '', operator = 'exists', ...values] = words;
  return { attribute, operator, values: values.join('').split(',').filter((value) => value !== ''), ...(weight === undefined ? {} : { weight }) };
}
