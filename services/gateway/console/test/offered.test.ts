import { describe, expect, it } from 'vitest';

import { entriesOf, fieldsOf, saidOf } from '../src/pages/offered';

const SCHEMA = {
  type: 'object',
  required: ['size'],
  properties: {
    image: { type: 'string', title: 'Image', description: 'Your own.' },
    replicas: { type: 'integer', title: 'Copies', minimum: 1, maximum: 20, default: 1 },
    policy: { type: 'string', enum: ['keep', 'drop'], default: 'keep' },
    size: { type: 'string' },
    safe: { type: 'boolean' },
  },
};

describe('parameters of an offering', () => {
  it('are fields with what the schema says of them', () => {
    const fields = fieldsOf(SCHEMA)!;
    expect(fields.map((one) => [one.name, one.kind, one.required])).toEqual([['image', 'text', false], ['replicas', 'whole', false], ['policy', 'choice', false], ['size', 'text', true], ['safe', 'flag', false]]);
    expect(fields[1]).toMatchObject({ label: 'Copies', min: 1, max: 20, initial: 1 });
    expect(fieldsOf(undefined)).toEqual([]);
  });

  it('are written as JSON where no field can say them', () => {
    expect(fieldsOf({ properties: { tags: { type: 'array' } } })).toBeNull();
  });

  it('are said only where they are not as they would be anyway', () => {
    expect(saidOf(fieldsOf(SCHEMA)!, { image: ' web:1 ', replicas: 1, policy: 'drop', size: '', safe: false, other: 1 })).toEqual({ image: 'web:1', policy: 'drop', safe: false });
  });

  it('come with credentials that are texts', () => {
    expect(entriesOf({ host: 'redis', port: 6379, external_port: null, nothing: undefined })).toEqual({ host: 'redis', port: '6379' });
  });
});
