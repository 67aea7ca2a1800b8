//! Sign-in sessions of browsers in Redis. A value is sealed (AES-256-GCM, bound to its key), so that who reads Redis
//! reads no token; a key is the hash of the cookie, so that who reads Redis cannot sign in.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_kernel::Problem;
use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes of the nonce before the sealed text.
const NONCE: usize = 12;

/// Why a value in Redis is not ours.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the session store does not answer")]
    Redis(#[from] redis::RedisError),
    #[error("a stored session could not be opened")]
    Sealed,
    #[error("a stored session could not be read")]
    Json(#[from] serde_json::Error),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Redis(_) => Self::unavailable("the session store").with_source(error),
            StoreError::Sealed | StoreError::Json(_) => Self::internal(error),
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Store {
    redis: ConnectionManager,
    prefix: String,
    seal: std::sync::Arc<RandomizedNonceKey>,
}

impl Store {
    /// `secret`: the installation's master key or anything as long that all replicas share.
    pub fn new(redis: ConnectionManager, prefix: &str, secret: &[u8]) -> Self {
        Self { redis, prefix: prefix.to_owned(), seal: std::sync::Arc::new(sealing_key(secret)) }
    }

    /// The name under which a cookie's or a sign-in's value lies.
    pub fn name(&self, kind: &str, token: &str) -> String {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        format!("{}:{kind}:{}", self.prefix, URL_SAFE_NO_PAD.encode(hash))
    }

    /// # Errors
    /// When Redis is away.
    pub async fn put(&self, name: &str, value: &impl Serialize, keep: Duration) -> Result<(), StoreError> {
        let sealed = seal(&self.seal, name, &serde_json::to_vec(value)?)?;
        let mut redis = self.redis.clone();
        redis.set_ex::<_, _, ()>(name, sealed, keep.as_secs().max(1)).await?;
        Ok(())
    }

    /// # Errors
    /// When Redis is away or the value is not ours.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let mut redis = self.redis.clone();
        let sealed: Option<Vec<u8>> = redis.get(name).await?;
        sealed.map(|sealed| self.opened(name, sealed)).transpose()
    }

    /// Reads a value that may be used once.
    ///
    /// # Errors
    /// When Redis is away or the value is not ours.
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let mut redis = self.redis.clone();
        let sealed: Option<Vec<u8>> = redis.get_del(name).await?;
        sealed.map(|sealed| self.opened(name, sealed)).transpose()
    }

    /// # Errors
    /// When Redis is away.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let mut redis = self.redis.clone();
        redis.del::<_, ()>(name).await?;
        Ok(())
    }

    /// Whether this replica now may do the work called `name`; it ends by itself after `keep`.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn lock(&self, name: &str, keep: Duration) -> Result<bool, StoreError> {
        let mut redis = self.redis.clone();
        let set: Option<String> =
            redis::cmd("SET").arg(format!("{name}:lock")).arg(1).arg("NX").arg("PX").arg(keep.as_millis() as u64).query_async(&mut redis).await?;
        Ok(set.is_some())
    }

    /// # Errors
    /// When Redis is away.
    pub async fn unlock(&self, name: &str) -> Result<(), StoreError> {
        let mut redis = self.redis.clone();
        redis.del::<_, ()>(format!("{name}:lock")).await?;
        Ok(())
    }

    fn opened<T: DeserializeOwned>(&self, name: &str, sealed: Vec<u8>) -> Result<T, StoreError> {
        Ok(serde_json::from_slice(&open(&self.seal, name, sealed)?)?)
    }
}

fn sealing_key(secret: &[u8]) -> RandomizedNonceKey {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"gantry gateway sessions");
    let mut key = [0_u8; 32];
    salt.extract(secret).expand(&[b"v1"], &AES_256_GCM).and_then(|okm| okm.fill(&mut key)).expect("32 bytes are within what HKDF can give");
    RandomizedNonceKey::new(&AES_256_GCM, &key).expect("an AES-256 key has 32 bytes")
}

fn seal(key: &RandomizedNonceKey, name: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut text = plain.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut text).map_err(|_| StoreError::Sealed)?;
    let mut out = nonce.as_ref().to_vec();
    out.append(&mut text);
    Ok(out)
}

fn open(key: &RandomizedNonceKey, name: &str, sealed: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let (nonce, text) = sealed.split_at_checked(NONCE).ok_or(StoreError::Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| StoreError::Sealed)?;
    let mut text = text.to_vec();
    Ok(key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text).map_err(|_| StoreError::Sealed)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_under_its_own_name_and_key() {
        let key = sealing_key(b"one");
        let sealed = seal(&key, "session:a", b"token").expect("seals");
        assert!(!sealed.windows(5).any(|part| part == b"token"));
        assert_eq!(open(&key, "session:a", sealed.clone()).expect("opens"), b"token");
        assert!(open(&key, "session:b", sealed.clone()).is_err());
        assert!(open(&sealing_key(b"two"), "session:a", sealed.clone()).is_err());
        let mut changed = sealed;
        changed[NONCE] ^= 1;
        assert!(open(&key, "session:a", changed).is_err());
        assert!(open(&key, "session:a", vec![1, 2]).is_err());
    }
}
