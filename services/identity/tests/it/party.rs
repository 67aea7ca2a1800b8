//! A relying party of any kind: registered over REST, with whatever it sends to the endpoints.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::{Browser, ISSUER, PASSWORD, Pkce, Seen, Suite};

pub const CB: &str = "https://shop.example/cb";

/// An ES256 key pair of a client or of an outside issuer.
#[derive(Clone)]
pub struct PartyKey {
    pub signer: EncodingKey,
    pub jwk: Jwk,
}

impl PartyKey {
    pub fn new(kid: &str) -> Self {
        let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let signer = EncodingKey::from_ec_der(private.as_ref());
        let mut jwk = Jwk::from_encoding_key(&signer, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        Self { signer, jwk }
    }

    pub fn set(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.jwk.common.key_id.clone(), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.signer).unwrap()
    }

    /// A DPoP proof.
    pub fn proof(&self, method: &str, path: &str, more: Value) -> String {
        let mut claims =
            json!({ "jti": uuid::Builder::from_random_bytes(random()).into_uuid(), "htm": method, "htu": format!("{ISSUER}{path}"), "iat": now() });
        if let (Some(all), Value::Object(more)) = (claims.as_object_mut(), more) {
            all.extend(more);
        }
        let mut jwk = self.jwk.clone();
        jwk.common.key_id = None;
        let header = Header { typ: Some("dpop+jwt".into()), jwk: Some(jwk), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.signer).unwrap()
    }
}

pub fn random() -> [u8; 16] {
    gantry_kernel::Env::system().random()
}

pub fn now() -> i64 {
    gantry_kernel::Env::system().now().unix_timestamp()
}

/// Settings with these changes.
pub fn settings(changes: Value) -> Value {
    let mut all = json!({
        "client_name": "Shop", "redirect_uris": [CB], "grant_types": ["authorization_code", "refresh_token"],
        "scopes": ["openid", "profile", "email", "groups", "roles", "offline_access"],
    });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

impl Suite {
    /// Registers a client of the platform; gives its id and secret.
    pub async fn client(&self, admin: &str, changes: Value) -> (String, String) {
        let body = json!({ "settings": settings(changes) });
        let (status, made) = self.json(Method::POST, "/api/v1/clients", Some(admin), Some(body)).await;
        assert_eq!(status, 201, "{made}");
        (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap_or_default().to_owned())
    }

    /// The same with headers.
    pub async fn form_with(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> (u16, Value) {
        let mut request = self.world.http.post(format!("{}{path}", self.base)).form(fields);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Value) {
        let mut request = self.world.http.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.json().await.unwrap_or(Value::Null))
    }

    /// A browser in which somebody is signed in.
    pub async fn signed_in(&self, name: &str) -> Browser<'_> {
        let mut browser = self.browser();
        browser.sign_in(name, PASSWORD).await;
        browser
    }
}

/// An authorization request of a client; `more` replaces or adds.
pub fn ask(client: &str, pkce: &Pkce, more: &[(&str, &str)]) -> String {
    let changed = [&[("client_id", client), ("redirect_uri", CB), ("scope", "openid profile email groups roles offline_access")][..], more].concat();
    // The last one of a name counts.
    let last: Vec<(&str, &str)> = changed.iter().enumerate().filter(|(i, (n, _))| !changed[i + 1..].iter().any(|(m, _)| m == n)).map(|(_, p)| *p).collect();
    crate::support::authorize_path(pkce, &last)
}

/// The claims of a token, not checked.
pub fn claims(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap()
}

impl Seen {
    pub fn code(&self) -> String {
        self.parameter("code").unwrap_or_else(|| panic!("no code: {} {} {}", self.status, self.location(), self.body))
    }
}

/// Fields of a code exchange.
pub fn exchange<'a>(client: &'a str, secret: &'a str, code: &'a str, pkce: &'a Pkce) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![("grant_type", "authorization_code"), ("client_id", client), ("code", code), ("redirect_uri", CB), ("code_verifier", &pkce.verifier)];
    if !secret.is_empty() {
        fields.push(("client_secret", secret));
    }
    fields
}
