//! Passkeys, with a software authenticator on the other side.

use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::Passkey;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use passkey::types::webauthn::{CredentialCreationOptions, CredentialRequestOptions};
use serde_json::{Value, json};
use url::Url;

use crate::factors::{claims_of, first_step};
use crate::support::{Browser, ISSUER, PASSWORD, Pkce, Suite};

/// Somebody who is there and shows it.
struct Holder;

#[async_trait::async_trait]
impl UserValidationMethod for Holder {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(&self, _: UiHint<'a, Passkey>, _: bool, _: bool) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: true })
    }
    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
    fn is_presence_enabled(&self) -> bool {
        true
    }
}

macro_rules! device {
    ($store:expr) => {{
        let mut authenticator = Authenticator::new(Aaguid::new_empty(), $store, Holder, RustCryptoBackend);
        authenticator.set_make_credentials_with_signature_counter(true);
        Client::new(authenticator)
    }};
}

async fn challenge(browser: &mut Browser<'_>, csrf: &str, purpose: &str) -> Value {
    let seen = browser.post("/login/passkey/challenge", &[("csrf", csrf), ("purpose", purpose)]).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    serde_json::from_str(&seen.body).unwrap()
}

/// As a browser's script sends it: bytes in base64url. The library writes lists of numbers.
fn sent(answer: &impl serde::Serialize) -> String {
    fn encode(value: &mut Value) {
        use base64::Engine;
        match value {
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_u64) => {
                let bytes: Vec<u8> = items.iter().map(|i| u8::try_from(i.as_u64().unwrap()).unwrap()).collect();
                *value = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes).into();
            }
            Value::Array(items) => items.iter_mut().for_each(encode),
            Value::Object(fields) => fields.values_mut().for_each(encode),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut value = serde_json::to_value(answer).unwrap();
    encode(&mut value);
    value.to_string()
}

fn origin() -> Url {
    Url::parse(ISSUER).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_the_second_step_and_the_only_one() {
    gantry_testkit::clause("6.5.2.2.f");
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let csrf = browser.get("/account").await.field("csrf");
    let options = challenge(&mut browser, &csrf, "add").await;
    assert_eq!(options["publicKey"]["authenticatorSelection"]["residentKey"], "preferred");
    assert_eq!(options["publicKey"]["authenticatorSelection"]["userVerification"], "required");
    let store: Option<Passkey> = None;
    let mut device = device!(store);
    let request: CredentialCreationOptions = serde_json::from_value(options).unwrap();
    let made = sent(&device.register(&origin(), request, DefaultClientData).await.unwrap());
    let added = browser.post("/account/passkey", &[("csrf", &csrf), ("credential", &made), ("label", "laptop")]).await;
    assert!(added.status == 200 && added.body.contains("Recovery codes"), "{}", added.body);
    let again = browser.post("/account/passkey", &[("csrf", &csrf), ("credential", &made), ("label", "laptop")]).await;
    assert_ne!(again.status, 200, "a challenge is answered once");

    // The second step.
    let mut other = suite.browser();
    let page = first_step(&mut other, "ada").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'nonce-") && !policy.contains("unsafe"), "{policy}");
    let csrf = page.field("csrf");
    let request: CredentialRequestOptions = serde_json::from_value(challenge(&mut other, &csrf, "second").await).unwrap();
    let answer = sent(&device.authenticate(&origin(), request, DefaultClientData).await.unwrap());
    let opened = other.post("/login/passkey", &[("csrf", &csrf), ("credential", &answer), ("continue", "/account")]).await;
    assert_eq!((opened.status, opened.location()), (303, "/account"), "{}", opened.body);
    let replayed = suite.browser().post("/login/passkey", &[("csrf", &csrf), ("credential", &answer)]).await;
    assert_eq!(replayed.status, 400, "in another browser");
    let replayed = other.post("/login/passkey", &[("csrf", &csrf), ("credential", &answer)]).await;
    assert_eq!(replayed.status, 401, "and not twice");

    // Alone: no name, no password.
    let mut alone = suite.browser();
    let csrf = alone.get("/login").await.field("csrf");
    let request: CredentialRequestOptions = serde_json::from_value(challenge(&mut alone, &csrf, "signin").await).unwrap();
    let answer = sent(&device.authenticate(&origin(), request, DefaultClientData).await.unwrap());
    let opened = alone.post("/login/passkey", &[("csrf", &csrf), ("credential", &answer)]).await;
    assert_eq!(opened.status, 303, "{}", opened.body);
    let pkce = Pkce::new("p");
    let code = alone.code(&pkce).await;
    let (_, tokens) = suite.exchange(&code, &pkce.verifier).await;
    let amr = claims_of(tokens["id_token"].as_str().unwrap())["amr"].clone();
    assert!(amr == json!(["hwk", "user", "mfa"]) || amr == json!(["swk", "user", "mfa"]), "{amr}");

    // Where a policy admits passwords only, it is no way to sign in, and the second step still.
    let admin = suite.admin().await;
    assert_eq!(suite.put(&admin, "/api/v1/policies/security", json!({ "sign_in_by": ["password"] })).await, 200);
    let mut barred = suite.browser();
    let csrf = barred.get("/login").await.field("csrf");
    let request: CredentialRequestOptions = serde_json::from_value(challenge(&mut barred, &csrf, "signin").await).unwrap();
    let alone = sent(&device.authenticate(&origin(), request, DefaultClientData).await.unwrap());
    assert_eq!(barred.post("/login/passkey", &[("csrf", &csrf), ("credential", &alone)]).await.status, 403);
    let csrf = first_step(&mut barred, "ada").await.field("csrf");
    let request: CredentialRequestOptions = serde_json::from_value(challenge(&mut barred, &csrf, "second").await).unwrap();
    let second = sent(&device.authenticate(&origin(), request, DefaultClientData).await.unwrap());
    let opened = barred.post("/login/passkey", &[("csrf", &csrf), ("credential", &second), ("continue", "/account")]).await;
    assert_eq!((opened.status, opened.location()), (303, "/account"), "{}", opened.body);

    // A key of a page that only looks like ours is worth nothing.
    let mut fished = suite.browser();
    let csrf = fished.get("/login").await.field("csrf");
    let options = challenge(&mut fished, &csrf, "signin").await;
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    use base64::Engine;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let data = json!({ "type": "webauthn.get", "challenge": options["publicKey"]["challenge"], "origin": "https://gantry.test.evil.example" });
    answer["response"]["clientDataJSON"] = engine.encode(data.to_string()).into();
    let refused = fished.post("/login/passkey", &[("csrf", &csrf), ("credential", &answer.to_string())]).await;
    assert_eq!(refused.status, 401);
    for junk in ["", "{}", "[[[[", "\u{0}"] {
        let refused = fished.post("/login/passkey", &[("csrf", &csrf), ("credential", junk)]).await;
        assert_eq!(refused.status, 401, "{junk}");
    }
}
