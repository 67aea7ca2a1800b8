import { describe, expect, it } from 'vitest';

import { begun, handedOn, news, told, typed } from '../src/pages/apps/editor/draft';

describe('what stands in a field', () => {
  it('is what is typed, though the answer about the edit before arrives meanwhile', () => {
    let field = handedOn(typed(begun(''), '1Mi'));
    field = typed(field, '256Mi');
    field = told(field, '1Mi');
    expect(field.now).toBe('256Mi');
    expect(news(field, '1Mi')).toBe(true);
  });

  it('is what the file says, once nothing is typed', () => {
    const field = handedOn(typed(begun('web'), 'Web'));
    expect(field.now).toBe('Web');
    expect(told(field, 'web-2').now).toBe('web-2');
    expect(told(begun('a'), 'b')).toEqual(begun('b'));
  });

  it('is handed on when it takes back what is still on its way', () => {
    // The file says 256Mi still, and will say 1Mi.
    const field = typed(handedOn(typed(begun('256Mi'), '1Mi')), '256Mi');
    expect(news(field, '256Mi')).toBe(true);
  });

  it('is not handed on when nothing was changed', () => {
    expect(news(begun('web'), 'web')).toBe(false);
    expect(news(told(handedOn(typed(begun(''), '1Mi')), '1Mi'), '1Mi')).toBe(false);
  });

  it('is handed on once more when it did not come into the file', () => {
    expect(news(handedOn(typed(begun(''), '1Mi')), '')).toBe(true);
  });
});
