// Images made on the spot and pushed as `docker push` does, so that no outside registry is needed.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

import { url } from './suite.mjs';

const MEDIA = 'application/vnd.oci.image';

export const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** One member of a tar archive (ustar): a file, or a symbolic link with `link`. */
function member({ name, content = '', mode = '0000644', link = '' }) {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(`${mode}\0`, 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(link === '' ? '0' : '2', 156);
  header.write(link, 157);
  header.write('ustar\0', 257);
  header.write('00', 263);
  header.write(`${[...header].reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

export const tar = (members) => Buffer.concat([...members.map(member), Buffer.alloc(1024)]);

/** As `docker login` does: the registry says where its tokens are. `name` is `<org>/<project>/<repository>`. */
export async function registryToken(name, username, password) {
  const challenge = (await fetch(`${url}/v2/`)).headers.get('www-authenticate');
  const [, realm] = challenge.match(/realm="([^"]+)"/);
  const [, service] = challenge.match(/service="([^"]+)"/);
  const scope = `repository:${name}:pull,push`;
  const answer = await fetch(`${realm}?${new URLSearchParams({ service, scope })}`, { headers: { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` } });
  assert.equal(answer.status, 200);
  return (await answer.json()).token;
}

/** Pushes an image of one layer, over those in `below`; answers the status of its manifest. */
export async function push({ bearer, name, tag, members, below = [], run = {}, history = [], annotations }) {
  const headers = { authorization: `Bearer ${bearer}` };
  const upload = async (bytes) => {
    const begun = await fetch(`${url}/v2/${name}/blobs/uploads/`, { method: 'POST', headers });
    const to = new URL(begun.headers.get('location'), url);
    to.searchParams.set('digest', digestOf(bytes));
    assert.equal((await fetch(to, { method: 'PUT', headers: { ...headers, 'content-type': 'application/octet-stream' }, body: bytes })).status, 201);
  };
  const plain = [...below, members].map(tar);
  const layers = plain.map((one) => gzipSync(one));
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', config: run, rootfs: { type: 'layers', diff_ids: plain.map(digestOf) }, history }));
  for (const layer of layers) await upload(layer);
  await upload(config);
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: `${MEDIA}.manifest.v1+json`,
    config: { mediaType: `${MEDIA}.config.v1+json`, digest: digestOf(config), size: config.length },
    layers: layers.map((layer) => ({ mediaType: `${MEDIA}.layer.v1.tar+gzip`, digest: digestOf(layer), size: layer.length })),
    annotations,
  });
  const put = await fetch(`${url}/v2/${name}/manifests/${tag}`, { method: 'PUT', headers: { ...headers, 'content-type': `${MEDIA}.manifest.v1+json` }, body: manifest });
  assert.ok(put.status === 201 || put.status === 400 || put.status === 403, `${put.status} ${await put.clone().text()}`);
  return put.status;
}
