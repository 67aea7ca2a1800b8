//! A real directory (OpenLDAP): managing it, testing the connection, synchronising, signing in, failing over.

use std::collections::HashSet;
use std::fmt::Write;

use gantry_testkit::{Slapd, free_port, slapd};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Suite};

const PEOPLE: &str = "ou=people,dc=example,dc=org";

fn person(uid: &str, more: &str) -> String {
    format!("dn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: Person {uid}\nsn: {uid}\nuserPassword: pw-{uid}\n{more}\n")
}

fn mailed(uid: &str) -> String {
    person(uid, &format!("mail: {uid}@corp.example\n"))
}

fn group(name: &str, members: &[&str]) -> String {
    let members: String = members.iter().map(|m| format!("member: {m}\n")).collect();
    format!("dn: cn={name},ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: {name}\n{members}\n")
}

fn dn(uid: &str) -> String {
    format!("uid={uid},{PEOPLE}")
}

fn settings(slapd: &Slapd) -> Value {
    json!({
        "allow_private": true, "ca_pem": slapd.ca_pem, "sync_minutes": 0,
        "connection": { "ldap": {
            "servers": [slapd.tls_url()], "bind_dn": slapd::SEARCHER.0, "user_base": PEOPLE, "group_base": "ou=groups,dc=example,dc=org",
        }},
    })
}

async fn create(suite: &Suite, admin: &str, settings: &Value) -> Value {
    let body = json!({ "name": "corp", "settings": settings, "secret": slapd::SEARCHER.1 });
    let (status, made) = suite.json(Method::POST, "/api/v1/upstreams", Some(admin), Some(body)).await;
    assert_eq!(status, 201, "{made}");
    made
}

/// Synchronises and waits for the report.
async fn sync(suite: &Suite, admin: &str, extent: &str) -> Value {
    suite.synchronised(admin, "corp", json!({ "extent": extent })).await
}

async fn root(slapd: &Slapd) -> ldap3::Ldap {
    let (connection, mut ldap) = ldap3::LdapConnAsync::new(&slapd.url()).await.unwrap();
    tokio::spawn(connection.drive());
    ldap.simple_bind(slapd::ROOT.0, slapd::ROOT.1).await.unwrap().success().unwrap();
    ldap
}

async fn replace(ldap: &mut ldap3::Ldap, dn: &str, attribute: &str, value: &str) {
    ldap.modify(dn, vec![ldap3::Mod::Replace(attribute, HashSet::from([value]))]).await.unwrap().success().unwrap();
}

/// The status and text of the answer to a name and password typed into the page.
async fn try_login(suite: &Suite, name: &str, password: &str) -> (u16, String) {
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    let answer = browser.submit_login(&page, name, password).await;
    (answer.status, answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_test_explains_each_step() {
    gantry_testkit::clause("6.5.2.2.g");
    let Some(slapd) = Slapd::start(&format!("{}{}{}", mailed("ada"), person("bob", ""), group("dev", &[&dn("ada")]))) else { return };
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let trial = async |change: &dyn Fn(&mut Value), secret: &str| {
        let mut settings = settings(&slapd);
        change(&mut settings);
        let body = json!({ "settings": settings, "secret": secret, "username": "ada" });
        let (status, seen) = suite.json(Method::POST, "/api/v1/upstream-trials", Some(&admin), Some(body)).await;
        assert_eq!(status, 200, "{seen}");
        let failed = seen["steps"].as_array().unwrap().iter().find(|s| s["ok"] == false).cloned();
        assert_eq!(seen["ok"], failed.is_none());
        (failed, seen)
    };
    let ldap = |s: &mut Value, key: &str, value: Value| s["connection"]["ldap"][key] = value;

    let (failed, seen) = trial(&|_| {}, slapd::SEARCHER.1).await;
    assert_eq!(failed, None, "{seen}");
    let text = seen.to_string();
    assert!(
        text.contains("2 people match") && text.contains("1 groups match") && text.contains("cn=dev,ou=groups") && text.contains("1 of 2 have no `mail`"),
        "{text}"
    );
    let (failed, seen) = trial(&|s| ldap(s, "servers", json!([slapd.url()])), slapd::SEARCHER.1).await;
    assert_eq!(failed, None, "StartTLS: {seen}");

    let dead = format!("ldaps://localhost:{}", free_port());
    let other = other_authority();
    type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let cases: Vec<(&str, &str, Change, &str)> = vec![
        ("name", "not known", Box::new(|s| ldap(s, "servers", json!(["ldaps://no-such-host.invalid"]))), slapd::SEARCHER.1),
        ("connect", "nothing listens", Box::new(|s| ldap(s, "servers", json!([dead]))), slapd::SEARCHER.1),
        ("tls", "ca_pem", Box::new(|s| s["ca_pem"] = json!(other)), slapd::SEARCHER.1),
        ("tls", "another name", Box::new(|s| ldap(s, "servers", json!([slapd.tls_url().replace("localhost", "127.0.0.1")]))), slapd::SEARCHER.1),
        (
            "tls",
            "port 636",
            Box::new(|s| ldap(s, "servers", json!([slapd.tls_url().replace(&slapd.tls_port.to_string(), &slapd.port.to_string())]))),
            slapd::SEARCHER.1,
        ),
        ("bind", "password is wrong", Box::new(|_| {}), "wrong"),
        ("base", "nearest that does is `dc=example,dc=org`", Box::new(|s| ldap(s, "user_base", json!("ou=persons,dc=example,dc=org"))), slapd::SEARCHER.1),
        ("bind", "misspelt", Box::new(|s| ldap(s, "bind_dn", json!("gantry"))), slapd::SEARCHER.1),
        ("filter", "matches nobody", Box::new(|s| ldap(s, "user_filter", json!("(objectClass=account)"))), slapd::SEARCHER.1),
        ("attributes", "have no `employeeNumber`", Box::new(|s| s["connection"]["ldap"]["attributes"] = json!({ "id": "employeeNumber" })), slapd::SEARCHER.1),
        ("groups", "matches no group", Box::new(|s| ldap(s, "group_filter", json!("(objectClass=posixGroup)"))), slapd::SEARCHER.1),
    ];
    for (step, says, change, secret) in cases {
        let (failed, seen) = trial(&*change, secret).await;
        let failed = failed.unwrap_or_else(|| panic!("{step}: {seen}"));
        assert_eq!(failed["step"], step, "{seen}");
        assert!(failed["detail"].as_str().unwrap().contains(says), "{step}: {failed}");
    }
    let private =
        json!({ "settings": { "connection": { "ldap": { "servers": ["ldaps://localhost"], "bind_dn": "cn=x", "user_base": "dc=x" }}}, "secret": "x" });
    let (_, seen) = suite.json(Method::POST, "/api/v1/upstream-trials", Some(&admin), Some(private)).await;
    assert!(seen["steps"][0]["detail"].as_str().unwrap().contains("private address"), "{seen}");
    let mut filter = settings(&slapd);
    ldap(&mut filter, "user_filter", json!("(uid=*"));
    let (status, seen) = suite.json(Method::POST, "/api/v1/upstream-trials", Some(&admin), Some(json!({ "settings": filter, "secret": "x" }))).await;
    assert_eq!((status, seen["errors"][0]["field"].as_str()), (400, Some("settings.connection.ldap.user_filter")), "{seen}");
}

fn other_authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.self_signed(&key).unwrap().pem()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_manage_upstreams_and_nobody_sees_a_secret() {
    let Some(slapd) = Slapd::start(&mailed("ada")) else { return };
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let made = create(&suite, &admin, &settings(&slapd)).await;
    assert!(made["has_secret"] == true && !made.to_string().contains(slapd::SEARCHER.1), "{made}");
    suite.register("eve").await;
    let eve = suite.access("eve").await;
    let body = || Some(json!({ "name": "mine", "settings": settings(&slapd), "secret": "x" }));
    for (method, path, body) in [
        (Method::GET, "/api/v1/upstreams", None),
        (Method::POST, "/api/v1/upstreams", body()),
        (Method::GET, "/api/v1/upstreams/corp", None),
        (Method::PUT, "/api/v1/upstreams/corp", Some(json!({ "settings": settings(&slapd) }))),
        (Method::DELETE, "/api/v1/upstreams/corp", None),
        (Method::POST, "/api/v1/upstream-trials", Some(json!({ "settings": settings(&slapd) }))),
        (Method::POST, "/api/v1/upstreams/corp/trials", Some(json!({}))),
        (Method::POST, "/api/v1/upstreams/corp/syncs", Some(json!({}))),
        (Method::GET, "/api/v1/upstreams/corp/syncs", None),
        (Method::GET, "/api/v1/users/admin/links", None),
    ] {
        let (status, seen) = suite.json(method.clone(), path, Some(&eve), body.clone()).await;
        assert!(matches!(status, 403 | 404), "{method} {path}: {status} {seen}");
        let (status, _) = suite.json(method, path, None, body).await;
        assert_eq!(status, 401, "{path}");
    }
    let (status, taken) =
        suite.json(Method::POST, "/api/v1/upstreams", Some(&admin), Some(json!({ "name": "corp", "settings": settings(&slapd), "secret": "x" }))).await;
    assert_eq!((status, taken["code"].as_str()), (409, Some("identity.name_taken")));
    // The owner of an organisation makes one for it, but decides nothing beyond it.
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&eve), Some(json!({ "name": "evecorp" }))).await.0, 201);
    let mine = |change: &dyn Fn(&mut Value)| {
        let mut all = settings(&slapd);
        all["allow_private"] = json!(false);
        change(&mut all);
        json!({ "name": "mine", "org": "evecorp", "settings": all, "secret": "x" })
    };
    for (change, status) in [
        (json!({ "trusted_domains": ["corp.example"] }), 403),
        (json!({ "domains": ["corp.example"] }), 403),
        (json!({ "allow_private": true }), 403),
        (json!({ "mappings": [{ "group": "dev", "role": "admin", "at": "platform" }] }), 400),
        (json!({ "rules": { "default_org": "other" } }), 400),
        (json!({}), 201),
    ] {
        let body = mine(&|s| s.as_object_mut().unwrap().extend(change.as_object().unwrap().clone()));
        let (seen, answer) = suite.json(Method::POST, "/api/v1/upstreams", Some(&eve), Some(body)).await;
        assert_eq!(seen, status, "{change}: {answer}");
    }
    assert_eq!(suite.json(Method::DELETE, "/api/v1/upstreams/corp", Some(&admin), None).await.0, 204);
    assert_eq!(suite.json(Method::GET, "/api/v1/upstreams/corp", Some(&admin), None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_kept_in_step() {
    gantry_testkit::clause("6.5.2.2.g");
    gantry_testkit::clause("6.5.2.2.i");
    let mut ldif = String::new();
    for i in 0..1_203 {
        let _ = write!(ldif, "{}", mailed(&format!("user{i}")));
    }
    ldif += &group("leads", &[&dn("user1")]);
    ldif += &group("dev", &[&dn("user0"), "cn=leads,ou=groups,dc=example,dc=org"]);
    ldif += &group("loop", &["cn=loop,ou=groups,dc=example,dc=org", &dn("user2")]);
    let Some(slapd) = Slapd::start(&ldif) else { return };
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&admin), Some(json!({ "name": "acme" }))).await.0, 201);
    assert_eq!(suite.post(&admin, "/api/v1/orgs/acme/teams", json!({ "name": "developers" })).await.0, 201);
    let team = async || {
        let (status, members) = suite.get(&admin, "/api/v1/orgs/acme/teams/developers/members").await;
        assert_eq!(status, 200, "{members}");
        let mut names: Vec<String> = members["items"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap_or_default().to_owned()).collect();
        names.sort();
        names
    };
    let mut all = settings(&slapd);
    all["rules"] = json!({ "default_org": "acme", "default_role": "viewer" });
    all["mappings"] = json!([
        { "group": "cn=dev,ou=groups,dc=example,dc=org", "role": "editor", "at": "acme" },
        { "group": "leads", "role": "admin", "at": "platform" },
        { "group": "dev", "role": "admin", "at": "acme/nowhere" },
        { "group": "dev", "team": "acme/developers" },
    ]);
    create(&suite, &admin, &all).await;
    let run = sync(&suite, &admin, "changes").await;
    assert_eq!((run["result"].as_str(), run["extent"].as_str()), (Some("ok"), Some("full")), "the first one is whole: {run}");
    assert_eq!(
        (run["report"]["seen"].as_u64(), run["report"]["created"].as_u64(), run["report"]["groups"].as_u64()),
        (Some(1_203), Some(1_203), Some(3)),
        "{run}"
    );
    assert!(run["report"]["remarks"].to_string().contains("acme/nowhere"), "{run}");
    let roles = async |name: &str| {
        let (_, user) = suite.json(Method::GET, &format!("/api/v1/users/{name}"), Some(&admin), None).await;
        let subject = user["subject"].as_str().unwrap_or_else(|| panic!("{name}: {user}")).to_owned();
        let mut held = Vec::new();
        for at in ["", "?org=acme"] {
            let join = if at.is_empty() { "?" } else { "&" };
            let mut cursor = String::new();
            loop {
                let (_, page) = suite.json(Method::GET, &format!("/api/v1/bindings{at}{join}limit=500{cursor}"), Some(&admin), None).await;
                held.extend(
                    page["items"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|b| b["subject"] == subject.as_str())
                        .map(|b| format!("{}:{}", b["scope_name"].as_str().unwrap(), b["role"].as_str().unwrap())),
                );
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
        }
        held.sort();
        (user, held)
    };
    assert_eq!(roles("user0").await.1, ["acme:editor", "acme:viewer"]);
    assert_eq!(roles("user1").await.1, ["acme:editor", "acme:viewer", "platform:admin"], "a group in a group");
    assert_eq!(roles("user2").await.1, ["acme:viewer"], "a group in itself");
    assert_eq!(team().await, ["user0", "user1"]);
    let (_, members) = suite.json(Method::GET, "/api/v1/orgs/acme/members?limit=500", Some(&admin), None).await;
    assert_eq!(members["items"].as_array().unwrap().len(), 500, "and more");

    // Nothing has changed: nothing is done.
    let run = sync(&suite, &admin, "full").await;
    for idle in ["created", "changed", "suspended", "resumed", "roles_given", "roles_taken"] {
        assert_eq!(run["report"][idle], 0, "{idle}: {run}");
    }

    // Changes: an address and a name, a group, somebody who leaves the filter, somebody new.
    let mut ldap = root(&slapd).await;
    replace(&mut ldap, &dn("user3"), "mail", "three@corp.example").await;
    replace(&mut ldap, &dn("user3"), "cn", "Three").await;
    replace(&mut ldap, "cn=leads,ou=groups,dc=example,dc=org", "member", &dn("user4")).await;
    ldap.delete(&dn("user5")).await.unwrap().success().unwrap();
    let (new, attributes) = (dn("neo"), [("objectClass", "inetOrgPerson"), ("uid", "neo"), ("cn", "Neo"), ("sn", "Neo"), ("userPassword", "pw-neo")]);
    ldap.add(&new, attributes.iter().map(|(k, v)| (*k, HashSet::from([*v]))).collect()).await.unwrap().success().unwrap();
    let run = sync(&suite, &admin, "changes").await;
    let counts = ["created", "changed", "suspended", "roles_taken"].map(|k| run["report"][k].as_u64().unwrap());
    assert_eq!(run["extent"], "changes", "{run}");
    assert_eq!(counts, [1, 1, 1, 3], "{run}");
    let (three, _) = roles("user3").await;
    assert_eq!((three["email"].as_str(), three["display_name"].as_str()), (Some("three@corp.example"), Some("Three")));
    assert_eq!(roles("user1").await.1, ["acme:viewer"], "no lead any more");
    assert_eq!(roles("user4").await.1, ["acme:editor", "acme:viewer", "platform:admin"]);
    assert_eq!(team().await, ["user0", "user4"]);
    let (five, held) = roles("user5").await;
    assert_eq!((five["state"].as_str(), held), (Some("suspended"), vec![]), "gone there, suspended here, with no role");
    assert_eq!(roles("neo").await.0["email"], "neo@corp.invalid", "who has no address gets one that no mail reaches");

    // A role given by hand is nobody else's to take.
    let (four, _) = roles("user4").await;
    let by_hand = json!({ "subject": four["subject"], "role": "editor" });
    assert_eq!(suite.json(Method::POST, "/api/v1/bindings", Some(&admin), Some(by_hand)).await.0, 201);
    replace(&mut ldap, "cn=leads,ou=groups,dc=example,dc=org", "member", &dn("user6")).await;
    sync(&suite, &admin, "changes").await;
    assert_eq!(roles("user4").await.1, ["acme:viewer", "platform:editor"]);

    // Out of the filter and back: the same account, resumed.
    all["connection"]["ldap"]["user_filter"] = json!("(&(objectClass=inetOrgPerson)(!(employeeType=away)))");
    assert_eq!(suite.json(Method::PUT, "/api/v1/upstreams/corp", Some(&admin), Some(json!({ "settings": all }))).await.0, 200);
    replace(&mut ldap, &dn("user7"), "employeeType", "away").await;
    assert_eq!(sync(&suite, &admin, "changes").await["report"]["suspended"], 1);
    let before = roles("user7").await.0;
    assert_eq!(before["state"], "suspended");
    replace(&mut ldap, &dn("user7"), "employeeType", "here").await;
    assert_eq!(sync(&suite, &admin, "changes").await["report"]["resumed"], 1);
    let (after, held) = roles("user7").await;
    assert_eq!((after["id"] == before["id"], after["state"].as_str(), held.as_slice()), (true, Some("active"), ["acme:viewer".to_owned()].as_slice()));

    // A directory that shows nobody is broken, not empty.
    all["connection"]["ldap"]["user_filter"] = json!("(uid=nobody-at-all)");
    suite.json(Method::PUT, "/api/v1/upstreams/corp", Some(&admin), Some(json!({ "settings": all }))).await;
    let run = sync(&suite, &admin, "full").await;
    assert_eq!((run["result"].as_str(), roles("user8").await.0["state"].as_str()), (Some("failed"), Some("active")), "{run}");

    // The upstream goes: links and roles too, the people stay.
    assert_eq!(suite.json(Method::DELETE, "/api/v1/upstreams/corp", Some(&admin), None).await.0, 204);
    assert_eq!(roles("user8").await.0["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_with_their_directory_password() {
    gantry_testkit::clause("6.5.2.2.g");
    let ldif = format!("{}{}{}{}", mailed("ada"), mailed("bob"), mailed("cyd"), group("dev", &[&dn("ada")]));
    let Some(mut slapd) = Slapd::start(&ldif) else { return };
    let suite = Suite::with(gantry_identity::config::Config { captcha_after: 0, ..Default::default() }).await;
    let admin = suite.admin().await;
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&admin), Some(json!({ "name": "acme" }))).await.0, 201);
    let mut all = settings(&slapd);
    // The first server is dead: the second one is asked.
    all["connection"]["ldap"]["servers"] = json!([format!("ldaps://localhost:{}", free_port()), slapd.url()]);
    all["mappings"] = json!([{ "group": "dev", "role": "editor", "at": "acme" }]);
    create(&suite, &admin, &all).await;
    suite.register("local").await;

    let (status, body) = try_login(&suite, "ada", "pw-ada").await;
    assert_eq!(status, 303, "{body}");
    let tokens = suite.tokens_with("ada@corp.example", "pw-ada").await;
    let (_, me) = suite.json(Method::GET, "/api/v1/me", tokens["access_token"].as_str(), None).await;
    assert_eq!((me["username"].as_str(), me["groups"].to_string().as_str()), (Some("ada"), "[\"acme:editor\"]"), "{me}");

    // Everything that must not work, with the right password of somebody.
    let (_, wrong) = try_login(&suite, "ada", "wrong").await;
    let plain = |body: &str| body.lines().filter(|l| !["csrf", "username", "nonce"].iter().any(|word| l.contains(word))).collect::<String>();
    for (name, password) in [
        ("ada", ""),
        ("nobody", "pw-ada"),
        ("*", "pw-ada"),
        ("ad*", "pw-ada"),
        ("ada)(objectClass=*", "pw-ada"),
        ("*)(uid=ada", "pw-ada"),
        ("ada)(&)", "pw-ada"),
        ("ada\u{0}", "pw-ada"),
        ("\\61da", "pw-ada"),
        ("uid=ada,ou=people,dc=example,dc=org", "pw-ada"),
        ("gantry", slapd::SEARCHER.1),
        ("local", "pw-local"),
    ] {
        let (status, body) = try_login(&suite, name, password).await;
        assert_eq!(status, 401, "{name:?}");
        assert_eq!(plain(&body), plain(&wrong), "{name:?}");
    }
    assert_eq!(try_login(&suite, "local", PASSWORD).await.0, 303);

    // Attempts are limited here too, before the directory is asked.
    for _ in 0..10 {
        try_login(&suite, "bob", "wrong").await;
    }
    assert_eq!(try_login(&suite, "bob", "pw-bob").await.0, 429);

    // Group changes count at the next sign-in.
    let mut ldap = root(&slapd).await;
    replace(&mut ldap, "cn=dev,ou=groups,dc=example,dc=org", "member", &dn("cyd")).await;
    let tokens = suite.tokens_with("ada", "pw-ada").await;
    let (_, me) = suite.json(Method::GET, "/api/v1/me", tokens["access_token"].as_str(), None).await;
    assert_eq!(me["groups"], json!([]), "{me}");

    // The directory is down: that is said, and local accounts work.
    slapd.stop();
    let (status, body) = try_login(&suite, "ada", "pw-ada").await;
    assert!(status == 503 && body.contains("directory cannot be reached"), "{status} {body}");
    let (status, body) = try_login(&suite, "local", "wrong").await;
    assert!(status == 503 && body.contains("directory cannot be reached"), "the same for a name that is here: {status} {body}");
    assert_eq!(try_login(&suite, "local", PASSWORD).await.0, 303);
    slapd.launch();
    assert_eq!(try_login(&suite, "cyd", "pw-cyd").await.0, 303, "a server that came back is used");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_linked_by_proof_only() {
    let ldif = format!("{}{}", person("boss", "mail: ada@example.org\n"), mailed("cyd"));
    let Some(slapd) = Slapd::start(&ldif) else { return };
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    create(&suite, &admin, &settings(&slapd)).await;
    suite.register("ada").await;
    suite.register("eve").await;

    // The directory says the same address: that alone joins nothing.
    let (status, body) = try_login(&suite, "boss", "pw-boss").await;
    assert!(status == 409 && body.contains("with your e-mail address is here already"), "{status} {body}");

    let ada = suite.access("ada").await;
    let link = |name: &str, password: &str| Some(json!({ "upstream": "corp", "username": name, "password": password }));
    for (name, password) in [("boss", "wrong"), ("boss", ""), ("*", "pw-boss"), ("bo*", "pw-boss")] {
        let (status, seen) = suite.json(Method::POST, "/api/v1/me/links", Some(&ada), link(name, password)).await;
        assert_eq!(status, 400, "{name}: {seen}");
    }
    let (status, links) = suite.json(Method::POST, "/api/v1/me/links", Some(&ada), link("boss", "pw-boss")).await;
    assert_eq!(status, 201, "{links}");
    let me = suite.tokens_with("boss", "pw-boss").await;
    let (_, me) = suite.json(Method::GET, "/api/v1/me", me["access_token"].as_str(), None).await;
    assert_eq!(me["username"], "ada", "the linked account is hers");

    let eve = suite.access("eve").await;
    let (status, seen) = suite.json(Method::POST, "/api/v1/me/links", Some(&eve), link("boss", "pw-boss")).await;
    assert_eq!((status, seen["code"].as_str()), (409, Some("identity.link_taken")));
    let (status, seen) = suite.json(Method::POST, "/api/v1/me/links", Some(&ada), link("cyd", "pw-cyd")).await;
    assert_eq!((status, seen["code"].as_str()), (409, Some("identity.link_exists")));
    let id = links["items"][0]["id"].as_str().unwrap();
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/me/links/{id}"), Some(&eve), None).await.0, 404, "not hers");
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/me/links/{id}"), Some(&ada), None).await.0, 204);
    assert_eq!(try_login(&suite, "boss", "pw-boss").await.0, 409, "unlinked");

    // Who came by the directory has no other way in.
    let tokens = suite.tokens_with("cyd", "pw-cyd").await;
    let cyd = tokens["access_token"].as_str();
    let (_, links) = suite.json(Method::GET, "/api/v1/me/links", cyd, None).await;
    let id = links["items"][0]["id"].as_str().unwrap();
    let (status, seen) = suite.json(Method::DELETE, &format!("/api/v1/me/links/{id}"), cyd, None).await;
    assert_eq!((status, seen["code"].as_str()), (409, Some("identity.last_way_in")));
    // Erased here, the person may come again as somebody new.
    let (_, person) = suite.json(Method::GET, "/api/v1/users/cyd", Some(&admin), None).await;
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/users/{}", person["id"].as_str().unwrap()), Some(&admin), None).await.0, 204);
    assert_eq!(try_login(&suite, "cyd", "pw-cyd").await.0, 303);
}

/// Servers that take connections and never say anything: those of organisations leave room for those of the platform.
#[tokio::test(flavor = "multi_thread")]
async fn slow_directories_of_organisations_hold_up_nobody_else() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    assert_eq!(suite.post(&admin, "/api/v1/orgs", json!({ "name": "acme" })).await.0, 201);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("ldap://{}", silent.local_addr().unwrap());
    let settings = json!({
        "allow_private": true, "sync_minutes": 0,
        "connection": { "ldap": { "servers": [server], "plaintext": true, "timeout_seconds": 60, "bind_dn": "cn=x", "user_base": PEOPLE }},
    });
    for (name, org) in [("one", Some("acme")), ("two", Some("acme")), ("platform", None)] {
        let body = json!({ "name": name, "org": org, "settings": settings, "secret": "s" });
        let (status, made) = suite.post(&admin, "/api/v1/upstreams", body).await;
        assert_eq!(status, 201, "{made}");
    }
    let begin = async |name: &str| suite.post(&admin, &format!("/api/v1/upstreams/{name}/syncs"), json!({})).await;
    // With the connections that a test has, one at a time.
    assert_eq!(begin("one").await.0, 202);
    let (status, refused) = begin("two").await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("identity.sync_running")), "{refused}");
    let (status, begun) = begin("platform").await;
    assert_eq!(status, 202, "{begun}");

    // With its organisation an upstream goes, and its name is free.
    assert_eq!(suite.delete(&admin, "/api/v1/orgs/acme?confirm=acme").await, 204);
    assert_eq!(suite.get(&admin, "/api/v1/upstreams/two").await.0, 404);
    let (status, made) = suite.post(&admin, "/api/v1/upstreams", json!({ "name": "two", "settings": settings, "secret": "s" })).await;
    assert_eq!(status, 201, "{made}");
}
