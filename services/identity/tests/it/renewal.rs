//! What changes at an OpenID provider between two sign-ins counts here as well. The provider is a second Gantry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::federation::{at_partner, create, leave, me, partner_behind};
use crate::support::{Browser, Suite};

const SYNCS: &str = "/api/v1/upstreams/partner/syncs";

fn settings(issuer: &str, suspend_gone: bool, scopes: &[&str]) -> Value {
    json!({
        "display_name": "Partner", "allow_private": true, "rules": { "suspend_gone": suspend_gone },
        "mappings": [{ "group": "acme:editor", "role": "editor", "at": "partners" }, { "group": "acme:editor", "team": "partners/guests" }],
        "connection": { "oidc": { "issuer": issuer, "client_id": "downstream", "scopes": scopes }},
    })
}

/// Both platforms, and their administrators: Ada is an editor of `acme` up there, which means something down here.
async fn world(suspend_gone: bool) -> (Suite, Suite, String, String) {
    world_behind(suspend_gone, Arc::default()).await
}

/// The same; the partner's UserInfo endpoint is away while `silent` is set.
async fn world_behind(suspend_gone: bool, silent: Arc<AtomicBool>) -> (Suite, Suite, String, String) {
    world_of(suspend_gone, silent, None).await
}

/// The same; the provider is of the platform or, with one, of an organisation.
async fn world_of(suspend_gone: bool, silent: Arc<AtomicBool>, org: Option<&str>) -> (Suite, Suite, String, String) {
    let (up, issuer) = partner_behind(silent).await;
    let down = Suite::start().await;
    let (admin, there) = (down.admin().await, up.admin_at(&issuer).await);
    up.register("ada").await;
    assert_eq!(up.post(&there, "/api/v1/orgs", json!({ "name": "acme" })).await.0, 201);
    assert_eq!(up.put(&there, "/api/v1/orgs/acme/members/ada", json!({ "role": "editor" })).await, 204);
    assert_eq!(down.post(&admin, "/api/v1/orgs", json!({ "name": "partners" })).await.0, 201);
    assert_eq!(down.post(&admin, "/api/v1/orgs/partners/teams", json!({ "name": "guests" })).await.0, 201);
    let settings = settings(&issuer, suspend_gone, &["profile", "email", "groups", "offline_access"]);
    create(&down, &admin, json!({ "name": "partner", "org": org, "secret": "a-long-enough-shared-secret", "settings": settings })).await;
    (up, down, there, admin)
}

async fn come_in(up: &Suite, browser: &mut Browser<'_>) {
    let away = leave(browser).await;
    let seen = browser.get(&at_partner(up, &away, "ada").await).await;
    assert_eq!(seen.status, 303, "{}", seen.body);
}

/// Synchronises; gives the report.
async fn sync(down: &Suite, admin: &str) -> Value {
    down.synchronised(admin, "partner", json!({})).await
}

async fn guests(down: &Suite, admin: &str) -> usize {
    down.get(admin, "/api/v1/orgs/partners/teams/guests/members").await.1["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_between_sign_ins_counts_and_who_it_refuses_is_out() {
    gantry_testkit::clause("6.5.2.2.g");
    let (up, down, there, admin) = world(true).await;
    let mut browser = down.browser();
    come_in(&up, &mut browser).await;
    let ada = me(&down, &mut browser).await;
    assert_eq!((ada["groups"].to_string().as_str(), guests(&down, &admin).await), ("[\"partners:editor\"]", 1), "{ada}");
    let quiet = sync(&down, &admin).await;
    assert_eq!((&quiet["result"], &quiet["report"]["seen"], &quiet["report"]["roles_taken"]), (&json!("ok"), &json!(1), &json!(0)), "{quiet}");

    // Another role there: less here, and back again; she did not sign in in between.
    assert_eq!(up.put(&there, "/api/v1/orgs/acme/members/ada", json!({ "role": "viewer" })).await, 204);
    let less = sync(&down, &admin).await;
    assert_eq!(less["report"]["roles_taken"], 1, "{less}");
    assert_eq!((me(&down, &mut browser).await["groups"].to_string().as_str(), guests(&down, &admin).await), ("[]", 0));
    assert_eq!(up.put(&there, "/api/v1/orgs/acme/members/ada", json!({ "role": "editor" })).await, 204);
    let more = sync(&down, &admin).await;
    assert_eq!((&more["report"]["roles_given"], guests(&down, &admin).await), (&json!(1), 1), "{more}");

    // Suspended there: out here, sessions and all.
    let user = format!("/api/v1/users/{}", ada["id"].as_str().unwrap());
    let (status, suspended) = up.patch(&there, "/api/v1/users/ada", json!({ "suspended": true, "reason": "left" })).await;
    assert_eq!(status, 200, "{suspended}");
    let out = sync(&down, &admin).await;
    assert_eq!((&out["result"], &out["report"]["suspended"]), (&json!("ok"), &json!(1)), "{out}");
    let (_, shown) = down.get(&admin, &user).await;
    assert_eq!(shown["state"], "suspended", "{shown}");
    assert_eq!(browser.get("/account").await.status, 303, "her session is over");
    assert_eq!(guests(&down, &admin).await, 0);
    assert_eq!(sync(&down, &admin).await["report"]["seen"], 0, "nobody is asked after who was refused");

    // Back there: back here at the next sign-in.
    assert_eq!(up.patch(&there, "/api/v1/users/ada", json!({ "suspended": false })).await.0, 200);
    let mut again = down.browser();
    come_in(&up, &mut again).await;
    let back = me(&down, &mut again).await;
    assert_eq!((&back["id"], back["groups"].to_string().as_str()), (&ada["id"], "[\"partners:editor\"]"), "{back}");

    // A provider that is away says nothing about anybody.
    let wrong = json!({ "settings": settings("http://127.0.0.1:1", true, &["offline_access"]) });
    assert_eq!(down.put(&admin, "/api/v1/upstreams/partner", wrong).await, 200);
    let failed = sync(&down, &admin).await;
    assert_eq!(failed["result"], "failed", "{failed}");
    assert_eq!(me(&down, &mut again).await["groups"].to_string(), "[\"partners:editor\"]");

    // The token is of no use to who reads the table, and goes with the link.
    let rows: Vec<String> = sqlx::query_scalar("select sealed from upstream_tokens").fetch_all(&down.host.db().pool).await.unwrap();
    assert!(rows.len() == 1 && !rows[0].contains("gr_"), "{rows:?}");
    assert_eq!(down.delete(&admin, &user).await, 204);
    let left: i64 = sqlx::query_scalar("select count(*) from upstream_tokens").fetch_one(&down.host.db().pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_a_provider_refuses_may_stay_without_its_roles() {
    let (up, down, there, admin) = world(false).await;
    let mut browser = down.browser();
    come_in(&up, &mut browser).await;
    assert_eq!(guests(&down, &admin).await, 1);
    assert_eq!(up.patch(&there, "/api/v1/users/ada", json!({ "suspended": true, "reason": "left" })).await.0, 200);
    let out = sync(&down, &admin).await;
    assert_eq!((&out["report"]["suspended"], &out["report"]["roles_taken"]), (&json!(0), &json!(1)), "{out}");
    assert_eq!((me(&down, &mut browser).await["groups"].to_string().as_str(), guests(&down, &admin).await), ("[]", 0), "she is in, with nothing");
    let (_, record) = down.get(&admin, SYNCS).await;
    assert!(record["items"][0]["report"]["remarks"].to_string().contains("invalid_grant"), "{record}");

    // Providers that were not asked for it cannot be asked later.
    let issuer = "https://id.example";
    create(&down, &admin, json!({ "name": "plain", "secret": "s", "settings": settings(issuer, true, &["groups"]) })).await;
    let (status, refused) = down.json(Method::POST, "/api/v1/upstreams/plain/syncs", Some(&admin), Some(json!({}))).await;
    assert!(status == 400 && refused["detail"].as_str().unwrap().contains("offline_access"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_costs_nobody_their_account() {
    let (up, down, there, admin) = world(true).await;
    let mut browser = down.browser();
    come_in(&up, &mut browser).await;
    // As after a crash between a question and its answer, with which the next token went: the one that is here is refused.
    sqlx::query("update upstream_tokens set asked_at = now()").execute(&down.host.db().pool).await.unwrap();
    assert_eq!(up.patch(&there, "/api/v1/users/ada", json!({ "suspended": true, "reason": "left" })).await.0, 200);
    let lost = sync(&down, &admin).await;
    assert_eq!((&lost["result"], &lost["report"]["suspended"], &lost["report"]["roles_taken"]), (&json!("ok"), &json!(0), &json!(0)), "{lost}");
    assert!(lost["report"]["remarks"].to_string().contains("was lost"), "{lost}");
    assert_eq!((me(&down, &mut browser).await["groups"].to_string().as_str(), guests(&down, &admin).await), ("[\"partners:editor\"]", 1));
    assert_eq!(sync(&down, &admin).await["report"]["seen"], 0, "nobody is asked after with a token that is worth nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_token_is_kept_also_when_what_is_said_with_it_cannot_be_had() {
    let silent = Arc::new(AtomicBool::new(false));
    let (up, down, _there, admin) = world_behind(true, silent.clone()).await;
    let mut browser = down.browser();
    come_in(&up, &mut browser).await;
    // The token is exchanged for the next one; then the UserInfo endpoint is away.
    silent.store(true, Ordering::Relaxed);
    let deaf = sync(&down, &admin).await;
    assert_eq!((&deaf["report"]["seen"], &deaf["report"]["skipped"], &deaf["report"]["suspended"]), (&json!(1), &json!(1), &json!(0)), "{deaf}");
    silent.store(false, Ordering::Relaxed);
    // The one from before is good no longer: asking with it again would look as if she were gone.
    let heard = sync(&down, &admin).await;
    assert_eq!((&heard["result"], &heard["report"]["seen"], &heard["report"]["skipped"]), (&json!("ok"), &json!(1), &json!(0)), "{heard}");
    assert_eq!((&heard["report"]["suspended"], &heard["report"]["roles_taken"]), (&json!(0), &json!(0)), "{heard}");
    assert_eq!((me(&down, &mut browser).await["groups"].to_string().as_str(), guests(&down, &admin).await), ("[\"partners:editor\"]", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_provider_puts_nobody_into_a_team_with_rights_beyond_it() {
    let (up, down, _there, admin) = world_of(true, Arc::default(), Some("partners")).await;
    let mut browser = down.browser();
    come_in(&up, &mut browser).await;
    assert_eq!(guests(&down, &admin).await, 1);
    let (_, team) = down.get(&admin, "/api/v1/orgs/partners/teams/guests").await;
    let strong = json!({ "subject": format!("team:{}", team["id"].as_str().unwrap()), "role": "viewer" });
    assert_eq!(down.post(&admin, "/api/v1/bindings", strong).await.0, 201);
    let cut = sync(&down, &admin).await;
    assert_eq!((&cut["result"], guests(&down, &admin).await), (&json!("ok"), 0), "{cut}");
    assert!(cut["report"]["remarks"].to_string().contains("partners/guests"), "{cut}");
    let mut again = down.browser();
    come_in(&up, &mut again).await;
    assert!(me(&down, &mut again).await["groups"].to_string().contains("partners:editor"), "what is the organisation's own goes on");
    assert_eq!(guests(&down, &admin).await, 0);
}
