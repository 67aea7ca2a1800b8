//! A real Active Directory domain (Samba's controller): the flavour's own defaults, `objectGUID`, nested groups followed by the
//! server, `userAccountControl`, changes by `uSNChanged`, paging, LDAPS and StartTLS, and what it says when it refuses.

use std::fmt::Write;

use gantry_testkit::{DomainController, domain_controller as dc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Suite;

fn settings(controller: &DomainController) -> Value {
    json!({
        "allow_private": true, "ca_pem": controller.ca_pem, "sync_minutes": 0,
        "connection": { "ldap": {
            "flavour": "active_directory", "servers": [controller.tls_url()], "bind_dn": dc::SEARCHER.0,
            "user_base": dc::BASE, "group_base": dc::BASE, "page_size": 7,
            // The domain's own accounts have no address.
            "user_filter": "(&(objectCategory=person)(objectClass=user)(mail=*))",
        }},
        "rules": { "default_org": "acme", "default_role": "viewer" },
        "mappings": [
            { "group": format!("CN=everybody,{}", dc::PEOPLE), "role": "editor", "at": "acme" },
            { "group": "leads", "role": "admin", "at": "acme" },
        ],
    })
}

fn mailed(name: &str) -> String {
    dc::person(name, &format!("mail: {name}@corp.example\n"))
}

async fn sync(suite: &Suite, admin: &str, extent: &str) -> Value {
    let run = suite.synchronised(admin, "corp", json!({ "extent": extent })).await;
    assert_eq!(run["result"], "ok", "{run}");
    run
}

/// The step that failed, and what was said of all.
async fn trial(suite: &Suite, admin: &str, settings: &Value, secret: &str) -> (Option<Value>, String) {
    let body = json!({ "settings": settings, "secret": secret, "username": "ada" });
    let (status, seen) = suite.json(Method::POST, "/api/v1/upstream-trials", Some(admin), Some(body)).await;
    assert_eq!(status, 200, "{seen}");
    (seen["steps"].as_array().unwrap().iter().find(|s| s["ok"] == false).cloned(), seen.to_string())
}

/// What somebody is in, in the order of the alphabet.
async fn groups(suite: &Suite, name: &str, password: &str) -> Value {
    let tokens = suite.tokens_with(name, password).await;
    let (_, me) = suite.json(Method::GET, "/api/v1/me", tokens["access_token"].as_str(), None).await;
    let mut all: Vec<&str> = me["groups"].as_array().unwrap_or_else(|| panic!("{me}")).iter().filter_map(Value::as_str).collect();
    all.sort_unstable();
    json!(all)
}

async fn status_of_login(suite: &Suite, name: &str, password: &str) -> u16 {
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    browser.submit_login(&page, name, password).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_an_active_directory_domain_are_synchronised_and_sign_in() {
    gantry_testkit::clause("6.5.2.2.g");
    let Some(controller) = DomainController::start() else { return };
    let mut ldif = String::new();
    for name in ["ada", "bob", "cyd", "off"] {
        let _ = write!(ldif, "{}", mailed(name));
    }
    for i in 0..20 {
        let _ = write!(ldif, "{}", mailed(&format!("bulk{i}")));
    }
    // ada leads; leads are in dev, dev is in everybody.
    ldif += &(dc::group("leads", &["ada"]) + &dc::group("dev", &["leads", "bob"]) + &dc::group("everybody", &["dev"]));
    let of =
        |name: &str, attribute: &str, value: &str| format!("dn: CN={name},{}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n\n", dc::PEOPLE);
    controller.change(&ldif, &[("ada", "Pw-ada-0123"), ("bob", "Pw-bob-0123"), ("cyd", "Pw-cyd-0123"), ("off", "Pw-off-0123")]);
    controller.change(&of("off", "userAccountControl", "514"), &[]);

    let suite = Suite::with(gantry_identity::config::Config { captcha_after: 0, ..Default::default() }).await;
    let admin = suite.admin().await;
    assert_eq!(suite.post(&admin, "/api/v1/orgs", json!({ "name": "acme" })).await.0, 201);
    let all = settings(&controller);
    let with = |key: &str, value: Value| {
        let mut changed = all.clone();
        changed["connection"]["ldap"][key] = value;
        changed
    };

    // The connection test, by both ways of encryption, and what the controller says when it refuses.
    let (failed, seen) = trial(&suite, &admin, &all, dc::SEARCHER.1).await;
    assert_eq!(failed, None, "{seen}");
    assert!(seen.contains("24 people match") && seen.contains("CN=everybody") && seen.contains("CN=dev"), "groups in groups: {seen}");
    let (failed, seen) = trial(&suite, &admin, &with("servers", json!([controller.url()])), dc::SEARCHER.1).await;
    assert_eq!(failed, None, "StartTLS: {seen}");
    let mut plain = with("servers", json!([controller.url()]));
    plain["connection"]["ldap"]["starttls"] = json!(false);
    plain["connection"]["ldap"]["plaintext"] = json!(true);
    for (settings, secret, step, says) in [
        (all.clone(), "wrong", "bind", "wrong"),
        (plain, dc::SEARCHER.1, "bind", "encrypted connection"),
        (with("bind_dn", json!("off@corp.example")), "Pw-off-0123", "bind", "switched off"),
        (with("user_base", json!("OU=Nowhere,DC=corp,DC=example")), dc::SEARCHER.1, "base", "base does not exist"),
    ] {
        let (failed, seen) = trial(&suite, &admin, &settings, secret).await;
        let failed = failed.unwrap_or_else(|| panic!("{says}: {seen}"));
        assert!(failed["step"] == step && failed["detail"].as_str().unwrap().contains(says), "{says}: {failed}");
    }

    let made = json!({ "name": "corp", "settings": all, "secret": dc::SEARCHER.1 });
    assert_eq!(suite.post(&admin, "/api/v1/upstreams", made).await.0, 201);
    let run = sync(&suite, &admin, "full").await;
    assert_eq!((run["report"]["seen"].as_u64(), run["report"]["created"].as_u64()), (Some(24), Some(23)), "one is switched off: {run}");

    // In by sAMAccountName and by userPrincipalName; groups within groups count.
    assert_eq!(groups(&suite, "ada", "Pw-ada-0123").await, json!(["acme:admin", "acme:editor", "acme:viewer"]));
    assert_eq!(groups(&suite, "bob@corp.example", "Pw-bob-0123").await, json!(["acme:editor", "acme:viewer"]));
    assert_eq!(groups(&suite, "cyd", "Pw-cyd-0123").await, json!(["acme:viewer"]));
    for (name, password) in [("off", "Pw-off-0123"), ("ada", "wrong"), ("ada", ""), ("a*", "Pw-ada-0123"), ("gantry", dc::SEARCHER.1)] {
        assert_eq!(status_of_login(&suite, name, password).await, 401, "{name} {password}");
    }

    // Only what changed is read: a new name and address (the same account by its objectGUID), a group, somebody switched off,
    // somebody whose time is over, somebody gone, somebody new.
    let id = |user: &Value| user["id"].clone();
    let (_, before) = suite.get(&admin, "/api/v1/users/cyd").await;
    let mut ldif = of("cyd", "mail", "cydney@corp.example") + &of("cyd", "displayName", "Cydney") + &of("bulk0", "userAccountControl", "514");
    ldif += &of("bulk1", "accountExpires", "133801632000000000");
    let _ = write!(ldif, "dn: CN=leads,{0}\nchangetype: modify\nadd: member\nmember: CN=cyd,{0}\n-\ndelete: member\nmember: CN=ada,{0}\n\n", dc::PEOPLE);
    controller.delete("bulk2");
    controller.rename("bob", "Robert");
    controller.change(&(ldif + &mailed("neo")), &[("neo", "Pw-neo-0123")]);
    let run = sync(&suite, &admin, "changes").await;
    let counts = ["seen", "created", "changed", "suspended"].map(|k| run["report"][k].as_u64().unwrap());
    assert_eq!((run["extent"].as_str(), counts), (Some("changes"), [24, 1, 1, 3]), "{run}");
    let (_, after) = suite.get(&admin, "/api/v1/users/cyd").await;
    assert_eq!((id(&after), after["email"].as_str(), after["display_name"].as_str()), (id(&before), Some("cydney@corp.example"), Some("Cydney")));
    for gone in ["bulk0", "bulk1", "bulk2"] {
        assert_eq!(suite.get(&admin, &format!("/api/v1/users/{gone}")).await.1["state"], "suspended", "{gone}");
    }
    assert_eq!(groups(&suite, "cyd", "Pw-cyd-0123").await, json!(["acme:admin", "acme:editor", "acme:viewer"]), "leads now");
    assert_eq!(groups(&suite, "ada", "Pw-ada-0123").await, json!(["acme:viewer"]), "and she no longer");
    assert_eq!(groups(&suite, "bob", "Pw-bob-0123").await, json!(["acme:editor", "acme:viewer"]), "by another distinguished name");

    // Nothing changed: nothing is done.
    let run = sync(&suite, &admin, "full").await;
    for idle in ["created", "changed", "suspended", "resumed", "roles_given", "roles_taken"] {
        assert_eq!(run["report"][idle], 0, "{idle}: {run}");
    }
    // Switched on again: the same account.
    controller.change(&of("bulk0", "userAccountControl", "544"), &[]);
    assert_eq!(sync(&suite, &admin, "changes").await["report"]["resumed"], 1);
}
