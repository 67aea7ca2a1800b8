import { describe, expect, it, vi } from 'vitest';

import { beginning, below, replaced, type Source } from '../src/parts/places';

const names = (start: string, count: number) => Array.from({ length: count }, (_, index) => `${start}${index}`);

function source(orgs: number, projects: number, spaces: number): Source {
  return { orgs: vi.fn(async () => names('o', orgs)), projects: vi.fn(async () => names('p', projects)), spaces: vi.fn(async () => names('s', spaces)) };
}

describe('the places to choose from', () => {
  it('are read whole while they are few', async () => {
    const tree = await beginning(source(2, 2, 1));
    expect(tree[1]!.children![0]!.children).toEqual([{ value: 's0', label: 's0', isLeaf: true }]);
  });

  it('of a large platform are one question, and one more for each that is looked at', async () => {
    const large = source(2_000, 40, 3);
    const tree = await beginning(large);
    expect(large.projects).not.toHaveBeenCalled();
    const org = await below(large, tree[7]!, ['o7']);
    const next = replaced(tree, ['o7'], org);
    expect(next[7]!.children!.length).toBe(40);
    const project = await below(large, next[7]!.children![3]!, ['o7', 'p3']);
    expect(replaced(next, ['o7', 'p3'], project)[7]!.children![3]!.children!.map((one) => one.value)).toEqual(['s0', 's1', 's2']);
    expect([large.orgs, large.projects, large.spaces].map((asked) => vi.mocked(asked).mock.calls.length)).toEqual([1, 1, 1]);
  });

  it('below which there is nothing are ends', async () => {
    const [org] = await beginning(source(1, 0, 0));
    expect([org!.isLeaf, org!.children]).toEqual([true, undefined]);
  });
});
