//! What nobody should send: forms from elsewhere, bodies that are none, names that look like others, ids of another tenant.

use reqwest::Method;
use serde_json::{Value, json};

use crate::party::now;
use crate::support::{ISSUER, PASSWORD, Suite};

/// Every form of the pages.
const FORMS: [&str; 38] = [
    "/login",
    "/login/second",
    "/login/passkey",
    "/login/passkey/challenge",
    "/login/enrol",
    "/login/forgotten",
    "/login/reset",
    "/login/links/make",
    "/login/links/remove",
    "/register",
    "/register/confirm",
    "/register/invitation",
    "/oauth2/consent",
    "/oauth2/device",
    "/oauth2/logout",
    "/logout",
    "/account/profile",
    "/account/password",
    "/account/totp",
    "/account/totp-confirm",
    "/account/passkey",
    "/account/remove-factor",
    "/account/certificate",
    "/account/remove-certificate",
    "/account/recovery-codes",
    "/account/end-session",
    "/account/end-sessions",
    "/account/make-token",
    "/account/revoke-token",
    "/account/disconnect",
    "/account/export",
    "/account/delete",
    "/account/no-such-verb",
    "/login/",
    "/login/upstream",
    "/login/certificate",
    "/login/certificate/show",
    "/login/certificate/back",
];

/// A new page must not be forgotten above.
#[test]
fn every_form_that_the_pages_take_is_in_the_list() {
    let sources = [include_str!("../../src/api/pages.rs"), include_str!("../../src/api/pages/upstream.rs"), include_str!("../../src/api/pages/certificate.rs")];
    let mut found = 0;
    for route in sources.iter().flat_map(|text| text.split(".route(\"").skip(1)) {
        let (path, rest) = route.split_once('"').unwrap();
        // The verbs of the account page are in the list one by one.
        if rest.lines().next().is_some_and(|line| line.contains("post(")) && path != "/account/{verb}" {
            assert!(FORMS.contains(&path), "{path}");
            found += 1;
        }
    }
    let account = include_str!("../../src/api/pages/account.rs");
    let verbs = account.split_once("match verb.as_str() {").unwrap().1.split_once("_ =>").unwrap().0;
    for verb in verbs.split('"').skip(1).step_by(2) {
        assert!(FORMS.contains(&format!("/account/{verb}").as_str()), "{verb}");
        found += 1;
    }
    assert!(found > 25, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_is_taken_from_another_page() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.signed_in("ada").await;
    let before = suite.world.http.get(format!("{}/api/v1/me", suite.base)).bearer_auth(suite.access("ada").await).send().await.unwrap().text().await.unwrap();
    let session = browser.cookies["__Host-gantry_session"].clone();
    // With the fields that each would need, so that the value tied to the browser is all that is missing.
    let fields = [
        ("continue", "/account"),
        ("username", "ada"),
        ("password", PASSWORD),
        ("new_password", "another-Pumice_olive7"),
        ("current_password", PASSWORD),
        ("display_name", "Taken over"),
        ("name", "token"),
        ("days", "30"),
        ("confirm", "ada"),
        ("email", "ada@evil.example"),
        ("decision", "approve"),
        ("action", "approve"),
        ("user_code", "AAAA-AAAA"),
        ("token", "x"),
        ("upstream", "x"),
        ("purpose", "signin"),
    ];
    for path in FORMS {
        for csrf in [None, Some(""), Some("AAAA"), Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")] {
            let sent: Vec<(&str, &str)> = fields.into_iter().chain(csrf.map(|c| ("csrf", c))).collect();
            let seen = browser.post(path, &sent).await;
            // Sent away to prove more, or asked on a page of ours whether it is meant, is as good as refused.
            let asked = path.ends_with("/logout") && seen.status == 200 && seen.body.contains("name=\"csrf\"");
            let refused = matches!(seen.status, 400..=499) || asked || (seen.status == 303 && seen.location().starts_with('/'));
            assert!(refused, "{path} with {csrf:?}: {} {}", seen.status, seen.body);
            assert_eq!(browser.cookies.get("__Host-gantry_session"), Some(&session), "{path} with {csrf:?}");
        }
    }
    let token = suite.access("ada").await;
    let me = suite.world.http.get(format!("{}/api/v1/me", suite.base)).bearer_auth(&token).send().await.unwrap().text().await.unwrap();
    assert_eq!(me, before, "nothing changed");
    assert_eq!(suite.get(&token, "/api/v1/tokens").await.1["items"], json!([]));
    assert_eq!(browser.get("/account").await.status, 200, "and nobody is signed out");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_none_are_refused_by_their_fault() {
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    let send = async |kind: &str, body: Vec<u8>| {
        let request = suite.world.http.post(format!("{}/api/v1/orgs", suite.base)).bearer_auth(&ada).header("content-type", kind).body(body);
        // The answer to what is too large comes before all is sent, and may be lost with the connection.
        request.send().await.map_or(413, |answer| answer.status().as_u16())
    };
    let json = "application/json";
    let nested = |open: &str, close: &str, deep: usize| format!("{}{}", open.repeat(deep), close.repeat(deep)).into_bytes();
    for (body, expected) in [
        (nested("[", "]", 100_000), 400),
        (nested("{\"name\":", "}", 50_000), 400),
        (b"{\"name\":\"\xff\xfe\"}".to_vec(), 400),
        (b"{\"name\":\"a\",\"name\":\"b\"}".to_vec(), 400),
        (b"{\"name\":\"a\"} {\"name\":\"b\"}".to_vec(), 400),
        (b"{\"name\":1e999}".to_vec(), 400),
        (b"{\"name\":\"\\ud800\"}".to_vec(), 400),
        (b"{\"name\":\"a\\u0000b\"}".to_vec(), 400),
        (b"{\"name\":\"fine\",\"display_name\":\"a\\u0000b\"}".to_vec(), 400),
        (b"".to_vec(), 400),
        (b"null".to_vec(), 400),
        (format!("{{\"name\":\"{}\"}}", "a".repeat(3 << 20)).into_bytes(), 413),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(send(json, body).await, expected, "{shown}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        assert!(matches!(send(kind, b"{\"name\":\"sneaky\"}".to_vec()).await, 400 | 415), "{kind}");
    }
    assert_eq!(suite.get(&ada, "/api/v1/orgs").await.1["items"].as_array().unwrap().len(), 1, "nothing came of it");
}

/// A database text cannot hold the character of no width and no length; what does not expect it answers with a fault of its own.
#[tokio::test(flavor = "multi_thread")]
async fn no_character_makes_the_service_fail() {
    let suite = Suite::start().await;
    suite.acme().await;
    let admin = suite.admin().await;
    let odd = ["%00", "%FF", "..%2F..%2Fetc", "%27%3B%20drop%20table%20users--", "%E2%80%AE", "%F0%9F%92%A9", &"x".repeat(5_000)];
    let nil = "00000000-0000-0000-0000-000000000000";
    for text in odd {
        let paths = [
            format!("/api/v1/users?q={text}"),
            format!("/api/v1/users?cursor={text}"),
            format!("/api/v1/users/{text}"),
            format!("/api/v1/users/{text}/remains"),
            format!("/api/v1/users/{text}/certificates"),
            format!("/api/v1/orgs/{text}"),
            format!("/api/v1/orgs/{text}/branding"),
            format!("/api/v1/orgs/acme/teams/{text}"),
            format!("/api/v1/orgs/acme/projects/{text}"),
            format!("/api/v1/orgs/acme/service-accounts/{text}"),
            format!("/api/v1/bindings?org={text}"),
            format!("/api/v1/principals?id={text}"),
            format!("/api/v1/clients/{text}"),
            format!("/api/v1/upstreams/{text}"),
            format!("/api/v1/configuration-sets/{text}"),
            format!("/api/v1/roles/{text}"),
            format!("/api/v1/rights/who-can?permission={text}&org=acme"),
        ];
        for path in paths {
            let (status, answer) = suite.get(&admin, &path).await;
            assert!(status < 500, "{path}: {status} {answer}");
        }
        for path in [
            format!("/login?org={text}"),
            format!("/login?login_hint={text}@x"),
            format!("/login?continue=%2Foauth2%2Fauthorize%3Fclient_id%3D{text}"),
            format!("/oauth2/brand/{text}/1.css"),
            format!("/oauth2/brand/acme/{text}"),
            format!("/login/upstream/{text}"),
            format!("/login/upstream?email=a%40{text}"),
            format!("/login/reset?token={text}"),
            format!("/register/invitation?token={text}"),
            format!("/login/certificate/back?proof={text}"),
            format!("/oauth2/authorize?client_id={text}"),
            format!("/oauth2/device?user_code={text}"),
        ] {
            let seen = suite.browser().get(&path).await;
            assert!(seen.status < 500, "{path}: {} {}", seen.status, seen.body);
        }
        let decoded = url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().unwrap().1.into_owned();
        for fields in [
            vec![("grant_type", decoded.as_str())],
            vec![("grant_type", "authorization_code"), ("client_id", decoded.as_str()), ("code", decoded.as_str())],
            vec![("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", decoded.as_str())],
        ] {
            let (status, answer) = suite.form("/oauth2/token", &fields).await;
            assert!(status < 500, "{fields:?}: {status} {answer}");
        }
        let (status, answer) = suite.json(Method::DELETE, &format!("/api/v1/users/ada/certificates/{nil}?reason={text}"), Some(&admin), None).await;
        assert!(status < 500, "{status} {answer}");
    }
    // Nothing was taken for a name, and nobody was changed.
    assert_eq!(suite.get(&admin, "/api/v1/users").await.1["items"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_like_others_are_not_given() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let register = async |name: &str, email: &str| {
        let body = json!({ "username": name, "email": email, "password": PASSWORD });
        suite.json(Method::POST, "/api/v1/registrations", None, Some(body)).await
    };
    for (index, name) in
        ["аda", "ａda", "ada\u{200b}", "a\u{0301}da", "ad\u{430}", "ⓐda", "ada ", " ada", "a\u{ad}da", "ada\u{0}", "admin\u{202e}"].into_iter().enumerate()
    {
        let (status, problem) = register(name, &format!("other{index}@example.org")).await;
        // One that only differs by spaces at its ends is the same name.
        assert!(status == 400 || (status == 409 && name.trim() == "ada"), "{name:?}: {status} {problem}");
    }
    for same in ["ADA", "Ada"] {
        let (status, problem) = register(same, "other@example.org").await;
        assert!(matches!(status, 400 | 409), "{same}: {status} {problem}");
    }
    let (status, problem) = register("other", "ADA@example.ORG").await;
    assert_eq!(status, 409, "an address is the same whatever its case: {problem}");
    let org = async |name: &str| suite.post(&suite.access("ada").await, "/api/v1/orgs", json!({ "name": name })).await.0;
    assert_eq!(org("acme").await, 201);
    for name in ["асme", "acme\u{200d}", "ACME", "acme.", "-acme", "acme-", "a".repeat(64).as_str(), "acme/x"] {
        assert!(matches!(org(name).await, 400 | 409), "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_another_organisation_reaches_nothing_by_its_ids() {
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    suite.register("mallory").await;
    let mallory = suite.access("mallory").await;
    assert_eq!(suite.post(&mallory, "/api/v1/orgs", json!({ "name": "evil" })).await.0, 201);
    let make = async |path: &str, body: Value| {
        let (status, made) = suite.post(&ada, path, body).await;
        assert_eq!(status, 201, "{path}: {made}");
        made["id"].as_str().unwrap_or_default().to_owned()
    };
    let team = make("/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await;
    let invitation = make("/api/v1/orgs/acme/invitations", json!({ "email": "x@example.org" })).await;
    let scim = make("/api/v1/orgs/acme/scim-tokens", json!({ "name": "hr" })).await;
    make("/api/v1/orgs/acme/service-accounts", json!({ "name": "ci" })).await;
    let key = make("/api/v1/orgs/acme/service-accounts/ci/keys", json!({})).await;
    let role = make("/api/v1/roles", json!({ "org": "acme", "name": "keeper", "permissions": ["apps.read"] })).await;
    let binding = make("/api/v1/bindings", json!({ "org": "acme", "subject": "bob", "role": "editor" })).await;
    assert_eq!(suite.post(&mallory, "/api/v1/orgs/evil/service-accounts", json!({ "name": "ci" })).await.0, 201);
    for path in [
        format!("/api/v1/orgs/evil/teams/{team}"),
        format!("/api/v1/orgs/evil/invitations/{invitation}"),
        format!("/api/v1/orgs/evil/scim-tokens/{scim}"),
        format!("/api/v1/orgs/evil/service-accounts/ci/keys/{key}"),
        format!("/api/v1/roles/{role}"),
        format!("/api/v1/bindings/{binding}"),
        "/api/v1/orgs/evil/members/bob".into(),
        "/api/v1/orgs/acme/members/bob".into(),
    ] {
        let status = suite.delete(&mallory, &path).await;
        assert!(matches!(status, 403 | 404) || path.ends_with("evil/members/bob"), "{path}: {status}");
    }
    for (path, body) in [
        ("/api/v1/bindings", json!({ "org": "evil", "subject": "mallory", "role": role })),
        ("/api/v1/bindings", json!({ "org": "evil", "subject": format!("team:{team}"), "role": "admin" })),
        ("/api/v1/bindings", json!({ "org": "acme", "subject": "mallory", "role": "admin" })),
        ("/api/v1/orgs/evil/teams", json!({ "name": "child", "parent": team })),
    ] {
        let (status, answer) = suite.post(&mallory, path, body.clone()).await;
        assert!(matches!(status, 400 | 403 | 404), "{path} {body}: {status} {answer}");
    }
    // All of it is as it was.
    for (path, least) in
        [("/api/v1/orgs/acme/teams", 1), ("/api/v1/orgs/acme/invitations", 1), ("/api/v1/orgs/acme/scim-tokens", 1), ("/api/v1/orgs/acme/members", 3)]
    {
        let (_, page) = suite.get(&ada, path).await;
        assert!(page["items"].as_array().unwrap().len() >= least, "{path}: {page}");
    }
    assert_eq!(suite.get(&ada, "/api/v1/orgs/acme/service-accounts/ci/keys").await.1["items"].as_array().unwrap().len(), 1);
    assert_eq!(suite.get(&ada, &format!("/api/v1/roles/{role}")).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_between_its_times_with_a_little_patience_for_clocks() {
    let suite = Suite::start().await;
    let id = suite.register("ada").await;
    // Keys that the test can sign with.
    suite.world.trust(&suite.host);
    let claims = |exp: i64, iat: i64, change: Value| {
        let mut all = json!({
            "iss": ISSUER, "sub": format!("user:{id}"), "aud": ISSUER, "exp": exp, "iat": iat, "nbf": iat, "jti": "j", "client_id": "t", "scope": "openid",
        });
        if let (Some(all), Value::Object(change)) = (all.as_object_mut(), change) {
            all.extend(change);
            all.retain(|_, v| !v.is_null());
        }
        suite.world.sign(&all)
    };
    let call = async |token: &str| suite.get(token, "/api/v1/me").await.0;
    assert_eq!(call(&claims(now() + 60, now(), json!({}))).await, 200);
    // A clock that goes a little wrong.
    assert_eq!(call(&claims(now() - 1, now() - 60, json!({}))).await, 200, "a moment too old");
    assert_eq!(call(&claims(now() + 60, now() + 2, json!({}))).await, 200, "a moment too new");
    for (what, token) in [
        ("expired long ago", claims(now() - 3_600, now() - 7_200, json!({}))),
        ("expired a while ago", claims(now() - 120, now() - 600, json!({}))),
        ("expired just before any clock of ours", claims(now() - 8, now() - 600, json!({}))),
        ("of the near future", claims(now() + 600, now() + 30, json!({}))),
        ("of the future", claims(now() + 7_200, now() + 3_600, json!({}))),
        ("of another issuer", claims(now() + 60, now(), json!({ "iss": "https://evil.example" }))),
        ("for somebody else", claims(now() + 60, now(), json!({ "aud": "https://other.example" }))),
        ("for ever", claims(now() + 60, now(), json!({ "exp": null }))),
        ("of nobody", claims(now() + 60, now(), json!({ "sub": null }))),
        ("of a number", claims(now() + 60, now(), json!({ "sub": 7 }))),
    ] {
        assert_eq!(call(&token).await, 401, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_is_refused_in_the_words_of_its_own_protocol() {
    let suite = Suite::start().await;
    let get = async |path: &str, accept: &str| {
        let answer = suite.world.http.get(format!("{}{path}", suite.base)).header(reqwest::header::ACCEPT, accept).send().await.unwrap();
        let kind = answer.headers()[reqwest::header::CONTENT_TYPE].to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind, answer.text().await.unwrap())
    };
    for (path, accept, kind, says) in [
        ("/scim/v2/orgs/acme/Users?filter=%00", "*/*", "application/scim+json", "urn:ietf:params:scim:api:messages:2.0:Error"),
        ("/oauth2/registry-token?scope=%00", "*/*", "application/json", "\"error\":\"invalid_request\""),
        ("/api/v1/users/%00", "text/html", "application/problem+json", "\"code\":\"request.invalid\""),
        ("/login?login_hint=%00", "text/html,*/*", "text/html", "<html"),
        ("/oauth2/authorize?client_id=%00", "text/html,*/*", "text/html", "<html"),
    ] {
        let (status, seen, body) = get(path, accept).await;
        assert!(status == 400 && seen.starts_with(kind) && body.contains(says), "{path}: {status} {seen} {body}");
    }
}
