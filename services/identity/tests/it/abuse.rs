//! Attempt limits, the captcha, and policies: what a thief meets, and what a colleague does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gantry_identity::config::Config;
use gantry_identity::domain::captcha::is_work;
use reqwest::Method;
use serde_json::json;

use crate::factors::code_of;
use crate::support::{Browser, PASSWORD, Seen, Suite};

async fn try_with(browser: &mut Browser<'_>, page: &Seen, name: &str, password: &str, work: Option<&str>) -> Seen {
    let csrf = page.field("csrf");
    let mut fields = vec![("csrf", csrf.as_str()), ("username", name), ("password", password)];
    let token = work.map(|_| page.field("captcha")).unwrap_or_default();
    if let Some(work) = work {
        fields.extend([("captcha", token.as_str()), ("work", work)]);
    }
    browser.post("/login", &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_failures_a_captcha_is_asked_of_known_and_unknown_names_alike() {
    gantry_testkit::clause("6.5.2.2.f");
    let suite = Suite::start().await;
    suite.register("ada").await;
    for name in ["ada", "nobody"] {
        let mut browser = suite.browser();
        let mut page = browser.get("/login").await;
        for _ in 0..3 {
            page = try_with(&mut browser, &page, name, "wrong", None).await;
            assert_eq!(page.status, 401);
        }
        assert!(page.body.contains("data:image&#x2f;png;base64,") || page.body.contains("data:image/png;base64,"), "there is a picture: {}", page.body);
        // Without an answer nothing is tried, not even the right password.
        let refused = try_with(&mut browser, &page, name, PASSWORD, None).await;
        assert_eq!(refused.status, 403, "{name}");
        let wrong = try_with(&mut browser, &refused, name, PASSWORD, Some("1")).await;
        assert_eq!(wrong.status, 403, "{name}");
        // The script's way: work.
        let token = wrong.field("captcha");
        let nonce = (0u64..).map(|n| n.to_string()).find(|n| is_work(&token, n, 16)).unwrap();
        let answer = try_with(&mut browser, &wrong, name, PASSWORD, Some(&nonce)).await;
        assert_eq!(answer.status, if name == "ada" { 303 } else { 401 }, "{name}: {}", answer.body);
        let replayed = try_with(&mut browser, &wrong, "eve", "x", Some(&nonce)).await;
        assert_eq!(replayed.status, 401, "somebody without failures is not asked");
        if name == "nobody" {
            let replayed = try_with(&mut browser, &wrong, name, PASSWORD, Some(&nonce)).await;
            assert_eq!(replayed.status, 403, "an answer counts once");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_come_back_keeps_the_captcha() {
    let config = Config { hashes_at_once: 1, attempts_per_pair: 1_000, attempts_per_account: 1_000, attempts_per_address: 100_000, ..Config::default() };
    let suite = Suite::with(config).await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    let mut page = browser.get("/login").await;
    for _ in 0..3 {
        page = try_with(&mut browser, &page, "ada", "wrong", None).await;
    }
    // More at once than there are places, all the time; nobody of them is asked for a captcha.
    let (over, cookies) = (Arc::new(AtomicBool::new(false)), browser.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; "));
    let flood: Vec<_> = (0..20)
        .map(|i| {
            let request = suite.world.http.post(format!("{}/login", suite.base)).header("cookie", &cookies);
            let (csrf, over) = (page.field("csrf"), over.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let form = [("csrf", csrf.clone()), ("username", format!("flood-{i}-{n}")), ("password", "x".to_owned())];
                    request.try_clone().unwrap().form(&form).send().await.unwrap();
                }
            })
        })
        .collect();
    let begun = std::time::Instant::now();
    let (token, nonce) = loop {
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "the queue is never full");
        let token = page.field("captcha");
        let nonce = (0u64..).map(|n| n.to_string()).find(|n| is_work(&token, n, 16)).unwrap();
        let seen = try_with(&mut browser, &page, "ada", "wrong", Some(&nonce)).await;
        if seen.status == 429 {
            assert_eq!((seen.field("captcha"), seen.headers.contains_key("retry-after")), (token.clone(), true), "the page asks nothing new");
            break (token, nonce);
        }
        assert_eq!(seen.status, 401, "there was a place: {}", seen.body);
        page = seen;
    };
    over.store(true, Ordering::Relaxed);
    for task in flood {
        task.await.unwrap();
    }
    let fields = [("csrf", page.field("csrf")), ("username", "ada".into()), ("password", PASSWORD.into()), ("captcha", token), ("work", nonce)];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let seen = browser.post("/login", &fields).await;
    assert_eq!(seen.status, 303, "{}", seen.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_step_counts_for_nothing_once_all_sign_ins_were_ended() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (admin, ada) = (suite.admin().await, suite.access("ada").await);
    assert_eq!(suite.put(&admin, "/api/v1/policies/security", json!({ "second_factor": "required" })).await, 200);
    let begin = async |browser: &mut Browser<'_>| {
        browser.sign_in("ada", PASSWORD).await;
        browser.get("/login/enrol").await.status
    };
    let mut stranger = suite.browser();
    assert_eq!(begin(&mut stranger).await, 200, "who knows the password may add a factor of theirs");
    assert_eq!(suite.delete(&ada, "/api/v1/sessions").await, 204);
    let seen = stranger.get("/login/enrol").await;
    assert!(seen.status == 303 && seen.location().starts_with("/login?"), "{} {}", seen.status, seen.location());
    assert_eq!(begin(&mut suite.browser()).await, 200, "the next one does");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_shut_out_while_the_known_browser_gets_in() {
    gantry_testkit::clause("6.5.2.2.f");
    let suite = Suite::with(Config { captcha_after: 0, attempts_per_account: 6, ..Config::default() }).await;
    suite.register("ada").await;
    let mut home = suite.browser();
    home.sign_in("ada", PASSWORD).await;
    assert!(home.cookies.contains_key("__Host-gantry_device"));
    // The same attack from many addresses, as the gateway reports them.
    for i in 0..10 {
        let mut thief = suite.browser();
        let page = thief.get("/login").await;
        let cookie = thief.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
        let form = [("csrf", page.field("csrf")), ("username", "ada".into()), ("password", "wrong".into())];
        let sent = suite.world.http.post(format!("{}/login", suite.base)).header("cookie", cookie).header("x-forwarded-for", format!("10.9.0.{i}")).form(&form);
        sent.send().await.unwrap();
    }
    let mut stranger = suite.browser();
    let page = stranger.get("/login").await;
    let refused = try_with(&mut stranger, &page, "ada", PASSWORD, None).await;
    assert_eq!(refused.status, 429);
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    home.cookies.remove("__Host-gantry_session");
    home.sign_in("ada", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stricter_policy_of_platform_and_organisation_holds() {
    gantry_testkit::clause("6.5.2.2.j");
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.register("bob").await;
    let (admin, ada) = (suite.admin().await, suite.access("ada").await);
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&ada), Some(json!({ "name": "acme" }))).await.0, 201);
    let path = "/api/v1/orgs/acme/policies/security";
    let (status, refused) = suite.json(Method::PUT, path, Some(&ada), Some(json!({ "networks": ["203.0.113.0/24"] }))).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("identity.policy_locks_out")), "{refused}");
    let (status, refused) = suite.json(Method::PUT, path, Some(&ada), Some(json!({ "password_min_length": 3, "networks": ["x"] }))).await;
    assert_eq!((status, refused["errors"].as_array().map(Vec::len)), (400, Some(2)), "{refused}");
    let bob = suite.access("bob").await;
    for method in [Method::GET, Method::PUT] {
        let body = (method == Method::PUT).then(|| json!({}));
        assert_eq!(suite.json(method.clone(), path, Some(&bob), body.clone()).await.0, 404, "another tenant's");
        assert_eq!(suite.json(method, "/api/v1/policies/security", Some(&bob), body).await.0, 403);
    }
    let policy = json!({ "second_factor": "required", "password_min_length": 14, "password_history": 3 });
    let (status, set) = suite.json(Method::PUT, path, Some(&ada), Some(policy)).await;
    assert_eq!((status, set["second_factor"].as_str()), (200, Some("required")), "{set}");
    assert_eq!(suite.json(Method::PUT, "/api/v1/policies/security", Some(&admin), Some(json!({ "session_hours": 1 }))).await.0, 200);

    // A member has to enrol before there is a session; a stranger does not.
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    let answer = browser.submit_login(&page, "ada", PASSWORD).await;
    assert!(answer.location().starts_with("/login/enrol?"), "{}", answer.location());
    let page = browser.get(answer.location()).await;
    let secret = page.body.split("<p class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let (csrf, pending) = (page.field("csrf"), page.field("pending"));
    let code = code_of(&secret, 0);
    let done = browser.post("/login/enrol", &[("csrf", &csrf), ("pending", &pending), ("code", &code), ("continue", "/account")]).await;
    assert!(done.status == 200 && done.body.contains("Recovery codes"), "{}", done.body);
    let account = browser.get("/account").await;
    assert_eq!(account.status, 200, "the session is open");
    suite.tokens("bob").await;

    // Passwords: the organisation's length, and none of the last three.
    let csrf = account.field("csrf");
    let mut change = async |old: &str, new: &str| browser.post("/account/password", &[("csrf", &csrf), ("current_password", old), ("new_password", new)]).await;
    assert_eq!(change(PASSWORD, "Tr4ck-Pumic").await.status, 400, "too short for the organisation");
    let used = change(PASSWORD, PASSWORD).await;
    assert!(used.status == 400 && used.body.contains("used before"), "{}", used.body);
    assert_eq!(change(PASSWORD, "Quartz-lantern_57 meadow").await.status, 303);
    assert_eq!(change("Quartz-lantern_57 meadow", PASSWORD).await.status, 400, "the one before is remembered too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_others_know_is_refused_wherever_one_is_chosen() {
    gantry_testkit::clause("6.5.2.2.j");
    // Strong by its looks; its SHA-1 is in the list.
    let known = "Quartz-lantern_57 meadow";
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "00000000A8DAE4228F821FB418F59826079BF368:3\nD7D9A5D2ADB5BC97B1BBA10E4EA44C91C136CB9E:12\n").unwrap();
    let suite = Suite::with(Config { breached_passwords_file: Some(list.path().to_owned()), ..Config::default() }).await;
    suite.register("ada").await;
    let body = json!({ "username": "bob", "email": "bob@example.org", "password": known });
    let (status, refused) = suite.json(Method::POST, "/api/v1/registrations", None, Some(body)).await;
    assert_eq!(status, 400, "{refused}");
    let ada = suite.access("ada").await;
    let change = async |new: &str| suite.patch(&ada, "/api/v1/me", json!({ "password": new, "current_password": PASSWORD })).await;
    let (status, refused) = change(known).await;
    assert_eq!(status, 400, "{refused}");
    let (status, changed) = change("Quartz-lantern_58 meadow").await;
    assert_eq!(status, 200, "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_shuts_out_foreign_networks_and_other_ways_to_sign_in() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let put = async |body| suite.json(Method::PUT, "/api/v1/policies/security", Some(&admin), Some(body)).await;
    let (status, set) = put(json!({ "networks": ["127.0.0.0/8", "::1"] })).await;
    assert_eq!(status, 200, "{set}");
    suite.tokens("ada").await;
    let from = |address: &str| {
        let request = suite.world.http.post(format!("{}/api/v1/tokens", suite.base)).header("x-forwarded-for", address.to_owned());
        request.basic_auth("ada", Some(PASSWORD)).json(&json!({ "name": "x" })).send()
    };
    assert_eq!(from("203.0.113.9").await.unwrap().status(), 403);
    assert_eq!(from("127.0.0.1").await.unwrap().status(), 201);
    let (status, refused) = put(json!({ "sign_in_by": ["password", "corp"] })).await;
    assert_eq!(
        (status, refused["errors"][0]["field"].as_str()),
        (400, Some("sign_in_by[1]")),
        "whoever made an upstream of that name would come in: {refused}"
    );
    assert_eq!(put(json!({ "sign_in_by": ["passkey"] })).await.0, 200);
    assert_eq!(from("127.0.0.1").await.unwrap().status(), 403, "passwords are not among the ways");
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_follow_the_policy() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let put = async |body| assert_eq!(suite.json(Method::PUT, "/api/v1/policies/security", Some(&admin), Some(body)).await.0, 200);
    let register = async |name: &str, domain: &str| {
        let body = json!({ "username": name, "email": format!("{name}@{domain}"), "password": PASSWORD });
        suite.json(Method::POST, "/api/v1/registrations", None, Some(body)).await
    };
    put(json!({ "email_domains": ["example.org"] })).await;
    assert_eq!(register("eve", "example.org.evil").await.0, 400);
    assert_eq!(register("ada", "example.org").await.0, 201);
    put(json!({ "registration": "closed" })).await;
    assert_eq!(register("bob", "example.org").await.0, 403);
    put(json!({ "registration": "approval" })).await;
    let (status, waiting) = register("bob", "example.org").await;
    assert_eq!((status, waiting["state"].as_str()), (202, Some("waiting")));
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    assert_eq!(browser.submit_login(&page, "bob", PASSWORD).await.status, 401, "not before somebody approved");
    assert_eq!(suite.json(Method::PATCH, "/api/v1/users/bob", Some(&admin), Some(json!({ "suspended": false }))).await.0, 200);
    suite.tokens("bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_beside_which_all_sign_ins_end_opens_no_session() {
    let suite = Suite::start().await;
    let ada: uuid::Uuid = suite.register("ada").await.parse().unwrap();
    let mut browser = suite.signed_in("ada").await;
    let pool = &suite.host.db().pool;
    // Whoever signs in again gives the old session up. There the sign-in is held: the password is proved, the rules are read.
    let mut held = pool.begin().await.unwrap();
    let holder: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *held).await.unwrap();
    sqlx::query("select id from sessions where user_id = $1 for update").bind(ada).fetch_all(&mut *held).await.unwrap();
    let page = browser.get("/login").await;
    let ended = async {
        let waits = "select exists (select from pg_stat_activity where $1 = any(pg_blocking_pids(pid)))";
        let waits = async || sqlx::query_scalar::<_, bool>(waits).bind(holder).fetch_one(pool).await.unwrap();
        suite.world.until("the sign-in waits", std::time::Duration::from_secs(120), waits).await;
        sqlx::query("insert into sign_ins_ended (user_id, at) values ($1, now())").bind(ada).execute(pool).await.unwrap();
        held.rollback().await.unwrap();
    };
    let (answer, ()) = tokio::join!(browser.submit_login(&page, "ada", PASSWORD), ended);
    assert_eq!(answer.status, 401, "{}", answer.body);
    let living: i64 = sqlx::query_scalar("select count(*) from sessions where user_id = $1 and ended_at is null").bind(ada).fetch_one(pool).await.unwrap();
    assert_eq!(living, 0);
    // Who signs in after that is let in.
    assert_eq!(suite.signed_in("ada").await.get("/account").await.status, 200);
}
