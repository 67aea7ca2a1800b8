import { describe, expect, it } from 'vitest';

import { pairs, unpaired } from '../src/pages/apps/editor/fields';
import { addRoute, addVolume, addWorkload, changed, connect, EMPTY, readModel, renameWorkload, set, without } from '../src/pages/apps/editor/model';
import { arrowsOf, boxesOf, faulty } from '../src/pages/apps/editor/drawing';
import { formatOf } from '../src/pages/apps/editor/useSheet';

const TEXT = `apiVersion: gantry.io/v1
kind: Application
metadata: {name: shop}
spec:
  workloads:
    # the front
    web:
      image: acme/web:1 # pinned later
      depends_on: {api: started}
    api:
      image: acme/api:1
      mounts:
        - {kind: volume, source: data, target: /data}
  services:
    - {name: web, workload: web, port: 8080, protocol: http, routes: [{host: shop.example.org}]}
  volumes:
    data: {}
`;
const model = () => readModel(TEXT)!;

const wrong = (path: string, detail: string) => ({ path, line: 1, detail, level: 'wrong' as const });

describe('the picture of an application', () => {
  it('has a box for each part and an arrow for each dependency', () => {
    expect(boxesOf(model(), {}).map((box) => box.id)).toEqual(['r:0:0', 's:0', 'w:web', 'w:api', 'v:data']);
    expect(arrowsOf(model()).map((arrow) => `${arrow.from}>${arrow.to}`)).toEqual(['r:0:0>s:0', 's:0>w:web', 'w:web>w:api', 'w:api>v:data']);
  });

  it('puts what is waited for to the right, and keeps what was moved', () => {
    const boxes = boxesOf(model(), { 's:0': { x: 5, y: 6 } });
    const at = (id: string) => boxes.find((box) => box.id === id)!;
    expect(at('w:api').x).toBeGreaterThan(at('w:web').x);
    expect(at('v:data').x).toBeGreaterThan(at('w:api').x);
    expect(at('s:0')).toMatchObject({ x: 5, y: 6 });
  });

  it('stands although workloads wait for each other in a circle', () => {
    const circle = changed(TEXT, set(['workloads', 'api', 'depends_on'], { web: 'started' }));
    expect(boxesOf(readModel(circle)!, {})).toHaveLength(5);
  });

  it('marks the boxes that a fault is about', () => {
    const remark = { path: 'workloads.api.image', line: 10, detail: '', level: 'wrong' as const };
    expect([...faulty(boxesOf(model(), {}), [remark, { ...remark, path: 'workloads.web', level: 'note' }])]).toEqual([['w:api', '']]);
  });

  it('tells at a box what is wrong with it, also where boxes have numbers or one name', () => {
    const boxes = boxesOf(model(), {});
    expect([...faulty(boxes, [wrong('spec.services[0].routes[0]', 'no host'), wrong('services[0]', 'no port'), wrong('services[0]', 'no workload')])]).toEqual([['r:0:0', 'no host'], ['s:0', 'no port\nno workload']]);
    // The service is called so, too.
    expect([...faulty(boxes, [wrong('workloads.web.image', 'unknown')])]).toEqual([['w:web', 'unknown']]);
    expect([...faulty(boxes, [wrong('services.api.colour', 'unknown')]).keys()]).toEqual(['w:api']);
  });
});

describe('a change of the picture', () => {
  it('keeps comments and what it does not touch', () => {
    const text = changed(TEXT, set(['workloads', 'web', 'replicas'], 3));
    expect(text).toContain('# the front');
    expect(text).toContain('# pinned later');
    expect(readModel(text)!.workloads.web).toEqual({ ...model().workloads.web, replicas: 3 });
  });

  it('adds to an empty application, in lines of their own', () => {
    const start = readModel(EMPTY)!;
    const text = changed(changed(EMPTY, addWorkload(start).edit), addVolume(start).edit);
    const made = readModel(text)!;
    expect(Object.keys(made.workloads)).toEqual(['web']);
    expect(Object.keys(made.volumes)).toEqual(['data']);
    expect(text).not.toContain('{');
    const routed = readModel(changed(text, addRoute(made).edit))!;
    expect(routed.services[0]).toMatchObject({ name: 'web', workload: 'web', routes: [{ path: '/' }] });
  });

  it('draws arrows, but no circles', () => {
    expect(connect(model(), 'w:api', 'w:web')).toBeNull();
    expect(connect(model(), 'v:data', 's:0')).toBeNull();
    const mounted = readModel(changed(TEXT, connect(model(), 'w:web', 'v:data')!))!;
    expect(mounted.workloads.web!.mounts).toEqual([{ kind: 'volume', source: 'data', target: '/data' }]);
    const moved = readModel(changed(TEXT, connect(model(), 's:0', 'w:api')!))!;
    expect(moved.services[0]!.workload).toBe('api');
  });

  it('renames a workload wherever it is named', () => {
    const renamed = readModel(changed(TEXT, renameWorkload(model(), 'api', 'back')))!;
    expect(renamed.workloads.back!.image).toBe('acme/api:1');
    expect(renamed.workloads.web!.depends_on).toEqual({ back: 'started' });
    expect(readModel(changed(TEXT, renameWorkload(model(), 'web', 'front')))!.services[0]!.workload).toBe('front');
  });

  it('takes a part out with what names it', () => {
    const left = readModel(changed(TEXT, without(model(), 'w:api')))!;
    expect(left.workloads).toEqual({ web: { image: 'acme/web:1' } });
    expect(readModel(changed(TEXT, without(model(), 'w:web')))!.services).toEqual([]);
    const dry = readModel(changed(TEXT, without(model(), 'v:data')))!;
    expect([dry.volumes, dry.workloads.api!.mounts]).toEqual([{}, undefined]);
    expect(readModel(changed(TEXT, without(model(), 'r:0:0')))!.services[0]!.routes).toBeUndefined();
  });
});

describe('the file', () => {
  it('is known by what it begins with', () => {
    expect(formatOf('services:\n  web: {}\n')).toBe('compose');
    expect(formatOf('apiVersion: v1\nkind: Service\n')).toBe('kubernetes');
    expect(formatOf(TEXT)).toBe('gantry');
    expect(formatOf('nothing: yet')).toBeNull();
  });

  it('is not read where it is broken', () => {
    expect(readModel('spec: [this is: broken')).toBeNull();
  });

  it('has variables as lines, with whatever signs they hold', () => {
    expect(unpaired(pairs({ A: '1=2', B: '' }))).toEqual({ A: '1=2', B: '' });
  });
});
