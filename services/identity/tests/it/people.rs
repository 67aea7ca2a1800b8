//! Lists of people: search, import, export, merge; organisations change hands and say what a deletion takes along.

use std::collections::BTreeSet;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Suite};

fn names(page: &Value) -> BTreeSet<&str> {
    page["items"].as_array().unwrap_or_else(|| panic!("{page}")).iter().map(|i| i["username"].as_str().unwrap()).collect()
}

async fn import(suite: &Suite, token: &str, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let url = format!("{}{path}", suite.base);
    let response = suite.world.http.post(url).bearer_auth(token).header(CONTENT_TYPE, kind).body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_found_by_beginning_address_state_and_organisation() {
    gantry_testkit::clause("6.5.1.1.a");
    gantry_testkit::clause("6.5.1.1.b");
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let admin = suite.admin().await;
    let body = json!({ "username": "grace", "email": "grace@navy.mil", "display_name": "Grace Brewster Hopperfield-Murray" });
    assert_eq!(suite.post(&admin, "/api/v1/users", body).await.0, 201);
    let find = async |token: &str, query: &str| suite.get(token, &format!("/api/v1/users?{query}")).await;
    for (query, expected) in [
        ("q=gr", vec!["grace"]),
        ("q=GRACE", vec!["grace"]),
        ("q=brew", vec!["grace"]),
        ("q=hopperfield-mur", vec!["grace"]),
        ("q=hopperfield-mux", vec![]),
        ("q=race", vec![]),
        ("q=Grace@navy.mil", vec!["grace"]),
        ("q=grace@navy", vec![]),
        ("org=acme", vec!["ada", "bob", "eve"]),
        ("org=acme&q=e", vec!["eve"]),
        ("q=e&state=suspended", vec![]),
    ] {
        let (status, page) = find(&admin, query).await;
        assert_eq!((status, names(&page)), (200, expected.into_iter().collect()), "{query}");
    }
    assert_eq!(names(&find(&ada, "q=gr").await.1), BTreeSet::new(), "she is no colleague");
    assert_eq!(names(&find(&ada, "q=b").await.1), BTreeSet::from(["bob"]));
    assert_eq!(find(&admin, "state=odd").await.0, 400);
    assert_eq!(find(&admin, "org=nope").await.0, 404);
    let (_, changed) = suite.patch(&admin, "/api/v1/users/eve", json!({ "suspended": true, "reason": "left" })).await;
    assert_eq!(changed["state"], "suspended", "{changed}");
    assert_eq!(names(&find(&admin, "q=e&state=suspended").await.1), BTreeSet::from(["eve"]));
    // Pages: every user once, in a fixed order.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = find(&admin, &format!("limit=2{cursor}")).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|i| i["username"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["admin", "ada", "bob", "eve", "grace"]);
    // A new name is found, the old one no longer; the erased are gone.
    assert_eq!(suite.patch(&admin, "/api/v1/users/grace", json!({ "display_name": "Admiral" })).await.0, 200);
    assert_eq!((names(&find(&admin, "q=adm").await.1).len(), names(&find(&admin, "q=brew").await.1).len()), (2, 0));
    assert_eq!(suite.delete(&admin, "/api/v1/users/grace").await, 204);
    assert_eq!(names(&find(&admin, "q=gr").await.1), BTreeSet::new());
    let terms: i64 = sqlx::query_scalar("select count(*) from user_terms t left join users u on u.id = t.user_id where u.id is null")
        .fetch_one(&suite.host.db().pool)
        .await
        .unwrap();
    assert_eq!(terms, 0, "nothing of the erased is left to search");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_tells_of_each_line_and_a_dry_run_changes_nothing() {
    gantry_testkit::clause("6.5.1.1.a");
    gantry_testkit::clause("6.5.2.2.i");
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (admin, ada) = (suite.admin().await, suite.access("ada").await);
    let text = "username,email,display_name\nlinus,linus@example.org,Linus\nada,ada@example.org,\nada,else@example.org,\nOdd Name,x,\nlinus,other@example.org,\n\"ken\",ken@example.org,\"Ken, T.\"\n";
    assert_eq!(import(&suite, &ada, "/api/v1/users/import", "text/csv", text).await.0, 403);
    let expected = ["created", "unchanged", "failed", "failed", "failed", "created"];
    for dry_run in [true, false] {
        let (status, report) = import(&suite, &admin, &format!("/api/v1/users/import?dry_run={dry_run}"), "text/csv", text).await;
        assert_eq!(status, 200, "{report}");
        let results: Vec<_> = report["lines"].as_array().unwrap().iter().map(|l| l["result"].as_str().unwrap()).collect();
        assert_eq!(results, expected, "{report}");
        assert_eq!(report["lines"][3]["errors"].as_array().unwrap().len(), 2, "every fault of a line: {report}");
        let (_, there) = suite.get(&admin, "/api/v1/users?q=linus").await;
        assert_eq!(names(&there).len(), usize::from(!dry_run));
    }
    let (_, again) =
        import(&suite, &admin, "/api/v1/users/import", "application/json", json!([{ "username": "linus", "email": "linus@example.org" }]).to_string()).await;
    assert_eq!((again["unchanged"].as_u64(), again["created"].as_u64()), (Some(1), Some(0)), "{again}");
    for (kind, body) in [
        ("text/csv", b"username,email\n\xff\xfe,x@y.z\n".to_vec()),
        ("text/csv", b"username\nx\n".to_vec()),
        ("text/csv", b"username,email\n\"x,y\n".to_vec()),
        ("application/json", b"[{\"username\":\"x\",\"root\":true}]".to_vec()),
        ("application/json", format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes()),
        ("text/plain", b"x".to_vec()),
    ] {
        let (status, problem) = import(&suite, &admin, "/api/v1/users/import", kind, body).await;
        assert_eq!(status, 400, "{kind}: {problem}");
    }
    let export = suite.world.http.get(format!("{}/api/v1/users/export", suite.base)).bearer_auth(&admin).send().await.unwrap().text().await.unwrap();
    assert!(export.starts_with("id,username,email") && export.contains("linus@example.org") && export.contains("\"Ken, T.\""), "{export}");
    let (status, list) = suite.get(&admin, "/api/v1/users/export?format=json").await;
    assert_eq!((status, list.as_array().unwrap().len()), (200, 4), "{list}");
    assert!(!list.to_string().contains("hash") && !export.contains("argon2"));
    assert_eq!(suite.get(&ada, "/api/v1/users/export").await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_bring_their_passwords_from_other_systems_and_get_a_hash_of_ours_at_their_sign_in() {
    gantry_testkit::clause("6.5.2.2.i");
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let known: Vec<(&str, &str)> = include_str!("../hashes.txt").lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(' ')).collect();
    let line =
        |(i, (hash, _)): (usize, &(&str, &str))| json!({ "username": format!("guest{i}"), "email": format!("guest{i}@example.org"), "password_hash": hash });
    let lines = Value::from(known.iter().enumerate().map(line).collect::<Vec<_>>()).to_string();
    let (status, report) = import(&suite, &admin, "/api/v1/users/import", "application/json", lines).await;
    assert_eq!((status, report["created"].as_u64()), (200, u64::try_from(known.len()).ok()), "{report}");
    let md5 = json!([{ "username": "old", "email": "old@example.org", "password_hash": "5f4dcc3b5aa765d61d8327deb882cf99" }]).to_string();
    let (_, report) = import(&suite, &admin, "/api/v1/users/import", "application/json", md5).await;
    assert_eq!(report["failed"].as_u64(), Some(1), "{report}");

    let made_anew = async || {
        let sql = "select count(*) from events where kind = 'user.password-changed'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&suite.host.db().pool).await.unwrap()
    };
    let before = made_anew().await;
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    assert_eq!(browser.submit_login(&page, "guest0", "wrong horse").await.status, 401);
    assert_eq!(made_anew().await, before);
    for (i, (hash, password)) in known.iter().enumerate() {
        suite.tokens_with(&format!("guest{i}"), password).await;
        assert_eq!(made_anew().await - before, i64::try_from(i + 1).unwrap(), "{hash}");
    }
    suite.tokens_with("guest0", known[0].1).await;
    assert_eq!(made_anew().await - before, i64::try_from(known.len()).unwrap(), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_become_one_with_all_that_both_had() {
    let suite = Suite::start().await;
    let [ada, bob, _] = suite.acme().await;
    let admin = suite.admin().await;
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await.0, 201);
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/teams/dev/members/bob", json!({})).await, 204);
    assert_eq!(suite.post(&bob, "/api/v1/orgs", json!({ "name": "bobs" })).await.0, 201);
    suite.register("robert").await;
    let robert = suite.access("robert").await;
    let merge = |confirm: &str| json!({ "from": "bob", "confirm": confirm });
    assert_eq!(suite.post(&robert, "/api/v1/users/robert/merge", merge("bob")).await.0, 403);
    assert_eq!(suite.post(&admin, "/api/v1/users/robert/merge", merge("bobby")).await.0, 400);
    assert_eq!(suite.post(&admin, "/api/v1/users/bob/merge", merge("bob")).await.0, 400);
    let (status, problem) = suite.post(&admin, "/api/v1/users/robert/merge", merge("bob")).await;
    assert_eq!(status, 204, "{problem}");
    assert_eq!(suite.get(&robert, "/api/v1/orgs/bobs").await.1["role"], "admin", "he owns it now");
    assert_eq!(suite.get(&robert, "/api/v1/orgs/acme").await.1["role"], "viewer");
    let (_, members) = suite.get(&ada, "/api/v1/orgs/acme/teams/dev/members").await;
    assert_eq!(members["items"][0]["name"], "robert", "{members}");
    assert_eq!(suite.get(&admin, "/api/v1/users/bob").await.0, 404);
    assert_eq!(suite.get(&bob, "/api/v1/orgs/acme").await.0, 404, "the old account's token is worth nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_reset_ends_sessions_and_shows_in_the_profile() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (admin, ada) = (suite.admin().await, suite.access("ada").await);
    let path = "/api/v1/users/ada/require-password-reset";
    assert_eq!(suite.post(&ada, path, json!({})).await.0, 403);
    assert_eq!(suite.post(&admin, path, json!({ "reason": "leaked elsewhere" })).await.0, 204);
    assert_eq!(suite.get(&ada, "/api/v1/me").await.1["must_change_password"], true);
    assert_eq!(suite.get(&ada, "/api/v1/sessions").await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_and_ends_somebodys_sessions() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.register("eve").await;
    let (admin, ada, eve) = (suite.admin().await, suite.access("ada").await, suite.access("eve").await);
    let path = "/api/v1/users/ada/sessions";
    assert_eq!(suite.get(&eve, path).await.0, 403);
    let (_, sessions) = suite.get(&admin, path).await;
    let id = sessions["items"][0]["id"].as_str().unwrap();
    let one = format!("{path}/{id}");
    assert_eq!(suite.json(Method::DELETE, &one, Some(&eve), None).await.0, 403);
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/users/eve/sessions/{id}"), Some(&admin), None).await.0, 404, "it is not hers");
    assert_eq!(suite.json(Method::DELETE, &one, Some(&admin), None).await.0, 204);
    assert_eq!(suite.json(Method::DELETE, &one, Some(&admin), None).await.0, 404);
    assert_eq!(suite.get(&ada, "/api/v1/sessions").await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_users_by_a_custom_role_cannot_become_an_administrator() {
    let suite = Suite::start().await;
    for name in ["ada", "bob"] {
        suite.register(name).await;
    }
    let (admin, ada) = (suite.admin().await, suite.access("ada").await);
    assert_eq!(suite.patch(&ada, "/api/v1/users/bob", json!({ "suspended": true })).await.0, 404);
    let role = json!({ "name": "helpdesk", "permissions": ["identity.users-read", "identity.users-write"] });
    assert_eq!(suite.post(&admin, "/api/v1/roles", role).await.0, 201);
    assert_eq!(suite.post(&admin, "/api/v1/bindings", json!({ "subject": "ada", "role": "helpdesk" })).await.0, 201);
    assert_eq!(suite.patch(&ada, "/api/v1/users/bob", json!({ "suspended": true, "reason": "left" })).await.0, 200);
    assert_eq!(suite.patch(&ada, "/api/v1/users/bob", json!({ "suspended": false })).await.0, 200);
    let take_over = json!({ "password": "0ther-Pumice_olive" });
    let (status, refused) = suite.patch(&ada, "/api/v1/users/admin", take_over).await;
    assert!(status == 403 && refused["detail"].as_str().unwrap().contains("nobody gives more than they have"), "{refused}");
    assert_eq!(suite.patch(&ada, "/api/v1/users/admin", json!({ "email": "ada+admin@example.org" })).await.0, 403);
    assert_eq!(suite.delete(&ada, "/api/v1/users/admin").await, 403);
    assert_eq!(suite.post(&ada, "/api/v1/users/admin/require-password-reset", json!({})).await.0, 403);
    assert_eq!(suite.delete(&ada, "/api/v1/users/bob").await, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_changes_hands_and_says_what_its_deletion_takes_along() {
    gantry_testkit::clause("6.5.1.2.b");
    gantry_testkit::clause("6.5.1.2.a");
    let suite = Suite::start().await;
    let [ada, bob, eve] = suite.acme().await;
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "test" })).await.0, 201);
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await.0, 201);
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/service-accounts", json!({ "name": "ci" })).await.0, 201);
    let (status, takes) = suite.get(&ada, "/api/v1/orgs/acme/deletion").await;
    assert_eq!(status, 200, "{takes}");
    assert_eq!((&takes["projects"], &takes["spaces"], &takes["members"], &takes["teams"]), (&json!(["shop"]), &json!(1), &json!(3), &json!(1)), "{takes}");
    assert_eq!((&takes["service_accounts"], &takes["bindings"]), (&json!(1), &json!(3)), "{takes}");
    assert_eq!(suite.get(&bob, "/api/v1/orgs/acme/deletion").await.0, 403);
    assert_eq!(suite.patch(&bob, "/api/v1/orgs/acme", json!({ "owner": "bob" })).await.0, 403);
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/members/eve", json!({ "role": "admin" })).await, 204);
    assert_eq!(suite.patch(&eve, "/api/v1/orgs/acme", json!({ "owner": "eve" })).await.0, 403, "an administrator does not take it from its owner");
    let (status, org) = suite.patch(&ada, "/api/v1/orgs/acme", json!({ "owner": "bob" })).await;
    assert_eq!(status, 200, "{org}");
    assert_eq!(suite.get(&bob, "/api/v1/orgs/acme").await.1["role"], "admin");
    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme/members/ada").await, 204, "who is no longer the owner may leave");
    assert_eq!(suite.delete(&bob, "/api/v1/orgs/acme").await, 400);
    assert_eq!(suite.delete(&bob, "/api/v1/orgs/acme?confirm=acme").await, 204);
    assert_eq!(suite.post(&bob, "/api/v1/orgs", json!({ "name": "acme" })).await.0, 201);
    assert_eq!(suite.get(&bob, "/api/v1/orgs/acme/teams").await.1["items"], json!([]));
}

/// The figure (50 ms at the 99th percentile) is for a release build; this keeps the shape with what a test can afford.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_costs_the_same_among_many_people() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let pool = &suite.host.db().pool;
    // Rows as the projection writes them; nobody opens the names of those who are not on the page.
    let rows = "insert into users (id, username_key, email_key, username, email, display_name, must_change_password, version, created_at)
                select ('f0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'k' || n, 'e' || n, 'x', 'x', 'x', false, 1, now() from generate_series(1, 100000) n";
    sqlx::query(rows).execute(pool).await.unwrap();
    let terms = "insert into user_terms select decode(md5((n % 1000)::text), 'hex'), ('f0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid from generate_series(1, 100000) n";
    sqlx::query(terms).execute(pool).await.unwrap();
    sqlx::query("analyze users").execute(pool).await.ok();
    // Of five times the quickest: the others may have waited for this machine's other tests.
    let mut slowest = std::time::Duration::ZERO;
    for query in ["q=adm", "q=admin@localhost", "limit=1", "state=active&limit=1", "q=adm&state=active"] {
        let mut quickest = std::time::Duration::MAX;
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let (status, page) = suite.get(&admin, &format!("/api/v1/users?{query}")).await;
            quickest = quickest.min(start.elapsed());
            assert!(status == 200 && names(&page).contains("admin"), "{query}: {page}");
        }
        slowest = slowest.max(quickest);
    }
    println!("slowest {slowest:?}");
    assert!(slowest < std::time::Duration::from_secs(2), "{slowest:?}");
    assert_eq!(suite.json(Method::GET, "/api/v1/users?limit=0", Some(&admin), None).await.0, 400);
    let _ = PASSWORD;
}
