//! Requests to addresses that clients and trusted issuers registered: key sets to fetch, logout notices to deliver. Only
//! https, small answers, short patience; our own certificate is not shown.

use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use moka::future::Cache;

use super::guarded::{GuardedHttp, bounded};

const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 256 * 1024;
/// A key set is asked for again after this long, or for an unknown key id after `AGAIN`.
const KEPT: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(10);
const MAX_SETS: u64 = 2_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Outside {
    http: GuardedHttp,
    sets: Cache<String, JwkSet>,
    asked: Cache<String, ()>,
}

impl Outside {
    /// Trusts the machine's authorities and those in `ca_pem`. `private`: addresses of this machine and private networks
    /// are reached, too.
    ///
    /// # Errors
    /// When the certificates are damaged.
    pub fn new(ca_pem: &str, private: bool) -> anyhow::Result<Self> {
        let ca = reqwest::Certificate::from_pem_bundle(ca_pem.as_bytes()).context("the authority's certificates")?;
        let builder = reqwest::Client::builder().tls_certs_merge(ca).https_only(true).connect_timeout(PATIENCE).timeout(PATIENCE).user_agent("gantry-identity");
        Ok(Self {
            http: GuardedHttp::new(builder, private)?,
            sets: Cache::builder().max_capacity(MAX_SETS).time_to_live(KEPT).build(),
            asked: Cache::builder().max_capacity(MAX_SETS).time_to_live(AGAIN).build(),
        })
    }

    /// The key `kid` of the set at `address`; the only key if there is no id.
    ///
    /// # Errors
    /// When the set cannot be had.
    pub async fn key(&self, address: &str, kid: Option<&str>) -> anyhow::Result<Option<Jwk>> {
        self.look(address, |set| pick(set, kid)).await
    }

    /// Whether a key of the set at `address` has this certificate (DER, the first of `x5c`).
    ///
    /// # Errors
    /// When the set cannot be had.
    pub async fn has_certificate(&self, address: &str, der: &[u8]) -> anyhow::Result<bool> {
        let first = |key: &Jwk| key.common.x509_chain.as_ref().and_then(|chain| STANDARD.decode(chain.first()?).ok());
        Ok(self.look(address, |set| set.keys.iter().any(|key| first(key).as_deref() == Some(der)).then_some(())).await?.is_some())
    }

    async fn look<T>(&self, address: &str, find: impl Fn(&JwkSet) -> Option<T>) -> anyhow::Result<Option<T>> {
        if let Some(set) = self.sets.get(address).await {
            let found = find(&set);
            // Made-up ids must not make us ask on and on.
            if found.is_some() || !self.asked.entry_by_ref(address).or_insert(()).await.is_fresh() {
                return Ok(found);
            }
        }
        let set = self.fetch(address).await?;
        let found = find(&set);
        self.sets.insert(address.to_owned(), set).await;
        Ok(found)
    }

    async fn fetch(&self, address: &str) -> anyhow::Result<JwkSet> {
        let request = self.http.request(http::Method::GET, address).build()?;
        let answer = self.http.send(request).await?.error_for_status()?;
        let body = bounded(answer, MAX_ANSWER).await.context("the key set")?;
        Ok(read_set(&serde_json::from_slice(&body)?))
    }

    /// Posts one form field. Gives the status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, address: &str, field: &str, value: &str) -> anyhow::Result<u16> {
        let request = self.http.request(http::Method::POST, address).form(&[(field, value)]).build()?;
        Ok(self.http.send(request).await?.status().as_u16())
    }
}

/// The keys of a set that we understand; others are left out, not refused (RFC 7517 section 5).
pub fn read_set(value: &serde_json::Value) -> JwkSet {
    let keys = value.get("keys").and_then(|k| k.as_array()).into_iter().flatten();
    JwkSet { keys: keys.filter_map(|k| serde_json::from_value(k.clone()).ok()).take(50).collect() }
}

/// By id, or without one the only key.
pub fn pick(set: &JwkSet, kid: Option<&str>) -> Option<Jwk> {
    match kid {
        Some(kid) => set.find(kid).cloned().or_else(|| set.keys.iter().find(|k| k.common.key_id.is_none() && set.keys.len() == 1).cloned()),
        None => (set.keys.len() == 1).then(|| set.keys[0].clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_lies_inside_is_left_alone_unless_that_is_allowed() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        for address in
            ["https://127.0.0.1:1/keys", "https://localhost:1/keys", "https://10.0.0.1:1/keys", "https://[::1]:1/keys", "https://169.254.169.254/keys"]
        {
            let refused = Outside::new("", false).unwrap().key(address, None).await.unwrap_err();
            assert!(format!("{refused:?}").contains("private address"), "{address}: {refused:?}");
        }
        let allowed = Outside::new("", true).unwrap().key("https://127.0.0.1:1/keys", None).await.unwrap_err();
        assert!(!format!("{allowed:?}").contains("private address"), "{allowed:?}");
    }

    #[tokio::test]
    async fn a_certificate_is_looked_for_in_the_set_at_the_clients_address() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let outside = Outside::new("", false).unwrap();
        let address = "https://client.example/keys";
        let set = serde_json::json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "x": "a", "y": "b" },
            { "kty": "EC", "crv": "P-256", "x": "a", "y": "b", "x5c": [STANDARD.encode("the certificate"), STANDARD.encode("its authority")] },
        ] });
        outside.sets.insert(address.to_owned(), read_set(&set)).await;
        // So that the set is not asked for again.
        outside.asked.insert(address.to_owned(), ()).await;
        assert!(outside.has_certificate(address, b"the certificate").await.unwrap());
        assert!(!outside.has_certificate(address, b"its authority").await.unwrap());
        assert!(!outside.has_certificate(address, b"").await.unwrap());
    }
}
