import { afterEach, describe, expect, it, vi } from 'vitest';

import { account } from '../src/api/account';
import { mails } from '../src/api/identity';
import { scheduler } from '../src/api/scheduler';
import { volumes, type Volume } from '../src/api/volumes';

interface Document {
  paths: Record<string, Record<string, unknown>>;
}

const documents = Object.values(import.meta.glob<Document>('../../../../schemas/openapi/*.json', { eager: true, import: 'default' }));

/** The operation that a call is of, as the services describe it. */
function operation(method: string, url: string): string | undefined {
  const parts = url.split('?')[0]!.split('/');
  const fits = (template: string) => template.split('/').length === parts.length && template.split('/').every((part, at) => part.startsWith('{') || part === parts[at]);
  const found = documents.flatMap(({ paths }) => Object.entries(paths)).find(([template, verbs]) => method.toLowerCase() in verbs && fits(template));
  return found?.[0];
}

afterEach(() => vi.unstubAllGlobals());

describe('what people can do in the console', () => {
  it('is what the services offer', async () => {
    const calls: { method: string; url: string; body: unknown }[] = [];
    vi.stubGlobal('fetch', async (url: string, init: { method: string; body?: string }) => {
      calls.push({ method: init.method, url, body: init.body === undefined ? undefined : JSON.parse(init.body) });
      return new Response(null, { status: 204 });
    });
    const base = volumes.of('acme', 'shop', 'test');
    const volume: Volume = { name: 'a.data', node: 'n1', app: 'web', workload: 'web', size_bytes: 0, used_bytes: 0, in_use: false, orphaned: false, snapshots: [] };
    await volumes.copy(base, volume, { app: 'next', volume: 'data', number: null, node: 'n2' });
    await scheduler.admitNode('n1');
    await account.withdraw('wiki');
    expect(calls.map(({ method, url }) => operation(method, url))).toEqual([
      '/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/copies',
      '/api/v1/nodes/{node}/admit',
      '/api/v1/me/consents/{client}',
    ]);
    // Where the volume is, and where it goes, are two nodes.
    expect(calls[0]!.url).toMatch(/\?node=n1$/);
    expect(calls[0]!.body).toEqual({ app: 'next', volume: 'data', number: null, node: 'n2' });
    expect([account.consents, mails].map((url) => operation('GET', url))).toEqual(['/api/v1/me/consents', '/api/v1/mails']);
  });
});
