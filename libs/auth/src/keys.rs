//! The public keys of identity's token signatures, cached.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;

/// An unknown key id is asked for at most this often, so that made-up ids cost nothing.
const ASK_AT_MOST_EVERY: Duration = Duration::from_secs(2);

/// Where the key set comes from: identity's JWKS endpoint, or identity itself.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// # Errors
    /// When the key set cannot be had now.
    async fn fetch(&self) -> anyhow::Result<JwkSet>;
}

/// A key with the one algorithm it may be used with: the token's header never chooses.
#[derive(Clone)]
pub(crate) struct Key {
    pub decoding: DecodingKey,
    pub algorithm: Algorithm,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    known: Arc<ArcSwap<HashMap<String, Key>>>,
    source: Arc<dyn KeySource>,
    asked: Arc<Mutex<Option<Instant>>>,
}

impl Keys {
    pub fn new(source: Arc<dyn KeySource>) -> Self {
        Self { known: Arc::default(), source, asked: Arc::default() }
    }

    /// Takes over a key set at once (identity does so when it rotates).
    pub fn set(&self, set: &JwkSet) {
        let keys = set.keys.iter().filter_map(|jwk| Some((jwk.common.key_id.clone()?, key_of(jwk)?))).collect();
        self.known.store(Arc::new(keys));
    }

    pub(crate) async fn get(&self, kid: &str) -> Option<Key> {
        if let Some(key) = self.known.load().get(kid) {
            return Some(key.clone());
        }
        let mut asked = self.asked.lock().await;
        if let Some(key) = self.known.load().get(kid) {
            return Some(key.clone());
        }
        if asked.is_some_and(|at| at.elapsed() < ASK_AT_MOST_EVERY) {
            return None;
        }
        match self.source.fetch().await {
            Ok(set) => self.set(&set),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the token keys cannot be fetched"),
        }
        *asked = Some(Instant::now());
        self.known.load().get(kid).cloned()
    }
}

fn key_of(jwk: &Jwk) -> Option<Key> {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_) | AlgorithmParameters::OctetKey(_) => return None,
        #[allow(unreachable_patterns, reason = "the enum may grow")]
        _ => return None,
    };
    Some(Key { decoding: DecodingKey::from_jwk(jwk).ok()?, algorithm })
}
