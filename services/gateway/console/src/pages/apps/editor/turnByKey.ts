// Ctrl+Z takes back what was written or drawn last, wherever one is: a browser knows only of what was typed into a field.

import type { KeyboardEvent } from 'react';

import { turnOf } from './history';
import type { Sheet } from './useSheet';

export function turnByKey(sheet: Pick<Sheet, 'turn'>): (event: KeyboardEvent) => void {
  return (event) => {
    const which = turnOf(event);
    if (which === null) return;
    event.preventDefault();
    event.stopPropagation();
    sheet.turn(which);
  };
}
