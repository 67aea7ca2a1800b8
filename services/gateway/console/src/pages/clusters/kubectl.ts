// Files that make a cluster trust the platform's identity (kubernetes.io/docs/reference/access-authn-authz/authentication).

import { stringify } from 'yaml';

/** The client that tokens for clusters are for. */
export const AUDIENCE = 'kubernetes';
/** Before the names of people, and of groups unless the cluster's settings say otherwise. */
export const PREFIX = 'gantry:';
const LONGEST_SECONDS = 86_400;

/** For `--authentication-config`, from Kubernetes 1.30 on. `groups`: what stands before the names of groups. */
export function authenticationFile(issuer: string, groups = PREFIX): string {
  const file = {
    // v1beta1 until 1.33, which later ones still read.
    apiVersion: 'apiserver.config.k8s.io/v1beta1',
    kind: 'AuthenticationConfiguration',
    jwt: [
      {
        issuer: { url: issuer, audiences: [AUDIENCE] },
        claimMappings: { username: { claim: 'preferred_username', prefix: PREFIX }, groups: { claim: 'groups', prefix: groups }, uid: { claim: 'sub' } },
        claimValidationRules: [{ expression: `claims.exp - claims.iat <= ${LONGEST_SECONDS}`, message: 'the token is for too long a time' }],
        userValidationRules: [{ expression: "!user.username.startsWith('system:') && user.groups.all(g, !g.startsWith('system:'))", message: "system names are the cluster's own" }],
      },
    ],
  };
  return stringify(file, { lineWidth: 0 });
}

export function flagsOf(issuer: string, groups = PREFIX): string {
  return [
    `--oidc-issuer-url=${issuer}`,
    `--oidc-client-id=${AUDIENCE}`,
    '--oidc-username-claim=preferred_username',
    `--oidc-username-prefix=${PREFIX}`,
    '--oidc-groups-claim=groups',
    `--oidc-groups-prefix=${groups}`,
    '--oidc-signing-algs=RS256',
    '--oidc-ca-file=/etc/kubernetes/gantry-ca.pem',
  ].join('\n');
}

/** The same for everybody: whoever uses it signs in. */
export function kubeconfigOf(cluster: string, server: string): string {
  const file = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': cluster,
    contexts: [{ name: cluster, context: { cluster, user: 'gantry' } }],
    clusters: [{ name: cluster, cluster: { server } }],
    users: [{ name: 'gantry', user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'gantry', args: ['cluster', 'credential', '--client', AUDIENCE], interactiveMode: 'IfAvailable' } } }],
  };
  return stringify(file, { lineWidth: 0 });
}
