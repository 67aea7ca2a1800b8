import { describe, expect, it } from 'vitest';

import { aheadOf } from '../src/api/ahead';
import { arePrograms, guardForm, guardOf, isEgress } from '../src/pages/space/guard';
import { formOf, rulesOf } from '../src/pages/space/Rules';

describe('what follows from a sign of an intrusion', () => {
  it('is the same after the form', () => {
    const guard = { action: 'quarantine', closed: true, egress: [{ network: '10.0.0.0/8' }, { network: '192.0.2.10', port: 5432 }], programs: ['/opt/plugins/'] };
    expect(guardOf(guardForm(guard))).toEqual(guard);
  });

  it('is a report where nothing is said, or something that is not known here', () => {
    for (const guard of [null, undefined, {}, { action: '' }, { action: 'explode' }]) expect(guardOf(guardForm(guard))).toEqual({ action: 'report', closed: false, egress: [], programs: [] });
  });

  it('keeps what can be reached only where the rest cannot', () => {
    expect(guardOf({ action: 'stop', closed: false, egress: '10.0.0.0/8', programs: '' }).egress).toEqual([]);
  });

  it('is checked line by line', () => {
    expect(['', undefined, '10.0.0.0/8\n\n192.0.2.10 5432', 'fe80::/10'].map(isEgress)).toEqual([true, true, true, true]);
    expect(['10.0.0.0/8 and more', '192.0.2.10 port'].map(isEgress)).toEqual([false, false]);
    expect([arePrograms('/opt/a\n/opt/b/'), arePrograms('opt/a'), arePrograms(undefined)]).toEqual([true, false, true]);
  });

  it('stays when placement rules are saved, and images are fetched ahead or not', () => {
    const rules = { guard: { action: 'stop' }, prepull: true };
    expect(rulesOf(formOf(rules), rules)).toMatchObject(rules);
    expect(rulesOf({ ...formOf(rules), prepull: false }, rules)).toMatchObject({ guard: { action: 'stop' }, prepull: false });
  });
});

describe('images that a node fetches ahead', () => {
  it('are those of operators as they said them, then those of releases and spaces', () => {
    const seen = { 'a@1': { state: 'present', reason: '' }, 'c@3': { state: 'failed', reason: 'no room' }, 'b@2': { state: 'pulling', reason: '' } };
    expect(aheadOf({ settings: { images: ['d@4', 'a@1'] }, images: seen })).toEqual([
      { image: 'd@4', kept: true, state: undefined, reason: '' },
      { image: 'a@1', kept: true, state: 'present', reason: '' },
      { image: 'b@2', kept: false, state: 'pulling', reason: '' },
      { image: 'c@3', kept: false, state: 'failed', reason: 'no room' },
    ]);
    expect(aheadOf({})).toEqual([]);
  });
});
