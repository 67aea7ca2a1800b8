import { describe, expect, it } from 'vitest';

import { ApiError } from '../src/api/http';
import { placed } from '../src/parts/faults';
import { passing } from '../src/parts/problem';

const fault = (field: string) => ({ field, detail: `${field} is wrong` });

describe('faults of a request', () => {
  it('stand at the fields that they are about, however deep the request has them', () => {
    const { fields, rest } = placed([fault('name'), fault('settings.client_name'), fault('redirect_uris[2]'), fault('/limits/cpu_millis')], [['name'], ['client_name'], ['redirect_uris'], ['limits', 'cpu_millis'], ['cpu_millis']]);
    expect(fields.map((one) => [one.name.join('.'), one.errors])).toEqual([
      ['name', ['name is wrong']],
      ['client_name', ['settings.client_name is wrong']],
      ['redirect_uris', ['redirect_uris[2] is wrong']],
      ['limits.cpu_millis', ['/limits/cpu_millis is wrong']],
    ]);
    expect(rest).toEqual([]);
  });

  it('that no field stands for are left over, and several of one field stay together', () => {
    const { fields, rest } = placed([fault('rules.0.repositories'), fault('rules.0.tags'), fault('somewhere')], [['rules', 0, 'tags'], ['rules', 1, 'tags'], ['rules']]);
    expect(fields.map((one) => [one.name.join('.'), one.errors.length])).toEqual([['rules', 1], ['rules.0.tags', 1]]);
    expect(rest).toEqual([fault('somewhere')]);
    expect(placed([fault('namespace')], [['name']]).rest.length).toBe(1);
  });
});

describe('an error', () => {
  it('that may pass leaves what was read before; one that is final does not', () => {
    expect([0, 401, 429, 500, 502, 503].every((status) => passing(new ApiError(status, 'x', '')))).toBe(true);
    expect([400, 403, 404, 409].some((status) => passing(new ApiError(status, 'x', '')))).toBe(false);
    expect(passing(new TypeError('x'))).toBe(false);
  });
});
