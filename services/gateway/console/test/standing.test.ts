import { describe, expect, it } from 'vitest';

import { placeOf } from '../src/place';
import { isUpdate } from '../src/parts/Boundary';
import { standingOf, type Session } from '../src/session';

const signedIn = (subject: string): Session => ({ signed_in: true, csrf: 'c', user: { subject, username: subject, name: subject } });
const out: Session = { signed_in: false };

describe('a session', () => {
  it('that ends leaves the open page where it is', () => {
    expect(standingOf(out, null)).toBe('welcome');
    expect(standingOf(signedIn('user:a'), null)).toBe('page');
    expect(standingOf(out, signedIn('user:a'))).toBe('ended');
    expect(standingOf(signedIn('user:a'), signedIn('user:a'))).toBe('page');
  });

  it("of somebody else does not get the page of the one before", () => {
    expect(standingOf(signedIn('user:b'), signedIn('user:a'))).toBe('another');
  });
});

describe('an address', () => {
  it('that was mistyped is no reason to show nothing', () => {
    expect(placeOf('/orgs/50%/projects/%zz')).toEqual({ org: '50%', project: '%zz' });
    expect(placeOf('/orgs/a%2Fb/projects/shop')).toEqual({ org: 'a/b', project: 'shop' });
  });
});

describe('a part of the program that is not there', () => {
  it('is known from what browsers say', () => {
    expect(['Failed to fetch dynamically imported module: https://x/assets/App-1.js', 'error loading dynamically imported module', 'Importing a module script failed.'].map((text) => isUpdate(new TypeError(text)))).toEqual([true, true, true]);
    expect(isUpdate(new TypeError("Cannot read properties of undefined (reading 'items')"))).toBe(false);
  });
});
