//! Who is erased is gone from the log and from every table, and no rebuild brings them back.

use std::time::Duration;

use gantry_es::Meta;
use gantry_es_pg::{checkpoints, request_rebuild};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Suite};

/// What nobody else has in their names.
const WORDS: [&str; 2] = ["zelda", "quux"];

/// Every row of every table, the log among them, in which one of the words stands.
async fn scan(suite: &Suite) -> Vec<String> {
    let pool = &suite.host.db().pool;
    let sql = "select relname::text from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and not relispartition";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await.unwrap();
    assert!(tables.len() > 50 && tables.iter().any(|t| t == "events") && tables.iter().any(|t| t == "fact_chain"), "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("select row_to_json(t)::text from \"{table}\" t");
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
        found.extend(rows.into_iter().filter(|row| WORDS.iter().any(|w| row.to_lowercase().contains(w))).map(|row| format!("{table}: {row}")));
    }
    found
}

/// Builds every read model of the service anew from the log.
async fn rebuild(suite: &Suite) {
    let log = suite.host.log();
    for one in checkpoints(log.db()).await.unwrap() {
        request_rebuild(log, &one.name, Meta::system()).await.unwrap();
        let ended = async || {
            let all = checkpoints(log.db()).await.unwrap();
            all.into_iter().find(|c| c.name == one.name).is_some_and(|c| c.rebuild_since.is_none() && c.rebuild_error.is_none())
        };
        suite.world.until(&format!("{} is built anew", one.name), Duration::from_secs(60), ended).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_can_be_read_is_left_of_who_was_erased() {
    gantry_testkit::clause("6.5.2.2.i");
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    let admin = suite.admin().await;

    // A life: invited, registered, renamed, in a team, with a token, a consent, a wrong password, a forgotten one.
    let id = suite.register("zelda.quux").await;
    let zelda = suite.access("zelda.quux").await;
    assert_eq!(suite.patch(&zelda, "/api/v1/me", json!({ "display_name": "Zelda Quuxington" })).await.0, 200);
    assert_eq!(suite.patch(&admin, &format!("/api/v1/users/{id}"), json!({ "email": "zelda@quux.example" })).await.0, 200);
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/members/zelda.quux", json!({ "role": "editor" })).await, 204);
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await.0, 201);
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/teams/dev/members/zelda.quux", json!({})).await, 204);
    assert_eq!(suite.post(&zelda, "/api/v1/tokens", json!({ "name": "quux-laptop" })).await.0, 201);
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    assert_eq!(browser.submit_login(&page, "zelda.quux", "wrong-Password-7").await.status, 401);
    browser.sign_in("Zelda@quux.example", PASSWORD).await;
    let page = browser.get("/login/forgotten").await;
    browser.post("/login/forgotten", &[("csrf", &page.field("csrf")), ("username", "zelda.quux")]).await;
    let lent = suite.put(&ada, "/api/v1/me/impersonators/zelda.quux", json!({})).await;
    assert!(lent < 500);

    let remains = format!("/api/v1/users/{id}/remains");
    for token in [&ada, &zelda] {
        assert_eq!(suite.get(token, &remains).await.0, 403, "for administrators of the platform");
    }
    assert_eq!(suite.get(&admin, "/api/v1/users/0191e2a0-0000-7000-8000-00000000dead/remains").await.0, 404);
    let (status, before) = suite.get(&admin, "/api/v1/users/zelda.quux/remains").await;
    assert_eq!((status, before["state"].as_str(), before["key"]["destroyed_at"].is_null()), (200, Some("here"), true), "{before}");
    assert!(before["readable_values"].as_u64().unwrap() >= 5, "{before}");

    assert_eq!(suite.delete(&admin, &format!("/api/v1/users/{id}")).await, 204);
    assert_eq!(scan(&suite).await, Vec::<String>::new());
    let proof = async || {
        let (status, after) = suite.get(&admin, &remains).await;
        assert_eq!((status, after["state"].as_str(), after["readable_values"].as_u64()), (200, Some("erased"), Some(0)), "{after}");
        assert!(after["key"]["destroyed_at"].is_string() && after["sealed_values"].as_u64().unwrap() >= 5, "{after}");
        assert_eq!(after["tried_values"], after["sealed_values"], "{after}");
        let of = |name: &str, field: &str| after[name].as_array().unwrap().iter().map(|e| e[field].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert!(of("log", "kind").contains(&"user.registered".into()) && of("tables", "table").contains(&"subject_keys".into()), "{after}");
        for gone in ["users", "members", "team_members", "known_devices", "mail_links", "user_terms"] {
            assert!(!of("tables", "table").contains(&gone.into()), "{gone}: {after}");
        }
        let unexplained: Vec<&Value> = after["tables"].as_array().unwrap().iter().filter(|t| t["purpose"] == "").collect();
        assert!(unexplained.is_empty(), "{unexplained:?}");
    };
    proof().await;

    // A copy of the read models from before is worth nothing: built anew, they are as they were; the name is free.
    rebuild(&suite).await;
    assert_eq!(scan(&suite).await, Vec::<String>::new());
    proof().await;
    assert_eq!(suite.json(Method::GET, &format!("/api/v1/users/{id}"), Some(&admin), None).await.0, 404);
    assert_ne!(suite.register("zelda.quux").await, id);
}
