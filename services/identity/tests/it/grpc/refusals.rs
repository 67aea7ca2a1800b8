//! Who may call which RPC. Every public RPC of the descriptors stands in the table; a new one without a line fails the test.

use std::collections::BTreeMap;

use gantry_testkit::refusals::Stranger::{Anybody, Nothing, Own, Refused};
use gantry_testkit::refusals::{Callers, Line, faults};
use gantry_testkit::rpc::gateway;
use serde_json::{Value, json};

use crate::support::Suite;

/// In the requests `$name` is an id of the world. In an order in which an administrator can make all the calls one after another.
fn table() -> Vec<Line> {
    let acme = || json!({ "org": "acme" });
    let shop = || json!({ "org": "acme", "project": "shop" });
    let ldap = json!({ "connection": { "ldap": { "bind_dn": "cn=x", "servers": ["ldaps://127.0.0.1:1"], "user_base": "o=x" } } });
    let nil = "00000000-0000-0000-0000-000000000000";
    vec![
        ("Users.ListUsers", json!({}), Own),
        ("Users.WatchUsers", json!({}), Own),
        ("Users.GetUser", json!({ "id": "ada" }), Refused),
        ("Users.CreateUser", json!({ "username": "new", "email": "new@example.org" }), Refused),
        ("Users.RegisterUser", json!({ "username": "reg", "email": "reg@example.org", "password": crate::support::PASSWORD }), Anybody),
        ("Users.ChangeUser", json!({ "id": "ada", "display_name": "Ada" }), Refused),
        ("Users.RequirePasswordReset", json!({ "id": "gone" }), Refused),
        ("Users.MergeUsers", json!({ "id": "ada", "from": "gone", "confirm": "gone" }), Refused),
        ("Users.ImportUsers", json!({ "users": [{ "username": "imp", "email": "imp@example.org" }] }), Refused),
        ("Users.ExportUsers", json!({}), Refused),
        ("Users.GetUserRemains", json!({ "id": "ada" }), Refused),
        ("Users.ListUserLinks", json!({ "id": "ada" }), Refused),
        ("Users.ListUserSessions", json!({ "id": "ada" }), Refused),
        ("Users.EndUserSession", json!({ "id": "ada", "session": "$session" }), Refused),
        ("Users.ResolvePrincipals", json!({ "ids": ["$ada"] }), Own),
        ("Account.GetMe", json!({}), Own),
        ("Account.ChangeMe", json!({ "display_name": "Me" }), Own),
        ("Account.ExportMe", json!({}), Own),
        ("Account.ListFactors", json!({}), Own),
        ("Account.OfferTotp", json!({}), Own),
        ("Account.AddTotp", json!({ "pending": "x", "code": "123456" }), Own),
        ("Account.RemoveFactor", json!({ "id": nil }), Own),
        ("Account.RenewRecoveryCodes", json!({}), Own),
        ("Account.ListSessions", json!({}), Own),
        ("Account.EndSession", json!({ "id": nil }), Own),
        ("Account.EndOtherSessions", json!({}), Own),
        ("Account.ListApplications", json!({}), Own),
        ("Account.DisconnectApplication", json!({ "client": "none" }), Own),
        ("Account.ListConsents", json!({}), Own),
        ("Account.WithdrawConsent", json!({ "client": "none" }), Own),
        ("Account.ListLinks", json!({}), Own),
        ("Account.MakeLink", json!({ "upstream": "none", "username": "x", "password": "y" }), Own),
        ("Account.RemoveLink", json!({ "id": nil }), Own),
        ("Account.AllowImpersonation", json!({ "user": "nobody-here" }), Own),
        ("Account.WithdrawImpersonation", json!({ "user": "nobody-here" }), Own),
        ("Account.ListPersonalTokens", json!({}), Own),
        ("Account.CreatePersonalToken", json!({ "name": "t" }), Own),
        ("Account.RevokePersonalToken", json!({ "id": nil }), Own),
        ("Account.DeleteMe", json!({ "confirm": "not-me" }), Own),
        ("Organisations.ListOrgs", json!({}), Own),
        ("Organisations.CreateOrg", json!({ "name": "fresh" }), Own),
        ("Organisations.GetOrg", acme(), Refused),
        ("Organisations.ChangeOrg", json!({ "org": "acme", "display_name": "Acme" }), Refused),
        ("Organisations.PreviewOrgDeletion", acme(), Refused),
        ("Organisations.ListMembers", acme(), Refused),
        ("Organisations.PutMember", json!({ "org": "acme", "user": "eve" }), Refused),
        ("Organisations.RemoveMember", json!({ "org": "acme", "user": "eve" }), Refused),
        ("Organisations.ListInvitations", acme(), Refused),
        ("Organisations.CreateInvitation", json!({ "org": "acme", "email": "guest@example.org" }), Refused),
        ("Organisations.DeleteInvitation", json!({ "org": "acme", "id": "$invitation" }), Refused),
        ("Projects.ListProjects", acme(), Refused),
        ("Projects.CreateProject", json!({ "org": "acme", "name": "other" }), Refused),
        ("Projects.GetProject", shop(), Refused),
        ("Projects.ListSpaces", shop(), Refused),
        ("Projects.CreateSpace", json!({ "org": "acme", "project": "shop", "name": "test" }), Refused),
        ("Projects.DeleteSpace", json!({ "org": "acme", "project": "shop", "space": "test" }), Refused),
        ("Teams.ListTeams", acme(), Refused),
        ("Teams.WatchTeams", acme(), Refused),
        ("Teams.CreateTeam", json!({ "org": "acme", "name": "ops" }), Refused),
        ("Teams.GetTeam", json!({ "org": "acme", "team": "dev" }), Refused),
        ("Teams.ChangeTeam", json!({ "org": "acme", "team": "dev", "display_name": "Dev" }), Refused),
        ("Teams.ListTeamMembers", json!({ "org": "acme", "team": "dev" }), Refused),
        ("Teams.PutTeamMember", json!({ "org": "acme", "team": "dev", "subject": "bob" }), Refused),
        ("Teams.RemoveTeamMember", json!({ "org": "acme", "team": "dev", "subject": "bob" }), Refused),
        ("Rights.ListBindings", acme(), Refused),
        ("Rights.CreateBinding", json!({ "org": "acme", "subject": "bob", "role": "editor" }), Refused),
        ("Rights.DeleteBinding", json!({ "id": "$binding" }), Refused),
        ("Rights.ListPermissions", json!({}), Own),
        ("Rights.ListRoles", acme(), Refused),
        ("Rights.CreateRole", json!({ "org": "acme", "name": "other", "permissions": ["apps.read"] }), Refused),
        ("Rights.GetRole", json!({ "id": "$role" }), Refused),
        ("Rights.ChangeRole", json!({ "id": "$role", "description": "keeps" }), Refused),
        ("Rights.DeleteRole", json!({ "id": "$role" }), Refused),
        ("Rights.CanI", json!({ "permission": "apps.read", "org": "acme" }), Refused),
        ("Rights.WhoCan", json!({ "permission": "apps.read", "org": "acme" }), Refused),
        ("Rights.GetMatrix", acme(), Refused),
        ("Clients.ListClients", acme(), Refused),
        (
            "Clients.CreateClient",
            json!({ "id": "mine", "org": "acme", "settings": { "client_name": "M", "redirect_uris": ["https://m.example/cb"] } }),
            Refused,
        ),
        ("Clients.GetClient", json!({ "client": "shop" }), Refused),
        ("Clients.ChangeClient", json!({ "client": "shop", "settings": { "client_name": "S", "redirect_uris": ["https://s.example/cb"] } }), Refused),
        ("Clients.AddClientSecret", json!({ "client": "shop" }), Refused),
        ("Clients.RemoveClientSecret", json!({ "client": "shop", "secret": "$secret" }), Refused),
        ("Clients.DeleteClient", json!({ "client": "shop" }), Refused),
        ("Clients.ListRegistrationTokens", acme(), Refused),
        ("Clients.CreateRegistrationToken", acme(), Refused),
        ("Clients.DeleteRegistrationToken", json!({ "org": "acme", "id": "$registration" }), Refused),
        ("Clients.ListSigningKeys", json!({}), Refused),
        ("Clients.RotateSigningKey", json!({ "alg": "ES256" }), Refused),
        ("Clients.ListTrustedIssuers", acme(), Refused),
        ("Clients.CreateTrustedIssuer", json!({ "org": "acme", "name": "ci2", "settings": "$issuer_settings" }), Refused),
        ("Clients.DeleteTrustedIssuer", json!({ "id": "$issuer" }), Refused),
        ("ConfigurationSets.ListConfigurationSets", acme(), Refused),
        (
            "ConfigurationSets.PutConfigurationSet",
            json!({ "org": "acme", "set": "base", "content": { "items": [{ "kind": "Team", "name": "dev" }] } }),
            Refused,
        ),
        ("ConfigurationSets.GetConfigurationSet", json!({ "org": "acme", "set": "base" }), Refused),
        ("ConfigurationSets.DeleteConfigurationSet", json!({ "org": "acme", "set": "base" }), Refused),
        ("ServiceAccounts.ListServiceAccounts", acme(), Refused),
        ("ServiceAccounts.CreateServiceAccount", json!({ "org": "acme", "name": "cd" }), Refused),
        ("ServiceAccounts.GetServiceAccount", json!({ "org": "acme", "name": "ci" }), Refused),
        ("ServiceAccounts.ChangeServiceAccount", json!({ "org": "acme", "name": "ci", "description": "builds" }), Refused),
        ("ServiceAccounts.ListServiceAccountKeys", json!({ "org": "acme", "account": "ci" }), Refused),
        ("ServiceAccounts.CreateServiceAccountKey", json!({ "org": "acme", "account": "ci" }), Refused),
        ("ServiceAccounts.DeleteServiceAccountKey", json!({ "org": "acme", "account": "ci", "id": "$key" }), Refused),
        ("ServiceAccounts.DeleteServiceAccount", json!({ "org": "acme", "name": "ci" }), Refused),
        ("ServiceAccounts.ListProvisioningTokens", acme(), Refused),
        ("ServiceAccounts.CreateProvisioningToken", json!({ "org": "acme", "name": "hr" }), Refused),
        ("ServiceAccounts.DeleteProvisioningToken", json!({ "org": "acme", "id": "$scim" }), Refused),
        ("Certificates.ListMyCertificates", json!({}), Own),
        ("Certificates.BindMyCertificate", json!({}), Own),
        ("Certificates.UnbindMyCertificate", json!({ "id": nil }), Own),
        ("Certificates.ListUserCertificates", json!({ "id": "ada" }), Refused),
        ("Certificates.RevokeUserCertificate", json!({ "id": "ada", "certificate": nil }), Nothing),
        ("Certificates.ListAuthorities", acme(), Refused),
        ("Certificates.TrustAuthority", json!({ "org": "acme", "name": "cards", "pem": "x" }), Refused),
        ("Certificates.SetAuthorityRevocation", json!({ "org": "acme", "id": nil, "url": "http://lists.example/cards.crl" }), Nothing),
        ("Certificates.FetchAuthorityRevocation", json!({ "org": "acme", "id": nil }), Nothing),
        ("Certificates.RemoveAuthorityRevocation", json!({ "org": "acme", "id": nil }), Nothing),
        ("Certificates.DistrustAuthority", json!({ "org": "acme", "id": nil }), Nothing),
        ("Brandings.GetBranding", acme(), Refused),
        ("Brandings.PutBranding", json!({ "org": "acme", "branding": { "title": "Acme" } }), Refused),
        ("Brandings.PutLogo", json!({ "org": "acme", "content": "R0lGODlh" }), Refused),
        ("Brandings.DeleteLogo", acme(), Refused),
        ("Brandings.ResetBranding", acme(), Refused),
        ("SecurityPolicies.GetPlatformPolicy", json!({}), Refused),
        ("SecurityPolicies.PutPlatformPolicy", json!({ "policy": {} }), Refused),
        ("SecurityPolicies.GetOrgPolicy", acme(), Refused),
        ("SecurityPolicies.PutOrgPolicy", json!({ "org": "acme", "policy": {} }), Refused),
        ("Upstreams.ListUpstreams", acme(), Refused),
        ("Upstreams.CreateUpstream", json!({ "org": "acme", "name": "other", "settings": ldap, "secret": "s" }), Refused),
        ("Upstreams.GetUpstream", json!({ "name": "corp" }), Refused),
        ("Upstreams.ChangeUpstream", json!({ "name": "corp", "settings": ldap }), Refused),
        ("Upstreams.TryUpstream", json!({ "name": "corp" }), Refused),
        ("Upstreams.TryUpstreamSettings", json!({ "org": "acme", "settings": ldap, "secret": "s" }), Refused),
        ("Upstreams.Sync", json!({ "name": "corp" }), Refused),
        ("Upstreams.ListSyncs", json!({ "name": "corp" }), Refused),
        ("Upstreams.DeleteUpstream", json!({ "name": "other" }), Refused),
        ("SecurityRecord.VerifySecurityRecord", json!({}), Refused),
        ("Mails.GetMailState", json!({}), Refused),
        ("NodeIdentities.ListJoinTokens", json!({}), Refused),
        ("NodeIdentities.CreateJoinToken", json!({}), Refused),
        ("NodeIdentities.DeleteJoinToken", json!({ "id": "$join" }), Refused),
        ("NodeIdentities.ListNodeCertificates", json!({}), Refused),
        // By the one-time token, or the certificate that the node has; made-up ones are refused, which is another test's.
        ("NodeIdentities.JoinNode", json!({ "node": "n1", "token": "x", "request": "x" }), Anybody),
        ("NodeIdentities.RenewNodeCertificate", json!({ "request": "x" }), Anybody),
        ("NodeIdentities.GetRevocationList", json!({}), Anybody),
        ("NodeIdentities.RevokeNodeCertificates", json!({ "node": "n1" }), Nothing),
        ("Users.DeleteUser", json!({ "id": "imp" }), Refused),
        ("Teams.DeleteTeam", json!({ "org": "acme", "team": "dev" }), Refused),
        ("Projects.DeleteProject", shop(), Refused),
        ("Organisations.DeleteOrg", json!({ "org": "acme", "confirm": "acme" }), Refused),
    ]
}

/// What the requests are about, and the ids in it.
async fn world(suite: &Suite) -> ([String; 3], BTreeMap<&'static str, Value>) {
    let [ada, ..] = suite.acme().await;
    for name in ["gone", "mallory"] {
        suite.register(name).await;
    }
    let mallory = suite.access("mallory").await;
    assert_eq!(suite.post(&mallory, "/api/v1/orgs", json!({ "name": "evil" })).await.0, 201);
    let make = async |path: &str, body: Value| {
        let (status, made) = suite.post(&ada, path, body).await;
        assert_eq!(status, 201, "{path}: {made}");
        made
    };
    make("/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await;
    make("/api/v1/orgs/acme/service-accounts", json!({ "name": "ci" })).await;
    let client = json!({ "id": "shop", "org": "acme", "settings": { "client_name": "S", "redirect_uris": ["https://s.example/cb"] } });
    let client = make("/api/v1/clients", client).await;
    let second = make("/api/v1/clients/shop/secrets", json!({})).await;
    assert!(client["secret"].is_string());
    let ldap = json!({ "connection": { "ldap": { "bind_dn": "cn=x", "servers": ["ldaps://127.0.0.1:1"], "user_base": "o=x" } } });
    make("/api/v1/upstreams", json!({ "org": "acme", "name": "corp", "settings": ldap, "secret": "s" })).await;
    let issuer = json!({ "issuer": "https://ci.example", "jwks": crate::party::PartyKey::new("k").set(), "rules": [{ "client": "shop", "claims": { "repository": "acme/shop" } }] });
    let admin = suite.admin().await;
    let (status, join) = suite.post(&admin, "/api/v1/node-join-tokens", json!({})).await;
    assert_eq!(status, 201, "{join}");
    let other = json!({ "issuer": "https://ci2.example", "jwks": crate::party::PartyKey::new("l").set(), "rules": [{ "service_account": "cd", "claims": { "repository": "acme/shop" } }] });
    let ids = [
        ("ada", suite.get(&ada, "/api/v1/me").await.1["subject"].clone()),
        ("session", suite.get(&ada, "/api/v1/sessions").await.1["items"][0]["id"].clone()),
        ("invitation", make("/api/v1/orgs/acme/invitations", json!({ "email": "x@example.org" })).await["id"].clone()),
        ("binding", make("/api/v1/bindings", json!({ "org": "acme", "subject": "team:dev", "role": "viewer" })).await["id"].clone()),
        ("role", make("/api/v1/roles", json!({ "org": "acme", "name": "keeper", "permissions": ["apps.read"] })).await["id"].clone()),
        ("secret", second["id"].clone()),
        ("registration", make("/api/v1/client-registration-tokens", json!({ "org": "acme" })).await["id"].clone()),
        ("issuer", make("/api/v1/trusted-issuers", json!({ "org": "acme", "name": "ci", "settings": issuer })).await["id"].clone()),
        ("key", make("/api/v1/orgs/acme/service-accounts/ci/keys", json!({})).await["id"].clone()),
        ("scim", make("/api/v1/orgs/acme/scim-tokens", json!({ "name": "idm" })).await["id"].clone()),
        ("join", join["id"].clone()),
        ("issuer_settings", other),
    ];
    ([ada, mallory, admin], ids.into_iter().collect())
}

fn filled(value: &Value, ids: &BTreeMap<&str, Value>) -> Value {
    match value {
        Value::String(text) => text.strip_prefix('$').map_or_else(|| value.clone(), |name| ids[name].clone()),
        Value::Array(items) => items.iter().map(|i| filled(i, ids)).collect(),
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), filled(v, ids))).collect(),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_nobody_and_strangers_and_lets_its_administrator_through() {
    gantry_testkit::clause("6.5.1.2.b");
    gantry_testkit::clause("6.5.2.2.b");
    let suite = Suite::start().await;
    let ([_, mallory, admin], ids) = world(&suite).await;
    let callers = Callers { channel: gateway(&suite.world, &suite.host), stranger: &mallory, administrator: &admin };
    let asked: Vec<Line> = table().into_iter().map(|(name, request, stranger)| (name, listed(filled(&request, &ids)), stranger)).collect();
    let wrong = faults(&callers, gantry_identity::api::grpc::OF_REST, &asked).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lists that may be missing are messages here.
fn listed(mut json: Value) -> Value {
    for place in ["/settings/scopes", "/settings/grant_types"] {
        if let Some(list) = json.pointer_mut(place) {
            *list = json!({ "values": list.take() });
        }
    }
    json
}
