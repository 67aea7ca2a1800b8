// The anchor of the bench's token figures: oidc-provider with its own in-memory adapter. Like ours it signs every access and
// ID token by ES256 and rotates refresh tokens. Says on one line where it listens and which refresh tokens it has made.
import { generateKeyPairSync } from 'node:crypto';
import * as oidc from 'oidc-provider';

const count = Number(process.argv[2]);
const [id, secret, resource] = ['bench', 'a-secret-of-forty-characters-or-so-for-bench', 'urn:bench:api'];
const key = { ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: 'bench' };
const provider = new oidc.Provider('https://bench.example', {
  jwks: { keys: [key] },
  clients: [{
    client_id: id, client_secret: secret, redirect_uris: ['https://shop.example/cb'], response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    token_endpoint_auth_method: 'client_secret_post', id_token_signed_response_alg: 'ES256',
  }],
  rotateRefreshToken: true,
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'api', audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
});

const client = await provider.Client.find(id);
const grant = new provider.Grant({ accountId: 'ada', clientId: id });
grant.addOIDCScope('openid offline_access');
grant.addResourceScope(resource, 'api');
const grantId = await grant.save();
const refresh = [];
for (let n = 0; n < count; n += 1) {
  const token = new provider.RefreshToken({
    client, accountId: 'ada', grantId, scope: 'openid offline_access', gty: 'authorization_code', resource,
    authTime: Math.floor(Date.now() / 1000),
  });
  refresh.push(await token.save());
}

const server = provider.listen(0, '127.0.0.1', () => {
  server.keepAliveTimeout = 600_000;
  console.log(JSON.stringify({ port: server.address().port, client: id, secret, refresh }));
});
process.stdin.on('end', () => process.exit(0)).resume();
