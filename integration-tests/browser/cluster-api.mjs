// An API server of Kubernetes as far as an import, a test and an empty space need it: a version, what it can do, rights, empty lists.
// It is reached by TLS with a certificate that it makes for itself.

import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { createServer } from 'node:https';

const size = (length) => (length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]);
/** One element of DER (ITU-T X.690): tag, length, content. */
const der = (tag, ...parts) => {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from([tag, ...size(content.length)]), content]);
};
const sequence = (...parts) => der(0x30, ...parts);
const COMMON_NAME = [0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES = [0x55, 0x1d, 0x11];
const ECDSA_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const time = (date) => der(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));

/** A certificate for 127.0.0.1 that vouches for itself (RFC 5280), for a day. */
function ownCertificate() {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(der(0x06, ECDSA_SHA256));
  const name = sequence(der(0x31, sequence(der(0x06, COMMON_NAME), der(0x0c, Buffer.from('a cluster of the tests')))));
  const names = sequence(der(0x82, Buffer.from('localhost')), der(0x87, [127, 0, 0, 1]));
  const extensions = der(0xa3, sequence(sequence(der(0x06, ALTERNATIVE_NAMES), der(0x04, names))));
  const serial = randomBytes(8);
  serial[0] = (serial[0] & 0x7f) | 1;
  const now = Date.now();
  const valid = sequence(time(new Date(now - 3_600_000)), time(new Date(now + 86_400_000)));
  const body = sequence(der(0xa0, der(0x02, [2])), der(0x02, serial), algorithm, name, valid, name, pair.publicKey.export({ type: 'spki', format: 'der' }), extensions);
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const signature = sign('sha256', body, createPrivateKey(key));
  const whole = sequence(body, algorithm, der(0x03, [0], signature));
  const lines = whole.toString('base64').match(/.{1,64}/g).join('\n');
  return { key, cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n` };
}

const GROUPS = [
  ['gateway.networking.k8s.io', 'v1'],
  ['autoscaling', 'v2'],
  ['apps', 'v1'],
];
const TOKEN = 'token-of-the-tests';

/** Starts it. `denied` holds rights that are not given, as `patch deployments`. */
export async function startCluster() {
  const { key, cert } = ownCertificate();
  const denied = new Set();
  const answer = (method, path, body) => {
    if (path === '/version') return { major: '1', minor: '33', gitVersion: 'v1.33.1', platform: 'linux/amd64' };
    if (path === '/apis') return { kind: 'APIGroupList', groups: GROUPS.map(([name, version]) => ({ name, versions: [{ groupVersion: `${name}/${version}`, version }], preferredVersion: { groupVersion: `${name}/${version}`, version } })) };
    if (path === '/apis/gateway.networking.k8s.io/v1') return { kind: 'APIResourceList', resources: [{ name: 'httproutes', kind: 'HTTPRoute', namespaced: true }] };
    if (path === '/apis/storage.k8s.io/v1/storageclasses') return { items: [{ metadata: { name: 'fast', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } }] };
    if (path.endsWith('/selfsubjectaccessreviews')) {
      const { verb, resource } = JSON.parse(body).spec.resourceAttributes;
      return { status: { allowed: !denied.has(`${verb} ${resource}`) } };
    }
    if (method === 'GET') return { kind: 'List', metadata: { resourceVersion: '1' }, items: [] };
    return JSON.parse(body || '{}');
  };
  const server = createServer({ key, cert }, (request, response) => {
    const url = new URL(request.url, 'https://localhost');
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const json = { 'content-type': 'application/json' };
      if (request.headers.authorization !== `Bearer ${TOKEN}`) return response.writeHead(401, json).end(JSON.stringify({ kind: 'Status', status: 'Failure', reason: 'Unauthorized', code: 401, message: 'Unauthorized' }));
      // A watch stays open, and nothing happens.
      if (url.searchParams.has('watch')) return response.writeHead(200, json).flushHeaders();
      return response.writeHead(200, json).end(JSON.stringify(answer(request.method, url.pathname, Buffer.concat(pieces).toString())));
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const address = `https://127.0.0.1:${server.address().port}`;
  const of = (name) => ({ name, cluster: { server: name === 'right' ? address : 'https://127.0.0.1:1', 'certificate-authority-data': Buffer.from(cert).toString('base64') } });
  const kubeconfig = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'wrong',
    clusters: [of('right'), of('wrong')],
    users: [{ name: 'tests', user: { token: TOKEN } }],
    contexts: ['right', 'wrong'].map((name) => ({ name, context: { cluster: name, user: 'tests' } })),
  });
  return { address, cert, token: TOKEN, kubeconfig, denied, stop: () => (server.closeAllConnections(), new Promise((done) => server.close(done))) };
}
