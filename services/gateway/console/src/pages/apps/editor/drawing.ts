// The picture of an application: its boxes, the arrows between them, and where they stand when nobody has moved them.

import type { Remark } from '../../../api/scheduler';
import type { Model } from './model';

/** Nodes are only in the picture of a space. */
export type Kind = 'route' | 'service' | 'workload' | 'volume' | 'node';

export interface Box {
  /** `r:<service>:<route>`, `s:<service>`, `w:<name>`, `v:<name>`. */
  id: string;
  kind: Kind;
  name: string;
  detail: string;
  x: number;
  y: number;
}

export interface Arrow {
  from: string;
  to: string;
  kind: 'routes' | 'serves' | 'depends' | 'mounts' | 'runs';
  label: string;
}

export interface Spot {
  x: number;
  y: number;
}

export const WIDTH = 176;
export const HEIGHT = 60;
const COLUMN = WIDTH + 64;
const ROW = HEIGHT + 28;
const EDGE = 20;

export function arrowsOf(model: Model): Arrow[] {
  const arrows: Arrow[] = [];
  model.services.forEach((service, index) => {
    (service.routes ?? []).forEach((_, route) => arrows.push({ from: `r:${index}:${route}`, to: `s:${index}`, kind: 'routes', label: '' }));
    if (model.workloads[service.workload]) arrows.push({ from: `s:${index}`, to: `w:${service.workload}`, kind: 'serves', label: '' });
  });
  for (const [name, one] of Object.entries(model.workloads)) {
    for (const [other, condition] of Object.entries(one.depends_on ?? {})) {
      if (model.workloads[other]) arrows.push({ from: `w:${name}`, to: `w:${other}`, kind: 'depends', label: condition });
    }
    const volumes = new Set((one.mounts ?? []).filter((mount) => mount.kind === 'volume' && mount.source).map((mount) => mount.source!));
    for (const volume of volumes) if (model.volumes[volume]) arrows.push({ from: `w:${name}`, to: `v:${volume}`, kind: 'mounts', label: '' });
  }
  return arrows;
}

/** How far to the right a workload stands: behind everything that waits for it. */
function depths(model: Model): Map<string, number> {
  const depth = new Map<string, number>();
  const visit = (name: string, at: number, above: string[]) => {
    // A circle is a fault of the text; the picture still stands.
    if (above.includes(name) || (depth.get(name) ?? -1) >= at) return;
    depth.set(name, at);
    for (const next of Object.keys(model.workloads[name]?.depends_on ?? {})) if (model.workloads[next]) visit(next, at + 1, [...above, name]);
  };
  for (const name of Object.keys(model.workloads)) visit(name, 0, []);
  return depth;
}

/** `moved` holds where the user has put boxes. */
export function boxesOf(model: Model, moved: Record<string, Spot>): Box[] {
  const rows = new Map<number, number>();
  const boxes: Box[] = [];
  const put = (column: number, id: string, kind: Kind, name: string, detail: string) => {
    const row = rows.get(column) ?? 0;
    rows.set(column, row + 1);
    boxes.push({ id, kind, name, detail, ...(moved[id] ?? { x: EDGE + column * COLUMN, y: EDGE + row * ROW }) });
  };
  model.services.forEach((service, index) => {
    (service.routes ?? []).forEach((route, number) => put(0, `r:${index}:${number}`, 'route', route.host || '*', route.path ?? '/'));
    put(1, `s:${index}`, 'service', service.name, `${service.protocol} ${service.port}`);
  });
  const depth = depths(model);
  let last = 1;
  for (const [name, one] of Object.entries(model.workloads)) {
    const column = 2 + (depth.get(name) ?? 0);
    last = Math.max(last, column);
    put(column, `w:${name}`, 'workload', name, `${one.replicas ?? 1} × ${(one.image ?? '').replace(/^.*\//, '')}`);
  }
  for (const [name, one] of Object.entries(model.volumes)) put(last + 1, `v:${name}`, 'volume', name, one.size_bytes ? String(one.size_bytes) : '');
  // Columns that nothing stands in take no room.
  const used = [...rows.keys()].toSorted((a, b) => a - b);
  return boxes.map((box) => (moved[box.id] ? box : { ...box, x: EDGE + used.indexOf((box.x - EDGE) / COLUMN) * COLUMN }));
}

const SECTIONS = new Set(['workloads', 'services', 'volumes']);

/** Whether a path of a remark leads to a box: by its number in our own form (`services[0].routes[1]`), otherwise by its name. */
function isAbout(box: Box, parts: string[]): boolean {
  const at = parts.findIndex((part) => SECTIONS.has(part));
  const below = parts.slice(at + 1);
  if (at >= 0 && parts[at] === 'services' && /^\d+$/.test(below[0] ?? '')) {
    const route = below[1] === 'routes' && /^\d+$/.test(below[2] ?? '') ? below[2] : undefined;
    return box.id === (route === undefined ? `s:${below[0]}` : `r:${below[0]}:${route}`);
  }
  // A volume that is called as a workload is not meant by what is said of that.
  if (at >= 0 && (parts[at] === 'workloads' || parts[at] === 'volumes')) return box.kind === (parts[at] === 'workloads' ? 'workload' : 'volume') && box.name === below[0];
  return parts.includes(box.name);
}

/** Those boxes that a remark is about, with what is wrong. */
export function faulty(boxes: Box[], remarks: Remark[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const remark of remarks) {
    if (remark.level === 'note') continue;
    const parts = remark.path.split(/[.[\]]+/).filter((part) => part !== '');
    for (const box of boxes) if (isAbout(box, parts)) found.set(box.id, [found.get(box.id), remark.detail].filter(Boolean).join('\n'));
  }
  return found;
}

/** The way of an arrow, from the side of one box to the nearer side of the other. */
export function curve(from: Spot, to: Spot): string {
  const right = to.x + WIDTH / 2 >= from.x + WIDTH / 2;
  const start = { x: right ? from.x + WIDTH : from.x, y: from.y + HEIGHT / 2 };
  const end = { x: right ? to.x - 4 : to.x + WIDTH + 4, y: to.y + HEIGHT / 2 };
  const bend = (right ? 1 : -1) * Math.max(30, Math.abs(end.x - start.x) / 2);
  return `M ${start.x} ${start.y} C ${start.x + bend} ${start.y}, ${end.x - bend} ${end.y}, ${end.x} ${end.y}`;
}
