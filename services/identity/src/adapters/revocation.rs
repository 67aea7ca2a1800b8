//! Lists of revoked certificates from where their authorities publish them, and those that were read, ready to be asked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use moka::future::Cache;

use super::guarded::{GuardedHttp, bounded};
use crate::domain::revocation_list::{LARGEST, RevocationList};

const CONNECT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
/// Serial numbers kept in memory, of all lists together (some 100 MiB at most).
const MOST_SERIALS: u64 = 1_000_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct RevocationLists {
    http: GuardedHttp,
    /// By the SHA-256 of the list.
    read: Cache<Vec<u8>, Arc<RevocationList>>,
}

impl RevocationLists {
    /// Trusts the machine's authorities and those in `ca_pem` where an address is https; plain http is usual, since the lists are
    /// signed. `private`: addresses of this machine and private networks are reached, too.
    ///
    /// # Errors
    /// When the certificates are damaged.
    pub fn new(ca_pem: &str, private: bool) -> anyhow::Result<Self> {
        let ca = reqwest::Certificate::from_pem_bundle(ca_pem.as_bytes()).context("the authority's certificates")?;
        let builder = reqwest::Client::builder().tls_certs_merge(ca).connect_timeout(CONNECT).timeout(PATIENCE).user_agent("gantry-identity");
        let weight = |_: &Vec<u8>, list: &Arc<RevocationList>| u32::try_from(list.serials.len() + 1).unwrap_or(u32::MAX);
        Ok(Self { http: GuardedHttp::new(builder, private)?, read: Cache::builder().weigher(weight).max_capacity(MOST_SERIALS).build() })
    }

    /// What stands at the address.
    ///
    /// # Errors
    /// When it cannot be reached, says no, or is too large.
    pub async fn fetch(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let request = self.http.request(http::Method::GET, url).build()?;
        let answer = self.http.send(request).await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("the address answers {status}; redirects are not followed");
        }
        Ok(bounded(answer, LARGEST).await?)
    }

    /// The list with this hash, read by `read` if it is not in memory.
    ///
    /// # Errors
    /// The one of `read`.
    pub async fn read_once<E>(&self, sha256: &[u8], read: impl Future<Output = Result<RevocationList, E>>) -> Result<Arc<RevocationList>, E> {
        if let Some(list) = self.read.get(sha256).await {
            return Ok(list);
        }
        let list = Arc::new(read.await?);
        self.read.insert(sha256.to_vec(), list.clone()).await;
        Ok(list)
    }
}
