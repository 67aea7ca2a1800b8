//! Tokens by identity: JWT access tokens (RFC 9068) and registry tokens (Docker token specification).

use std::sync::Arc;

use gantry_kernel::OffsetDateTime;
use jsonwebtoken::{Validation, decode, decode_header};
use moka::future::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::keys::Keys;

/// Clocks may differ by this much.
const LEEWAY_SECS: u64 = 5;

/// Claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    pub iss: String,
    /// "user:<uuid>", "service:<name>", "robot:<uuid>".
    pub sub: String,
    pub aud: String,
    pub exp: i64,
    pub iat: i64,
    pub jti: String,
    #[serde(default)]
    pub client_id: String,
    /// Space-separated.
    #[serde(default)]
    pub scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// The session it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Factors used (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Who really acts, when somebody is impersonated (RFC 8693 section 4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<serde_json::Value>,
    /// The key it is bound to (RFC 9449, RFC 8705): without proof of that key it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<serde_json::Value>,
}

/// Claims of a registry token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryClaims {
    pub iss: String,
    /// As in [`AccessClaims`], or "" for anonymous.
    pub sub: String,
    pub aud: String,
    pub exp: i64,
    pub iat: i64,
    pub nbf: i64,
    pub jti: String,
    pub access: Vec<RegistryAccess>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryAccess {
    /// `repository` or `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub actions: Vec<String>,
}

/// What a verified set of claims can say of its end.
pub trait Claims: DeserializeOwned {
    fn expires(&self) -> i64;
}

impl Claims for AccessClaims {
    fn expires(&self) -> i64 {
        self.exp
    }
}

impl Claims for RegistryClaims {
    fn expires(&self) -> i64 {
        self.exp
    }
}

#[derive(Debug, Error)]
pub enum TokenError {
    #[error("the token is not one of ours")]
    Foreign,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid here: {0}")]
    Invalid(String),
}

/// The last bytes of a token, which belong to its signature: enough to find it again, and quicker than a hash of all of it.
/// Whether it is the same token is decided by its whole text.
type Tail = [u8; 32];

/// A token that was found good, and what it says.
struct Verified {
    text: Box<str>,
    claims: Arc<AccessClaims>,
}

/// Verifies tokens for one audience. Cheap to clone: every request has one.
#[derive(Clone)]
pub struct Verifier(Arc<Shared>);

struct Shared {
    keys: Keys,
    issuer: Arc<str>,
    verified: Cache<Tail, Arc<Verified>>,
    /// Proofs seen, for as long as they would count.
    proofs: Cache<(String, String), ()>,
}

impl Verifier {
    pub fn new(keys: Keys, issuer: &str) -> Self {
        Self(Arc::new(Shared {
            keys,
            issuer: issuer.into(),
            verified: Cache::builder().max_capacity(50_000).time_to_live(std::time::Duration::from_secs(60)).build(),
            proofs: Cache::builder().max_capacity(200_000).time_to_live(std::time::Duration::from_secs(130)).build(),
        }))
    }

    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Checks an access token that is shown as a bearer token: one that is bound to a key does not count.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn access(&self, token: &str, now: OffsetDateTime) -> Result<Arc<AccessClaims>, TokenError> {
        let claims = self.bound_or_bearer(token, now).await?;
        if claims.cnf.is_none() { Ok(claims) } else { Err(TokenError::Invalid("it is bound to a key".into())) }
    }

    /// Checks an access token whose audience is this installation; whether its key is there is for the caller to see
    /// (`cnf`). The outcome is kept for a minute at most.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub(crate) async fn bound_or_bearer(&self, token: &str, now: OffsetDateTime) -> Result<Arc<AccessClaims>, TokenError> {
        let tail = *token.as_bytes().last_chunk::<32>().ok_or(TokenError::Foreign)?;
        if let Some(known) = self.0.verified.get(&tail).await
            && *known.text == *token
        {
            let alive = known.claims.exp + LEEWAY_SECS.cast_signed() >= now.unix_timestamp();
            return if alive { Ok(known.claims.clone()) } else { Err(TokenError::Expired) };
        }
        let claims: Arc<AccessClaims> = Arc::new(self.check(token, &self.0.issuer).await?);
        self.0.verified.insert(tail, Arc::new(Verified { text: token.into(), claims: claims.clone() })).await;
        Ok(claims)
    }

    /// Whether a proof (RFC 9449) comes for the first time here.
    pub async fn first_time(&self, proof: &crate::dpop::Proof) -> bool {
        self.0.proofs.entry((proof.jkt.clone(), proof.jti.clone())).or_insert(()).await.is_fresh()
    }

    /// Checks any token of ours for `audience`.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn check<C: Claims>(&self, token: &str, audience: &str) -> Result<C, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Foreign)?;
        let kid = header.kid.ok_or(TokenError::Foreign)?;
        let key = self.0.keys.get(&kid).await.ok_or(TokenError::Foreign)?;
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_SECS;
        validation.set_issuer(&[&*self.0.issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        decode::<C>(token, &key.decoding, &validation).map(|data| data.claims).map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenError::Expired,
            jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::Foreign,
            other => TokenError::Invalid(format!("{other:?}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    use jsonwebtoken::{Algorithm, EncodingKey, Header};

    use super::*;
    use crate::keys::KeySource;

    struct NoSource;

    #[async_trait]
    impl KeySource for NoSource {
        async fn fetch(&self) -> anyhow::Result<JwkSet> {
            anyhow::bail!("none")
        }
    }

    #[tokio::test]
    async fn a_token_with_the_ending_of_a_known_one_is_checked_by_itself() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = EncodingKey::from_ec_der(pair.serialized_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("k".into());
        let keys = Keys::new(Arc::new(NoSource));
        keys.set(&JwkSet { keys: vec![jwk] });
        let verifier = Verifier::new(keys, "https://gantry.test");
        let now = gantry_kernel::Env::system().now();
        let claims = serde_json::json!({ "iss": "https://gantry.test", "aud": "https://gantry.test", "sub": "user:a", "jti": "1",
            "iat": now.unix_timestamp(), "exp": now.unix_timestamp() + 60 });
        let good = jsonwebtoken::encode(&Header { kid: Some("k".into()), ..Header::new(Algorithm::ES256) }, &claims, &key).unwrap();
        for _ in 0..2 {
            assert_eq!(verifier.access(&good, now).await.unwrap().sub, "user:a");
        }
        // Another payload under the same signature.
        let (head, rest) = good.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let other = crate::dpop::encode(claims.to_string().replace("user:a", "user:b").as_bytes());
        let forged = verifier.access(&format!("{head}.{other}.{signature}"), now).await;
        assert!(matches!(forged, Err(TokenError::Foreign)), "{forged:?}");
        let late = verifier.access(&good, now + time::Duration::seconds(90)).await;
        assert!(matches!(late, Err(TokenError::Expired)), "{late:?}");
    }
}
