//! Tokens by identity: JWT access tokens (RFC 9068) and registry tokens (Docker token specification).

use std::sync::Arc;

use gantry_kernel::OffsetDateTime;
use jsonwebtoken::{Validation, decode, decode_header};
use moka::future::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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

/// Verifies tokens for one audience. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    keys: Keys,
    issuer: Arc<str>,
    verified: Cache<[u8; 32], Arc<AccessClaims>>,
    /// Proofs seen, for as long as they would count.
    proofs: Cache<(String, String), ()>,
}

impl Verifier {
    pub fn new(keys: Keys, issuer: &str) -> Self {
        Self {
            keys,
            issuer: issuer.into(),
            verified: Cache::builder().max_capacity(50_000).time_to_live(std::time::Duration::from_secs(60)).build(),
            proofs: Cache::builder().max_capacity(200_000).time_to_live(std::time::Duration::from_secs(130)).build(),
        }
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
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
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.verified.get(&key).await {
            return if claims.exp + LEEWAY_SECS.cast_signed() >= now.unix_timestamp() { Ok(claims) } else { Err(TokenError::Expired) };
        }
        let claims: Arc<AccessClaims> = Arc::new(self.check(token, &self.issuer.clone()).await?);
        self.verified.insert(key, claims.clone()).await;
        Ok(claims)
    }

    /// Whether a proof (RFC 9449) comes for the first time here.
    pub async fn first_time(&self, proof: &crate::dpop::Proof) -> bool {
        self.proofs.entry((proof.jkt.clone(), proof.jti.clone())).or_insert(()).await.is_fresh()
    }

    /// Checks any token of ours for `audience`.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn check<C: Claims>(&self, token: &str, audience: &str) -> Result<C, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Foreign)?;
        let kid = header.kid.ok_or(TokenError::Foreign)?;
        let key = self.keys.get(&kid).await.ok_or(TokenError::Foreign)?;
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_SECS;
        validation.set_issuer(&[&*self.issuer]);
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
