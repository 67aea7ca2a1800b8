//! What goes by mail: registration, forgotten passwords, new devices, invitations; over real SMTP.

use std::sync::atomic::Ordering;

use gantry_identity::config::{Config, Registration};
use reqwest::Method;
use serde_json::json;

use crate::smtp::{Post, link};
use crate::support::{ISSUER, PASSWORD, Suite};

const OTHER: &str = "Quartz-lantern_57 meadow";

async fn suite(registration: Registration) -> (Suite, Post) {
    let (post, smtp) = Post::start().await;
    (Suite::with(Config { smtp: Some(smtp), registration, ..Config::default() }).await, post)
}

async fn registered(suite: &Suite, post: &Post, name: &str) {
    let mut browser = suite.browser();
    let page = browser.get("/register").await;
    let email = format!("{name}@example.org");
    let fields = [("csrf", page.field("csrf")), ("username", name.into()), ("email", email.clone()), ("password", PASSWORD.into())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(browser.post("/register", &fields).await.status, 202);
    let letter = post.letter(&email, 1).await;
    let page = browser.get(&link(&letter, &format!("{ISSUER}/register/confirm?"))).await;
    let (csrf, token) = (page.field("csrf"), page.field("token"));
    let done = browser.post("/register/confirm", &[("csrf", &csrf), ("token", &token)]).await;
    assert_eq!(done.status, 303, "{}", done.body);
    let again = browser.post("/register/confirm", &[("csrf", &csrf), ("token", &token)]).await;
    assert_eq!(again.status, 404, "a link works once");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_register_by_mail_and_a_mail_server_that_was_away_gets_it_later() {
    gantry_testkit::clause("6.5.1.1.c");
    let (suite, post) = suite(Registration::Open).await;
    post.away.store(true, Ordering::SeqCst);
    let coming = registered(&suite, &post, "ada");
    let back = async {
        // Long enough for a try that finds nobody.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        post.away.store(false, Ordering::SeqCst);
    };
    tokio::join!(coming, back);
    suite.tokens("ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_by_a_mailed_link_that_works_once_and_leads_home_only() {
    let (suite, post) = suite(Registration::Open).await;
    registered(&suite, &post, "ada").await;
    let old = suite.access("ada").await;
    let mut answers = Vec::new();
    for name in ["ada", "nobody"] {
        let mut browser = suite.browser();
        let page = browser.get("/login/forgotten").await;
        let csrf = page.field("csrf");
        // A poisoned host header changes nothing.
        let sent = suite
            .world
            .http
            .post(format!("{}/login/forgotten", suite.base))
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "host=evil.example")
            .header("cookie", browser.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; "))
            .form(&[("csrf", csrf.as_str()), ("username", name)])
            .send()
            .await
            .unwrap();
        answers.push((sent.status().as_u16(), sent.text().await.unwrap()));
    }
    assert_eq!(answers[0], answers[1], "the answer tells nothing");
    assert_eq!(answers[0].0, 202);
    // The first letter was the registration's; a new device may have caused another one.
    let mut count = 1;
    let letter = loop {
        let letter = post.letter("ada@example.org", count).await;
        if letter.contains("/login/reset?") {
            break letter;
        }
        count += 1;
    };
    assert!(!letter.contains("evil"), "{letter}");
    let address = link(&letter, &format!("{ISSUER}/login/reset?"));
    let mut browser = suite.browser();
    let page = browser.get(&address).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let (csrf, token) = (page.field("csrf"), page.field("token"));
    let weak = browser.post("/login/reset", &[("csrf", &csrf), ("token", &token), ("password", "password1")]).await;
    assert_eq!(weak.status, 400, "a weak password does not use the link up");
    assert_eq!(browser.post("/login/reset", &[("csrf", "x"), ("token", &token), ("password", OTHER)]).await.status, 400);
    let done = browser.post("/login/reset", &[("csrf", &csrf), ("token", &token), ("password", OTHER)]).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(browser.post("/login/reset", &[("csrf", &csrf), ("token", &token), ("password", PASSWORD)]).await.status, 404);
    suite.tokens_with("ada", OTHER).await;
    // What was open before is closed.
    let (_, sessions) = suite.json(Method::GET, "/api/v1/sessions", Some(&old), None).await;
    assert!(sessions["items"].as_array().is_none_or(|all| all.iter().all(|s| s["current"] == false)), "{sessions}");
    post.letter("ada@example.org", count + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_link_counts_while_the_address_it_went_to_is_the_persons() {
    let (suite, post) = suite(Registration::Open).await;
    registered(&suite, &post, "ada").await;
    let mut browser = suite.browser();
    let csrf = browser.get("/login/forgotten").await.field("csrf");
    assert_eq!(browser.post("/login/forgotten", &[("csrf", &csrf), ("username", "ada")]).await.status, 202);
    // The first letter was the registration's.
    let address = link(&post.letter("ada@example.org", 2).await, &format!("{ISSUER}/login/reset?"));
    let page = browser.get(&address).await;
    let (csrf, token) = (page.field("csrf"), page.field("token"));
    let admin = suite.admin().await;
    let moved = async |to: &str| assert_eq!(suite.patch(&admin, "/api/v1/users/ada", json!({ "email": to })).await.0, 200);
    moved("ada@elsewhere.example").await;
    assert_eq!(browser.get(&address).await.status, 404, "who reads the old mailbox gets nothing");
    assert_eq!(browser.post("/login/reset", &[("csrf", &csrf), ("token", &token), ("password", OTHER)]).await.status, 404);
    suite.tokens("ada").await;
    moved("ADA@example.org").await;
    assert_eq!(browser.post("/login/reset", &[("csrf", &csrf), ("token", &token), ("password", OTHER)]).await.status, 200, "it is theirs again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_is_announced_and_a_known_one_is_not() {
    let (suite, post) = suite(Registration::Open).await;
    registered(&suite, &post, "ada").await;
    let mut home = suite.browser();
    home.sign_in("ada", PASSWORD).await;
    let letter = post.letter("ada@example.org", 2).await;
    assert!(letter.contains("not seen before") && letter.contains(&format!("{ISSUER}/account")), "{letter}");
    home.sign_in("ada", PASSWORD).await;
    let mut office = suite.browser();
    office.sign_in("ada", PASSWORD).await;
    post.letter("ada@example.org", 3).await;
    assert_eq!(post.to("ada@example.org").len(), 3, "a known device is no news");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_makes_a_member_once_also_where_registration_is_closed() {
    gantry_testkit::clause("6.5.1.2.c");
    let (suite, post) = suite(Registration::Closed).await;
    let admin = suite.admin().await;
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&admin), Some(json!({ "name": "acme" }))).await.0, 201);
    let path = "/api/v1/orgs/acme/invitations";
    let body = json!({ "email": "ada@example.org", "role": "editor" });
    let (status, made) = suite.json(Method::POST, path, Some(&admin), Some(body)).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(suite.json(Method::POST, path, None, Some(json!({ "email": "x@example.org" }))).await.0, 401);
    assert_eq!(suite.json(Method::POST, path, Some(&admin), Some(json!({ "email": "x" }))).await.0, 400);
    let letter = post.letter("ada@example.org", 1).await;
    let address = link(&letter, &format!("{ISSUER}/register/invitation?"));
    assert_eq!(made["link"], address);

    let mut browser = suite.browser();
    let page = browser.get(&address).await;
    assert!(page.status == 200 && page.body.contains("acme") && page.body.contains("ada@example.org"), "{}", page.body);
    let (csrf, token) = (page.field("csrf"), page.field("token"));
    let fields = [("csrf", csrf.as_str()), ("token", token.as_str()), ("username", "ada"), ("password", PASSWORD), ("email", "other@evil.example")];
    let joined = browser.post("/register/invitation", &fields).await;
    assert_eq!(joined.status, 303, "{}", joined.body);
    let access = suite.access("ada").await;
    let (_, me) = suite.json(Method::GET, "/api/v1/me", Some(&access), None).await;
    assert_eq!((me["email"].as_str(), me["groups"][0].as_str()), (Some("ada@example.org"), Some("acme:editor")), "{me}");
    let again = suite.browser().get(&address).await;
    assert_eq!(again.status, 404, "an invitation works once");
    // The member of lower role invites nobody.
    assert_eq!(suite.json(Method::POST, path, Some(&access), Some(json!({ "email": "x@example.org" }))).await.0, 403);

    let (_, other) = suite.json(Method::POST, path, Some(&admin), Some(json!({ "email": "eve@example.org" }))).await;
    let id = other["id"].as_str().unwrap();
    assert_eq!(suite.json(Method::GET, path, Some(&admin), None).await.1["items"][0]["email"], "eve@example.org");
    assert_eq!(suite.json(Method::DELETE, &format!("{path}/{id}"), Some(&admin), None).await.0, 204);
    let gone = suite.browser().get(other["link"].as_str().unwrap()).await;
    assert_eq!(gone.status, 404, "a withdrawn invitation is void");
}
