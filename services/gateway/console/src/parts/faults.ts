// Which faults of a refused request (RFC 9457, `errors`) belong to which field of the form that sent it.

import type { FieldFault } from '../api/http';

export type FieldPath = (string | number)[];

export interface Placed {
  fields: { name: FieldPath; errors: string[] }[];
  /** What no field of the form stands for. */
  rest: FieldFault[];
}

/** `settings.redirect_uris[0]`, `/settings/redirect_uris/0`: both are parts, one after the other. */
const parts = (field: string): string[] => field.split(/[./[\]]+/).filter((part) => part !== '' && part !== '#');

/** Whether `part` is found in `whole`, how long, and where: at its end is better than at its beginning. */
function fit(whole: string[], field: string[]): number {
  if (field.length === 0 || field.length > whole.length) return 0;
  const same = (begin: number) => field.every((one, index) => one === whole[begin + index]);
  for (let begin = whole.length - field.length; begin >= 0; begin -= 1) if (same(begin)) return field.length * 100 + begin + 1;
  return 0;
}

/**
 * A form has often other depths than the request (`client_name` for `settings.client_name`, one field for the list that
 * `redirect_uris[2]` is in), so the field with the longest path that the fault's path has in it takes it.
 */
export function placed(faults: FieldFault[], fields: FieldPath[]): Placed {
  const found = new Map<FieldPath, string[]>();
  const rest: FieldFault[] = [];
  for (const fault of faults) {
    const whole = parts(fault.field);
    let best: FieldPath | null = null;
    let most = 0;
    for (const field of fields) {
      const now = fit(whole, field.map(String));
      if (now > most) [best, most] = [field, now];
    }
    if (best === null) rest.push(fault);
    else found.set(best, [...(found.get(best) ?? []), fault.detail]);
  }
  return { fields: [...found].map(([name, errors]) => ({ name, errors })), rest };
}
