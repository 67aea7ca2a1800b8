//! How an organisation's sign-in pages look, and the switch of their language.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::party::{ask, settings};
use crate::support::{PASSWORD, Pkce, Suite};

const LOOK: &str = "/api/v1/orgs/acme/branding";
const LOGO: &str = "/api/v1/orgs/acme/branding/logo";

/// 16 × 16 grey pixels.
const PNG: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x10\x00\x00\x00\x10\x08\x00\x00\x00\x00:\x98\xa0\xbd\x00\x00\x00\x0fIDATx\xdach@\x03\x0c#[\x00\x00\x05\x0c\x80\x01\xe33Y\x8a\x00\x00\x00\x00IEND\xaeB`\x82";

fn upload(bytes: &[u8]) -> Value {
    json!({ "content": STANDARD.encode(bytes) })
}

async fn file(suite: &Suite, path: &str) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let response = suite.world.http.get(format!("{}{path}", suite.base)).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_gives_its_sign_in_pages_a_look() {
    gantry_testkit::clause("6.5.2.1.b");
    let suite = Suite::start().await;
    let [ada, bob, _] = suite.acme().await;
    let look = json!({ "title": "Acme Ltd", "accent": "#7A1FA2", "support": "help@acme.example", "notice_en": "For staff <only>.", "notice_zh": "仅限员工。" });
    assert_eq!(suite.put(&ada, LOOK, look.clone()).await, 200);
    let (status, made) = suite.json(Method::PUT, LOGO, Some(&ada), Some(upload(PNG))).await;
    assert_eq!((status, &made["logo"]["media_type"], &made["logo"]["width"]), (200, &json!("image/png"), &json!(16)), "{made}");
    assert_eq!(suite.get(&bob, LOOK).await.1, made, "members see it");

    // By the address of the page; then on every page of this browser.
    let mut browser = suite.browser();
    let page = browser.get("/login?org=acme").await;
    let logo = made["logo"]["url"].as_str().unwrap();
    for part in [r#"alt="Acme Ltd""#, "For staff &lt;only&gt;.", "mailto:help@acme.example", &logo.replace('/', "&#x2f;")] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let policy = page.headers.get("content-security-policy").unwrap().to_str().unwrap();
    assert!(policy.contains("default-src 'none'; style-src 'self'; img-src 'self' data:;") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.body.contains("style=\""), "no style in the page itself");
    let forgotten = browser.get("/login/forgotten").await;
    assert!(forgotten.body.contains("Acme Ltd"), "{}", forgotten.body);
    let wrong = browser.submit_login(&page, "ada", "wrong-Password-1").await;
    assert!(wrong.status == 401 && wrong.body.contains("Acme Ltd"), "{}", wrong.body);
    assert!(!suite.browser().get("/login").await.body.contains("Acme"), "nobody else sees it");
    let platform = browser.get("/login?org=").await;
    assert!(!platform.body.contains("Acme"), "an address that names none takes it away");

    // By the organisation of the client that sends the browser.
    let client = json!({ "id": "acme-shop", "org": "acme", "settings": settings(json!({})) });
    assert_eq!(suite.post(&ada, "/api/v1/clients", client).await.0, 201);
    let pkce = Pkce::new("b");
    let mut browser = suite.browser();
    let to = browser.get(&ask("acme-shop", &pkce, &[])).await.location().to_owned();
    let page = browser.get(&to).await;
    assert!(page.body.contains("Acme Ltd"), "{}", page.body);
    let answer = browser.submit_login(&page, "ada", PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let mut other = suite.browser();
    other.get("/login?org=acme").await;
    let to = other.get(&ask("gantry-console", &pkce, &[("redirect_uri", crate::support::CALLBACK), ("scope", "openid")])).await.location().to_owned();
    assert!(!other.get(&to).await.body.contains("Acme"), "a sign-in at the platform's own client looks as the platform");

    // Files: typed, not to be sniffed, dead when opened by themselves.
    let (status, headers, bytes) = file(&suite, logo).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap(), bytes.as_slice()), (200, "image/png", PNG));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    let style =
        page.body.split("href=\"").filter_map(|t| t.split('"').next()).find(|t| t.ends_with(".css") && t.contains("acme")).unwrap().replace("&#x2f;", "/");
    let (status, headers, bytes) = file(&suite, &style).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "text/css"));
    assert!(String::from_utf8(bytes).unwrap().starts_with(":root { --act: #7a1fa2; }"));

    // Another logo, none, and nothing at all.
    assert_eq!(suite.delete(&ada, LOGO).await, 204);
    assert_eq!(file(&suite, logo).await.0, 404, "one that was taken away is not given out");
    assert_eq!(suite.get(&ada, LOOK).await.1, look_of(look));
    assert_eq!(suite.delete(&ada, LOOK).await, 204);
    assert_eq!(suite.get(&ada, LOOK).await.1, json!({}));
    assert!(!suite.browser().get("/login?org=acme").await.body.contains("Acme"));
}

/// As it is kept.
fn look_of(look: Value) -> Value {
    look
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_neither_a_script_nor_anothers_business() {
    let suite = Suite::start().await;
    let [ada, bob, _] = suite.acme().await;
    suite.register("mallory").await;
    let mallory = suite.access("mallory").await;
    assert_eq!(suite.post(&mallory, "/api/v1/orgs", json!({ "name": "evil" })).await.0, 201);
    for (who, expected) in [(&bob, 403), (&mallory, 404)] {
        assert_eq!(suite.put(who, LOOK, json!({ "title": "Mine" })).await, expected);
        assert_eq!(suite.put(who, LOGO, upload(PNG)).await, expected);
        assert_eq!((suite.delete(who, LOOK).await, suite.delete(who, LOGO).await), (expected, expected));
    }
    assert_eq!(suite.get(&mallory, LOOK).await.0, 404);
    for (field, value) in [
        ("accent", "#fff;}body{background:url(https://evil.example)}"),
        ("accent", "red"),
        ("accent", "#ffff00"),
        ("accent_dark", "#101010"),
        ("support", "javascript:alert(1)"),
        ("privacy_url", "http://acme.example"),
        ("terms_url", "https://acme.example\u{a0}x"),
        ("title", "\u{202e}moc.emca"),
    ] {
        let (status, problem) = suite.json(Method::PUT, LOOK, Some(&ada), Some(json!({ field: value }))).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (400, Some(field)), "{value}: {problem}");
    }
    assert_eq!(suite.put(&ada, LOOK, json!({ "css": "*{}" })).await, 400, "what it does not know it does not take");
    let svg: &[u8] = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let page = [PNG, b"<script>alert(1)</script>"].concat();
    for bad in [svg, b"GIF89a", b"", &page, &vec![0; 200_000], &PNG[..30]] {
        let (status, problem) = suite.json(Method::PUT, LOGO, Some(&ada), Some(upload(bad))).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (400, Some("content")), "{problem}");
    }
    assert_eq!(suite.put(&ada, LOGO, json!({ "content": "%%%" })).await, 400);
    let huge = suite.world.http.put(format!("{}{LOGO}", suite.base)).bearer_auth(&ada).json(&json!({ "content": "A".repeat(2 << 20) })).send().await;
    // The answer comes before all is sent, and may be lost with the connection.
    assert!(huge.is_err() || huge.is_ok_and(|answer| answer.status() == 413));
    assert_eq!(suite.get(&ada, LOOK).await.1, json!({}), "nothing of it stays");

    // Two at once: the later one has read what is no longer so.
    let (_, headers, _) = suite.get_with(LOOK, &[("authorization", &format!("Bearer {ada}"))]).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(suite.put(&ada, LOOK, json!({ "title": "First" })).await, 200);
    let second = suite.world.http.put(format!("{}{LOOK}", suite.base)).bearer_auth(&ada).header("if-match", tag).json(&json!({ "title": "Second" }));
    assert_eq!(second.send().await.unwrap().status().as_u16(), 412);
    for path in ["/oauth2/brand/acme/../../x", "/oauth2/brand/nobody/1.css", "/oauth2/brand/acme/x.css", "/oauth2/brand/acme/00"] {
        assert_eq!(file(&suite, path).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_is_switched_on_every_page_and_stays() {
    let suite = Suite::start().await;
    let mut browser = suite.browser();
    let page = browser.get("/login?continue=%2Faccount").await;
    assert!(page.body.contains("lang=\"en\"") && page.body.contains("中文"), "{}", page.body);
    let chosen = browser.get("/login?continue=%2Faccount&ui_locales=en&lang=zh-CN").await;
    assert_eq!((chosen.status, chosen.location()), (303, "/login?continue=%2Faccount"));
    let page = browser.get(chosen.location()).await;
    assert!(page.body.contains("lang=\"zh-CN\"") && page.body.contains("登录") && page.body.contains("English"), "{}", page.body);
    assert_eq!(page.field("continue"), "/account", "where the person was going is not forgotten");
    let page = browser.get("/login?ui_locales=en").await;
    assert!(page.body.contains("lang=\"zh-CN\""), "what the person chose goes before what a client asks for");
    let wrong = browser.submit_login(&page, "nobody", "x").await;
    assert!(wrong.body.contains("lang=\"zh-CN\"") && wrong.body.contains("lang=en"), "{}", wrong.body);
    for bad in ["//evil.example/..", "xx", "zh%0d%0aSet-Cookie:a=b"] {
        let seen = browser.get(&format!("/login?lang={bad}")).await;
        assert!(seen.status == 200 || seen.location() == "/login", "{bad}: {}", seen.location());
    }
}
