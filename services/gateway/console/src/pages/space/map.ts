// The picture of a space: what leads to what, and on which nodes it runs.

import type { SpaceApp } from '../nodes/useSpaceApps';
import { arrowsOf, HEIGHT, WIDTH, type Arrow, type Box, type Kind, type Spot } from '../apps/editor/drawing';

export interface SpaceMap {
  boxes: (Box & { state?: string; app?: string })[];
  arrows: Arrow[];
}

const COLUMN = WIDTH + 64;
const ROW = HEIGHT + 24;

/** Ids are those of an application's picture with its name before them: `shop/w:web`; nodes are `n:<name>`. */
export function mapOf(apps: SpaceApp[], moved: Record<string, Spot>): SpaceMap {
  const boxes: SpaceMap['boxes'] = [];
  const arrows: Arrow[] = [];
  const rows = [0, 0, 0, 0, 0];
  const put = (column: number, id: string, kind: Kind, name: string, detail: string, more: { state?: string; app?: string } = {}) => {
    boxes.push({ id, kind, name, detail, ...(moved[id] ?? { x: 20 + column * COLUMN, y: 20 + rows[column]! * ROW }), ...more });
    rows[column]! += 1;
  };
  const nodes = new Map<string, number>();
  for (const { app, instances, model } of apps) {
    const of = (id: string) => `${app.name}/${id}`;
    const there = instances.filter((one) => !one.ended_at);
    model?.services.forEach((service, index) => {
      (service.routes ?? []).forEach((route, number) => put(0, of(`r:${index}:${number}`), 'route', route.host || '*', route.path ?? '/', { app: app.name }));
      put(1, of(`s:${index}`), 'service', service.name, `${service.protocol} ${service.port}`, { app: app.name });
    });
    for (const workload of app.workloads) {
      const own = there.filter((one) => one.workload === workload.name);
      const state = app.state === 'stopped' ? 'stopped' : workload.ready >= workload.replicas ? 'running' : own.some((one) => one.state === 'unhealthy' || one.state === 'lost') ? 'unhealthy' : 'starting';
      put(2, of(`w:${workload.name}`), 'workload', `${app.name} / ${workload.name}`, `${workload.ready}/${workload.replicas}`, { state, app: app.name });
      for (const node of new Set(own.map((one) => one.node).filter(Boolean))) {
        arrows.push({ from: of(`w:${workload.name}`), to: `n:${node}`, kind: 'runs', label: String(own.filter((one) => one.node === node).length) });
      }
    }
    for (const name of Object.keys(model?.volumes ?? {})) put(3, of(`v:${name}`), 'volume', name, app.name, { app: app.name });
    if (model) arrows.push(...arrowsOf(model).map((arrow) => ({ ...arrow, from: of(arrow.from), to: of(arrow.to) })));
    for (const one of there) if (one.node) nodes.set(one.node, (nodes.get(one.node) ?? 0) + 1);
  }
  for (const [name, count] of [...nodes].toSorted(([a], [b]) => a.localeCompare(b))) put(4, `n:${name}`, 'node', name, String(count));
  return { boxes, arrows };
}
