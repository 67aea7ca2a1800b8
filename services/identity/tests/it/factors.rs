//! Second factors: enrolled on the account page, asked for at sign-in, used once, and what must not get around them.

use gantry_identity::domain::totp;
use reqwest::Method;
use serde_json::json;

use crate::support::{Browser, PASSWORD, Pkce, Seen, Suite};

/// The code of the step `shift` away from now.
pub fn code_of(secret: &str, shift: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    totp::code(&decode(secret), totp::step_at(now) + shift)
}

/// Base 32, as an authenticator application reads it.
fn decode(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = text.chars().map(|c| format!("{:05b}", alphabet.find(c).unwrap())).collect();
    bits.as_bytes().chunks_exact(8).map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap()).collect()
}

/// Adds an authenticator on the account page; gives its secret and the recovery codes.
pub async fn enrol(browser: &mut Browser<'_>) -> (String, Vec<String>) {
    let page = browser.get("/account").await;
    assert_eq!(page.status, 200, "{}", page.body);
    let page = browser.post("/account/totp", &[("csrf", &page.field("csrf"))]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("<svg"), "the QR code is on the page");
    let secret = text_of(&page, "<p class=\"secret\">");
    let (csrf, pending) = (page.field("csrf"), page.field("pending"));
    let wrong = browser.post("/account/totp-confirm", &[("csrf", &csrf), ("pending", &pending), ("code", "000000"), ("label", "phone")]).await;
    assert!(wrong.status == 422 && wrong.body.contains(&secret), "a wrong first code shows the same secret again: {}", wrong.body);
    let code = code_of(&secret, 0);
    let done = browser.post("/account/totp-confirm", &[("csrf", &csrf), ("pending", &pending), ("code", &code), ("label", "phone")]).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let codes: Vec<String> = done.body.split("<li>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
    assert_eq!(codes.len(), 10);
    (secret, codes)
}

fn text_of(page: &Seen, mark: &str) -> String {
    let rest = page.body.split(mark).nth(1).unwrap_or_else(|| panic!("no {mark}: {}", page.body));
    rest.split('<').next().unwrap().trim().to_owned()
}

/// Takes the first step; gives the page of the second.
pub async fn first_step(browser: &mut Browser<'_>, name: &str) -> Seen {
    let page = browser.get("/login").await;
    let answer = browser.submit_login(&page, name, PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(answer.location().starts_with("/login/second?"), "{}", answer.location());
    assert!(!browser.cookies.contains_key("__Host-gantry_session"), "no session before the second step");
    browser.get(answer.location()).await
}

async fn second_step(browser: &mut Browser<'_>, page: &Seen, code: &str) -> Seen {
    browser.post("/login/second", &[("csrf", &page.field("csrf")), ("continue", "/account"), ("code", code)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_enrolled_and_asked_for_and_each_code_counts_once() {
    gantry_testkit::clause("6.5.2.2.f");
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let (secret, codes) = enrol(&mut browser).await;

    // The code that confirmed the enrolment is used up, and an older one too.
    let mut other = suite.browser();
    let page = first_step(&mut other, "ada").await;
    for shift in [0, -1] {
        let refused = second_step(&mut other, &page, &code_of(&secret, shift)).await;
        assert_eq!(refused.status, 401, "{}", refused.body);
    }
    let next = code_of(&secret, 1);
    let opened = second_step(&mut other, &page, &next).await;
    assert_eq!((opened.status, opened.location()), (303, "/account"), "{}", opened.body);
    assert!(other.cookies.contains_key("__Host-gantry_session"));
    assert!(!other.cookies.contains_key("__Host-gantry_step"), "the first step is used up");

    // Tokens say so.
    let pkce = Pkce::new("f");
    let code = other.code(&pkce).await;
    let (_, tokens) = suite.exchange(&code, &pkce.verifier).await;
    let claims = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!(claims["amr"], json!(["pwd", "otp", "mfa"]));

    // Replayed in yet another browser.
    let mut thief = suite.browser();
    let page = first_step(&mut thief, "ada").await;
    assert_eq!(second_step(&mut thief, &page, &next).await.status, 401, "a code counts once");

    // A recovery code stands in, once, however it is typed.
    let typed = codes[0].to_uppercase().replace('-', " ");
    let opened = second_step(&mut thief, &page, &typed).await;
    assert_eq!(opened.status, 303, "{}", opened.body);
    let mut again = suite.browser();
    let page = first_step(&mut again, "ada").await;
    assert_eq!(second_step(&mut again, &page, &codes[0]).await.status, 401);
    let account = thief.get("/account").await;
    assert!(account.body.contains("Codes left: 9"), "{}", account.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_around_the_second_step() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.register("eve").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let (_, codes) = enrol(&mut browser).await;

    // The step cookie is no session.
    let mut half = suite.browser();
    let page = first_step(&mut half, "ada").await;
    let account = half.get("/account").await;
    assert!(account.location().starts_with("/login"), "{}", account.location());
    let step = half.cookies["__Host-gantry_step"].clone();
    half.cookies.insert("__Host-gantry_session".into(), step.clone());
    assert!(half.get("/account").await.location().starts_with("/login"));
    half.cookies.remove("__Host-gantry_session");

    // Somebody else's, a damaged and a forged one.
    let mut forged = suite.browser();
    forged.cookies.insert("__Host-gantry_step".into(), format!("{}x", &step[..step.len() - 2]));
    assert!(forged.get("/login/second").await.location().starts_with("/login?"));

    // Without the form's seal nothing is tried, and nothing used up.
    let refused = half.post("/login/second", &[("code", &codes[0]), ("csrf", "x")]).await;
    assert_eq!(refused.status, 400);

    // The password alone is not enough where programs send it.
    let login =
        suite.world.http.post(format!("{}/api/v1/tokens", suite.base)).basic_auth("ada", Some(PASSWORD)).json(&json!({ "name": "x" })).send().await.unwrap();
    assert_eq!(login.status(), 401);
    let docker =
        suite.world.http.get(format!("{}/oauth2/registry-token?service=gantry-registry", suite.base)).basic_auth("ada", Some(PASSWORD)).send().await.unwrap();
    assert_eq!(docker.status(), 401);

    // Guessing ends.
    let mut last = 0;
    for _ in 0..12 {
        last = second_step(&mut half, &page, "123456").await.status;
    }
    assert_eq!(last, 429, "codes cannot be guessed");
    // ... for this account only.
    suite.tokens("eve").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_factors_want_a_form_of_ours_and_the_second_factor() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    for verb in [
        "profile",
        "password",
        "totp",
        "totp-confirm",
        "remove-factor",
        "recovery-codes",
        "end-session",
        "end-sessions",
        "make-token",
        "revoke-token",
        "disconnect",
        "export",
        "delete",
    ] {
        let refused = browser.post(&format!("/account/{verb}"), &[("csrf", "AAAA"), ("confirm", "ada"), ("name", "x")]).await;
        assert_eq!(refused.status, 400, "{verb}");
    }
    let (secret, _) = enrol(&mut browser).await;
    // The session was opened before there was a factor: it has to prove it before the factor can be taken away.
    let page = browser.get("/account").await;
    let csrf = page.field("csrf");
    let id = page
        .body
        .split("action=\"/account/remove-factor\"")
        .nth(1)
        .unwrap()
        .split("name=\"id\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let away = browser.post("/account/remove-factor", &[("csrf", &csrf), ("id", &id)]).await;
    assert!(away.location().starts_with("/login/second"), "{}", away.location());
    let before = browser.cookies["__Host-gantry_session"].clone();
    let page = browser.get(away.location()).await;
    let stronger = second_step(&mut browser, &page, &code_of(&secret, 1)).await;
    assert_eq!((stronger.status, stronger.location()), (303, "/account"));
    assert_ne!(browser.cookies["__Host-gantry_session"], before, "a stronger session has another secret");
    let gone = browser.post("/account/remove-factor", &[("csrf", &csrf), ("id", &id)]).await;
    assert_eq!(gone.location(), "/account?done=saved", "{}", gone.body);
    suite.tokens("ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_their_data_take_it_along_and_leave_without_a_trace() {
    gantry_testkit::clause("6.5.2.2.i");
    let suite = Suite::start().await;
    let id = suite.register("ada").await;
    let access = suite.access("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let page = browser.get("/account").await;
    let csrf = page.field("csrf");
    assert!(page.body.contains("Gantry Console"), "the connected application is shown");
    let renamed = browser.post("/account/profile", &[("csrf", &csrf), ("display_name", "Ada <b>Lovelace")]).await;
    assert_eq!(renamed.location(), "/account?done=saved");
    let page = browser.get("/account?done=saved").await;
    assert!(page.body.contains("Ada &lt;b&gt;Lovelace") && page.body.contains("Saved."), "{}", page.body);
    let token = browser.post("/account/make-token", &[("csrf", &csrf), ("name", "script"), ("days", "30")]).await;
    let secret = text_of(&token, "<p class=\"secret\">");
    assert!(secret.starts_with("gpat_"));

    let data = browser.post("/account/export", &[("csrf", &csrf)]).await;
    let data: serde_json::Value = serde_json::from_str(&data.body).unwrap();
    assert_eq!(data["profile"]["email"], "ada@example.org");
    assert_eq!(data["history"][0]["data"]["email"], "ada@example.org");
    assert!(!data.to_string().contains("argon2") && !data.to_string().contains(&secret), "no secrets");
    assert!(data["security_facts"].as_array().unwrap().iter().any(|f| f["action"] == "session.opened"));

    let ended = browser.post("/account/disconnect", &[("csrf", &csrf), ("client", "gantry-console")]).await;
    assert_eq!(ended.location(), "/account?done=saved", "{}", ended.body);

    let wrong = browser.post("/account/delete", &[("csrf", &csrf), ("confirm", "Ada")]).await;
    assert_eq!(wrong.status, 422);
    let erased = browser.post("/account/delete", &[("csrf", &csrf), ("confirm", "ada")]).await;
    assert_eq!(erased.status, 200, "{}", erased.body);
    let (gone, all) =
        text_of(&erased, "<p role=\"status\">").rsplit_once(' ').map(|(head, all)| (head.rsplit(' ').nth(1).unwrap().to_owned(), all.to_owned())).unwrap();
    assert!(gone == all && all.parse::<u32>().unwrap() >= 4, "{}", erased.body);
    assert!(browser.get("/account").await.location().starts_with("/login"));
    let (status, _) = suite.json(Method::GET, &format!("/api/v1/users/{id}"), Some(&access), None).await;
    assert!(matches!(status, 401 | 404), "{status}");
    // The name is free again.
    suite.register("ada").await;
}

pub fn claims_of(token: &str) -> serde_json::Value {
    use base64::Engine;
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_manage_the_own_account_with_a_fresh_and_strong_token() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let weak = suite.access("ada").await;
    let pat = suite.json(Method::POST, "/api/v1/tokens", Some(&weak), Some(json!({ "name": "x" }))).await.1["secret"].as_str().unwrap().to_owned();
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "gantry-cli"),
        ("subject_token", pat.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let (_, exchanged) = suite.form("/oauth2/token", &fields).await;
    let sessionless = exchanged["access_token"].as_str().unwrap();
    let (status, problem) = suite.json(Method::POST, "/api/v1/me/factors/totp", Some(sessionless), None).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("identity.sign_in_again")), "a token of no sign-in takes no account over");
    assert_eq!(suite.json(Method::GET, "/api/v1/me/factors", None, None).await.0, 401);

    let (status, offer) = suite.json(Method::POST, "/api/v1/me/factors/totp", Some(&weak), None).await;
    assert_eq!(status, 200, "{offer}");
    let secret = offer["secret"].as_str().unwrap();
    let proof = |code: &str| json!({ "pending": offer["pending"], "code": code, "label": "phone" });
    assert_eq!(suite.json(Method::POST, "/api/v1/me/factors", Some(&weak), Some(proof("000000"))).await.0, 400);
    let (status, made) = suite.json(Method::POST, "/api/v1/me/factors", Some(&weak), Some(proof(&code_of(secret, 0)))).await;
    assert_eq!((status, made["codes"].as_array().map(Vec::len)), (201, Some(10)), "{made}");
    let (_, factors) = suite.json(Method::GET, "/api/v1/me/factors", Some(&weak), None).await;
    assert_eq!((factors["items"][0]["kind"].as_str(), factors["items"][0]["label"].as_str()), (Some("totp"), Some("phone")));
    // From now on the password alone is too weak.
    let (status, problem) = suite.json(Method::POST, "/api/v1/me/recovery-codes", Some(&weak), None).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("identity.sign_in_again")), "{problem}");

    let mut browser = suite.browser();
    let page = first_step(&mut browser, "ada").await;
    second_step(&mut browser, &page, &code_of(secret, 1)).await;
    let pkce = Pkce::new("s");
    let code = browser.code(&pkce).await;
    let strong = suite.exchange(&code, &pkce.verifier).await.1["access_token"].as_str().unwrap().to_owned();
    assert_eq!(suite.json(Method::POST, "/api/v1/me/recovery-codes", Some(&strong), None).await.0, 201);
    let (_, apps) = suite.json(Method::GET, "/api/v1/me/applications", Some(&strong), None).await;
    assert!(apps["items"].as_array().unwrap().iter().any(|a| a["client_id"] == "gantry-console"), "{apps}");
    assert_eq!(suite.json(Method::GET, "/api/v1/me/export", Some(&strong), None).await.1["profile"]["username"], "ada");
    assert_eq!(suite.json(Method::DELETE, "/api/v1/me?confirm=eve", Some(&strong), None).await.0, 400);
    let (status, erased) = suite.json(Method::DELETE, "/api/v1/me?confirm=ada", Some(&strong), None).await;
    assert_eq!((status, erased["readable"].as_u64()), (200, Some(0)), "{erased}");
    assert!(erased["values"].as_u64().unwrap() >= 6, "{erased}");
}
