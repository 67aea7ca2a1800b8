//! The public keys of identity's token signatures, cached.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
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

/// A key with the one algorithm it may be used with: the token's header never chooses. Parsed once: reading a point of the
/// curve and checking it costs a good part of what verifying a signature does.
pub(crate) struct Key {
    pub public: ParsedPublicKey,
    /// As a token's header names it.
    pub algorithm: &'static str,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    known: Arc<ArcSwap<HashMap<String, Arc<Key>>>>,
    source: Arc<dyn KeySource>,
    asked: Arc<Mutex<Option<Instant>>>,
}

impl Keys {
    pub fn new(source: Arc<dyn KeySource>) -> Self {
        Self { known: Arc::default(), source, asked: Arc::default() }
    }

    /// Takes over a key set at once (identity does so when it rotates).
    pub fn set(&self, set: &JwkSet) {
        let keys = set.keys.iter().filter_map(|jwk| Some((jwk.common.key_id.clone()?, Arc::new(key_of(jwk)?)))).collect();
        self.known.store(Arc::new(keys));
    }

    pub(crate) async fn get(&self, kid: &str) -> Option<Arc<Key>> {
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
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let (algorithm, public) = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => {
            // An uncompressed point: 4, x, y.
            let mut point = vec![4_u8];
            point.extend(part(&p.x)?);
            point.extend(part(&p.y)?);
            ("ES256", ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?)
        }
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => ("EdDSA", ParsedPublicKey::new(&ED25519, part(&p.x)?).ok()?),
        AlgorithmParameters::RSA(p) => {
            let parts = RsaPublicKeyComponents { n: part(&p.n)?, e: part(&p.e)? };
            ("RS256", parts.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?)
        }
        AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_) | AlgorithmParameters::OctetKey(_) => return None,
        #[allow(unreachable_patterns, reason = "the enum may grow")]
        _ => return None,
    };
    Some(Key { public, algorithm })
}
