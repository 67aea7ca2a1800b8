//! Access tokens signed with the test's own key, which the started services are told to trust.

use gantry_auth::AccessClaims;
use gantry_kernel::{Env, UserId};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;

/// Stands in for identity's signing key.
pub struct Signer {
    key: EncodingKey,
    pub set: JwkSet,
}

const KID: &str = "test";

impl Signer {
    #[allow(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let pair = KeyPair::generate().expect("a P-256 key is made");
        let key = EncodingKey::from_ec_der(pair.serialized_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("the key has a public part");
        jwk.common.key_id = Some(KID.into());
        Self { key, set: JwkSet { keys: vec![jwk] } }
    }

    pub fn user(&self, env: &Env, issuer: &str, user: UserId, name: &str) -> String {
        self.subject(env, issuer, &format!("user:{user}"), Some(name))
    }

    pub fn subject(&self, env: &Env, issuer: &str, subject: &str, name: Option<&str>) -> String {
        let now = env.now().unix_timestamp();
        let claims = AccessClaims {
            iss: issuer.into(),
            sub: subject.into(),
            aud: issuer.into(),
            exp: now + 600,
            iat: now,
            jti: env.uuid().to_string(),
            client_id: "test".into(),
            scope: "openid".into(),
            preferred_username: name.map(str::to_owned),
            sid: None,
            amr: vec!["pwd".into()],
            act: None,
            cnf: None,
        };
        self.sign(&claims)
    }

    pub fn sign(&self, claims: &impl serde::Serialize) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KID.into());
        header.typ = Some("at+jwt".into());
        encode(&header, claims, &self.key).expect("claims are signed")
    }
}
