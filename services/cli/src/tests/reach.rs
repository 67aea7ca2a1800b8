//! Everything that the services offer over REST can be typed, with every parameter: the commands are run against a platform that says yes
//! to all, and what they asked for is held against the API's document.

mod billing;
mod delivery;
mod monitoring;
mod registry;
mod scheduler;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wiremock::{Mock, ResponseTemplate};

use super::World;

type Operations<'a> = &'a [(&'a str, &'a str)];

/// Parameters of lists: pages are turned by themselves, and a list that goes on is for programs.
const OF_LISTS: [&str; 3] = ["limit", "cursor", "watch"];

/// Not for people to type.
const OTHERS: Operations<'_> = &[
    ("POST /api/v1/node-certificates", "a node does it itself when it joins"),
    ("POST /api/v1/node-certificates/renewals", "a node does it itself"),
    ("POST /api/v1/me/certificates", "gantry account add-certificate, which shows the certificate at another address"),
    ("POST /api/v1/me/factors/totp", "gantry account add-totp, which asks for a code in between"),
    ("POST /api/v1/me/factors", "gantry account add-totp"),
    ("PUT /api/v1/configuration-sets/{set}", "gantry apply --set, in tests/it/configuration.rs"),
];

/// `{file}` is a file that holds what the command wants to read.
const COMMANDS: &[&str] = &[
    "whoami",
    "account show",
    "account set --display-name A --email a@example.org",
    "account sessions",
    "account end-session 1",
    "account end-other-sessions",
    "account factors",
    "account remove-factor 1",
    "account certificates",
    "account remove-certificate 1",
    "account recovery-codes",
    "account applications",
    "account disconnect shop",
    "account consents",
    "account withdraw-consent shop",
    "account links",
    "account link corp ada --password-file {file}",
    "account unlink 1",
    "account allow-impersonation bob --minutes 5",
    "account withdraw-impersonation bob",
    "account export",
    "account delete --yes",
    "register zed --email z@example.org --password-file {file}",
    "token list",
    "token create laptop",
    "token revoke 1",
    "org create acme",
    "org list",
    "org show acme",
    "org set acme --display-name Acme",
    "org delete acme --yes",
    "org delete acme",
    "org certificate-authority list acme",
    "org certificate-authority trust acme cards --file {file}",
    "org certificate-authority set-revocation acme 1 --from http://crl.example.org/cards.crl",
    "org certificate-authority set-revocation acme 1 --file {file} --when-stale accept",
    "org certificate-authority fetch-revocation acme 1",
    "org certificate-authority remove-revocation acme 1",
    "org certificate-authority distrust acme 1 --yes",
    "org branding show acme",
    "org branding set acme --title Acme",
    "org branding logo acme {file}",
    "org branding logo acme --remove",
    "org branding reset acme --yes",
    "configuration-set list --org acme",
    "configuration-set show acme/base",
    "configuration-set delete acme/base --yes",
    "member list --at acme",
    "member put bob --role editor --at acme",
    "member remove bob --at acme",
    "invitation list --at acme",
    "invitation create x@example.org --at acme",
    "invitation delete 1 --at acme",
    "security-policy show --platform",
    "security-policy set password_min_length=14 --platform",
    "security-policy show --at acme",
    "security-policy set second_factor=required --replace --at acme",
    "scim-token list --at acme",
    "scim-token create hr --at acme",
    "scim-token delete 1 --at acme",
    "issuer list --org acme",
    "issuer create ci --file {file} --org acme",
    "issuer delete 1 --yes",
    "project create acme/shop",
    "project list --at acme",
    "project show acme/shop",
    "project delete acme/shop --yes",
    "space create acme/shop/test",
    "space list --at acme/shop",
    "space delete acme/shop/test --yes",
    "user list -q a --state active --org acme",
    "user show ada",
    "user create new --email n@example.org",
    "user set ada --email a@example.org",
    "user links ada",
    "user remains ada",
    "user certificates ada",
    "user revoke-certificate ada 1 --reason lost",
    "user sessions ada",
    "user end-session ada 1",
    "user resolve user:1",
    "user suspend ada",
    "user delete ada --yes",
    "user reset-password ada",
    "user merge ada --from eve --yes",
    "user import {file}",
    "user export",
    "team list --at acme",
    "team create dev --at acme",
    "team show dev --at acme",
    "team set dev --display-name Dev --at acme",
    "team delete dev --yes --at acme",
    "team members dev --at acme",
    "team add dev bob --at acme",
    "team remove dev bob --at acme",
    "role list --at acme",
    "role permissions",
    "role show 1",
    "role create keeper --permission apps.read --platform",
    "role set 1 --permission apps.read",
    "role delete 1",
    "rights bindings --at acme/shop/test",
    "rights grant bob viewer --at acme",
    "rights revoke 1",
    "rights who-can apps.read --at acme/shop/test",
    "rights matrix --at acme/shop/test",
    "can-i apps.read --at acme",
    "service-account list --at acme",
    "service-account create ci --at acme",
    "service-account show ci --at acme",
    "service-account set ci --description builds --at acme",
    "service-account delete ci --yes --at acme",
    "service-account keys ci --at acme",
    "service-account create-key ci --at acme",
    "service-account revoke-key ci 1 --at acme",
    "client list --org acme",
    "client create shop --name Shop",
    "client show shop",
    "client set shop --name S",
    "client delete shop --yes",
    "client add-secret shop",
    "client remove-secret shop 1",
    "client registration-tokens --org acme",
    "client registration-token",
    "client delete-registration-token 1 --org acme",
    "mails",
    "audit verify",
    "key list",
    "key rotate ES256",
    "upstream list --org acme",
    "upstream show corp",
    "upstream create corp --file {file}",
    "upstream change corp --file {file}",
    "upstream delete corp --yes",
    "upstream test corp",
    "upstream test --file {file} --org acme",
    "upstream sync corp",
    "upstream report corp",
    "node join-token",
    "node join-tokens",
    "node delete-join-token 1",
    "node certificates n1",
    "node revocation-list",
    "node revoke-certificates n1",
];

/// `GET /api/v1/users/{}`.
fn shape(template: &str) -> Vec<String> {
    template.split('/').skip(1).map(|s| if s.starts_with('{') { "{}".to_owned() } else { s.to_owned() }).collect()
}

fn fits(shape: &[String], path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    parts.len() == shape.len() && shape.iter().zip(parts).all(|(s, p)| s == "{}" || s == p)
}

/// Runs `commands` against a platform that answers `yes`, and holds what they asked for against `document`. `others` cannot be typed, and why
/// (`GET /path`, or one parameter of it: `GET /path?name`); `elsewhere` is another service's; `ends_badly` is a command that must fail.
async fn held(document: &str, commands: &[&str], yes: Value, others: Operations<'_>, elsewhere: Operations<'_>, ends_badly: &str) {
    let world = World::signed_in(3600).await;
    Mock::given(wiremock::matchers::any()).respond_with(ResponseTemplate::new(200).set_body_json(yes)).mount(&world.platform).await;
    let file = world._folder.path().join("settings.yaml");
    std::fs::write(&file, "issuer: https://ci.example\n").unwrap();
    let compose = world._folder.path().join("compose.yaml");
    std::fs::write(&compose, "name: shop\nservices:\n  web:\n    image: x\n").unwrap();
    let rules = world._folder.path().join("rules.json");
    std::fs::write(&rules, r#"{ "rules": [] }"#).unwrap();
    for words in commands {
        let words = words.replace("{file}", &file.display().to_string()).replace("{json}", &rules.display().to_string());
        let words = words.replace("{compose}", &compose.display().to_string());
        let words = words.replace("{new}", &world._folder.path().join("new").display().to_string());
        let done = world.run(&words).await;
        assert!(done.is_ok() || words == ends_badly, "{words}: {:?}", done.err());
    }
    let mut asked: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for request in world.platform.received_requests().await.expect("recorded") {
        let said = asked.entry((request.method.to_string(), request.url.path().to_owned())).or_default();
        said.extend(request.url.query_pairs().map(|(name, _)| name.into_owned()));
    }
    let document: Value = serde_json::from_str(document).unwrap();
    let mut missing = Vec::new();
    let mut shapes = Vec::new();
    for (template, operations) in document["paths"].as_object().unwrap() {
        for (verb, operation) in operations.as_object().unwrap() {
            let name = format!("{} {template}", verb.to_uppercase());
            let shape = shape(template);
            let excused = |name: &str| others.iter().any(|(other, _)| *other == name);
            // `/users/export` is no user of that name.
            let here = |path: &str| fits(&shape, path) && (document["paths"][path].is_null() || path == template);
            let calls: Vec<_> = asked.iter().filter(|((method, path), _)| *method == verb.to_uppercase() && here(path)).map(|(_, said)| said).collect();
            if calls.is_empty() && !excused(&name) {
                missing.push(name.clone());
            }
            let wanted = operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str());
            for parameter in wanted.filter(|p| !calls.is_empty() && !OF_LISTS.contains(p) && !calls.iter().any(|said| said.contains(*p))) {
                let name = format!("{name}?{parameter}");
                if !excused(&name) {
                    missing.push(name);
                }
            }
            shapes.push((verb.to_uppercase(), shape));
        }
    }
    assert!(missing.is_empty(), "no command reaches these; write one, and add it above: {missing:#?}");
    let known = |(method, path): &(String, String)| shapes.iter().any(|(m, s)| m == method && fits(s, path));
    let unknown: Vec<_> = asked.keys().filter(|a| !known(a) && !elsewhere.contains(&(a.0.as_str(), a.1.as_str()))).collect();
    assert!(unknown.is_empty(), "the service has no such operations: {unknown:#?}");
}

#[tokio::test]
async fn every_operation_of_identity_can_be_typed() {
    let yes = json!({
        "items": [], "next": null, "id": "1", "username": "ada", "version": 1, "settings": {}, "steps": [], "ok": true, "allowed": true,
        "whole": true, "explanation": "allowed", "lines": [], "failed": 0, "result": "ok", "owner": "1", "secret": "s",
    });
    let document = include_str!("../../../../schemas/openapi/identity.json");
    // Without a terminal it asks for --yes, after it has shown what would go.
    held(document, COMMANDS, yes, OTHERS, &[("GET", "/api/v1/audit/verify")], "org delete acme").await;
}
