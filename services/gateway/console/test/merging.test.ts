import { describe, expect, it } from 'vitest';

import { means, merged } from '../src/pages/apps/editor/merging';

const MINE = `# the shop
x-common: &common
  restart: always
services:
  # the front
  web:
    <<: *common
    image: acme/web:\${TAG} # pinned by the pipeline
    ports: ["8080"]
    deploy: {}
  # kept apart
  store:
    image: acme/store:1
volumes: {}
`;
const BEFORE = 'services:\n  store:\n    image: acme/store:1\n  web:\n    image: acme/web:1\n    deploy: {replicas: 1}\n';

const object = (kind: string, name: string, value: number) => `kind: ${kind}\nmetadata:\n  name: ${name}\nspec:\n  replicas: ${value}\n`;

describe('a change that was drawn, in a file that people wrote', () => {
  it('is all that changes: comments, anchors, values and order stay', () => {
    const after = BEFORE.replace('replicas: 1', 'replicas: 3') + '  cache:\n    image: acme/cache:1\nvolumes:\n  data: {}\n';
    const text = merged(MINE, BEFORE, after)!;
    for (const part of ['# the shop', '&common', '<<: *common', '# the front', 'acme/web:${TAG} # pinned by the pipeline', '# kept apart', 'replicas: 3', '  cache:\n    image: acme/cache:1']) expect(text).toContain(part);
    expect(text).toContain('volumes:\n  data: {}');
    expect(text.indexOf('web:')).toBeLessThan(text.indexOf('store:'));
    expect(text).toContain('ports: [ "8080" ]');
  });

  it('keeps the comment behind a value that changes, and takes out what went', () => {
    const text = merged(MINE, BEFORE, 'services:\n  web:\n    image: acme/web:2\n    deploy: {replicas: 1}\n')!;
    expect(text).toContain('image: acme/web:2 # pinned by the pipeline');
    expect(text).not.toContain('acme/store:1');
  });

  it('finds each of several documents by its kind and name', () => {
    const mine = `# first\n${object('Deployment', 'web', 1)}---\n# second\n${object('Deployment', 'api', 1)}---\n${object('Service', 'web', 1)}`;
    const before = [object('Deployment', 'api', 1), object('Deployment', 'web', 1)].join('---\n');
    const after = [object('Deployment', 'api', 2), object('Deployment', 'new', 1)].join('---\n');
    const text = merged(mine, before, after)!;
    expect(text).toContain('# second');
    expect(text).not.toContain('# first');
    expect(text.split('---\n').map((one) => [/kind: (\w+)/.exec(one)![1], /name: (\w+)/.exec(one)![1], /replicas: (\d)/.exec(one)![1]])).toEqual([['Deployment', 'api', '2'], ['Service', 'web', '1'], ['Deployment', 'new', '1']]);
  });

  it('is not tried where the file cannot be read or its parts cannot be told apart', () => {
    expect(merged('services: [', BEFORE, BEFORE)).toBeNull();
    expect(merged(`${BEFORE}---\n${BEFORE}`, BEFORE, BEFORE)).toBeNull();
  });

  it('is looked at for what it means', () => {
    expect(means('a: 1\nb: {c: [2]}\n', '# other words\nb:\n  c:\n    - 2\na: 1\n')).toBe(true);
    expect(means('a: 1\n', 'a: 2\n')).toBe(false);
  });
});
