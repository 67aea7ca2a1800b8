//! What is asked for again and again, kept at hand: verified tokens, and manifests.
//!
//! A cached manifest is never older than the last acknowledged change of its repository, here or at another replica: each entry
//! says up to which event the read model stood when it was read, and the projection says which event changed a repository last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use crate::domain::access::Access;
use crate::store::entities::manifests;

/// Bytes of manifests kept at hand.
const MANIFEST_BYTES: u64 = 16 << 20;
/// Rows beside the bytes.
const ENTRY_BYTES: u32 = 1024;
/// Repositories whose last change is remembered; more, and everything is read anew once.
const MOST_REPOSITORIES: usize = 100_000;

/// Repository and reference.
type Key = (String, String);

pub struct Entry {
    pub row: Arc<manifests::Model>,
    pub bytes: Bytes,
    /// The event up to which the read model was seen.
    seen: i64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct ManifestCache {
    entries: Cache<Key, Arc<Entry>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// Every event up to here was seen by this process, or everything was forgotten since.
    upto: i64,
    /// Entries that have seen less are worthless.
    floor: i64,
    changed: HashMap<String, i64>,
}

impl Default for ManifestCache {
    fn default() -> Self {
        let weigh = |_: &Key, entry: &Arc<Entry>| u32::try_from(entry.bytes.len()).unwrap_or(u32::MAX).saturating_add(ENTRY_BYTES);
        let entries = Cache::builder().weigher(weigh).max_capacity(MANIFEST_BYTES).time_to_idle(Duration::from_secs(600)).build();
        Self { entries, known: Arc::default() }
    }
}

impl ManifestCache {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The projection takes in an event; `repository` is what it changes. Called before the change can be seen.
    pub fn applied(&self, position: i64, repository: Option<&str>) {
        let mut known = self.known();
        if position <= known.upto {
            return;
        }
        if position != known.upto + 1 || known.changed.len() > MOST_REPOSITORIES {
            // Another replica took in what is between.
            known.floor = position;
            known.changed.clear();
        }
        known.upto = position;
        if let Some(repository) = repository {
            known.changed.insert(repository.to_owned(), position);
        }
    }

    /// A cached manifest, if it is as new as the read model. `head`: the newest event; `read`: up to where the read model stands.
    pub async fn get(&self, repository: &str, reference: &str, head: i64, read: i64) -> Option<Arc<Entry>> {
        let entry = self.entries.get(&(repository.to_owned(), reference.to_owned())).await?;
        let mut known = self.known();
        if known.upto < head {
            if read < head {
                return None;
            }
            known.upto = head;
            known.floor = head;
            known.changed.clear();
        }
        let last = known.changed.get(repository).copied().unwrap_or(0).max(known.floor);
        (entry.seen >= last).then_some(entry)
    }

    /// Keeps what was read after the read model stood at `seen`.
    pub async fn put(&self, repository: &str, reference: &str, row: Arc<manifests::Model>, bytes: Bytes, seen: i64) {
        self.entries.insert((repository.to_owned(), reference.to_owned()), Arc::new(Entry { row, bytes, seen })).await;
    }

    pub fn clear(&self) {
        self.entries.invalidate_all();
    }
}

/// A verified registry token.
pub struct Verified {
    pub subject: String,
    pub access: Vec<Access>,
    pub expires: i64,
}

/// Verified tokens by their hash, for a minute: a signature costs more than all the rest of a small request.
#[derive(Clone)]
pub struct Tokens(Cache<[u8; 32], Arc<Verified>>);

impl Default for Tokens {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(20_000).time_to_live(Duration::from_secs(60)).build())
    }
}

impl Tokens {
    pub async fn get(&self, token: &str, now: i64) -> Option<Arc<Verified>> {
        self.0.get(&key(token)).await.filter(|t| t.expires > now)
    }

    pub async fn put(&self, token: &str, verified: Arc<Verified>) {
        self.0.insert(key(token), verified).await;
    }
}

fn key(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Arc<manifests::Model> {
        Arc::new(manifests::Model {
            repository: "r".into(),
            digest: "d".into(),
            media_type: "m".into(),
            artifact_type: None,
            subject: None,
            size_bytes: 0,
            total_bytes: 0,
            platforms: serde_json::json!([]),
            annotations: serde_json::json!({}),
            pushed_by: String::new(),
            pushed_at: time::OffsetDateTime::UNIX_EPOCH,
            scan: None,
        })
    }

    #[tokio::test]
    async fn an_entry_ends_with_the_next_change_of_its_repository_only() {
        let cache = ManifestCache::default();
        cache.applied(1, Some("r"));
        cache.put("r", "v1", row(), Bytes::new(), 1).await;
        assert!(cache.get("r", "v1", 1, 1).await.is_some());
        cache.applied(2, Some("other"));
        assert!(cache.get("r", "v1", 2, 2).await.is_some());
        // Taken in, not yet committed: what is read now is old.
        cache.applied(3, Some("r"));
        cache.put("r", "v1", row(), Bytes::new(), 2).await;
        assert!(cache.get("r", "v1", 3, 3).await.is_none());
        cache.put("r", "v1", row(), Bytes::new(), 3).await;
        assert!(cache.get("r", "v1", 3, 3).await.is_some());
    }

    #[tokio::test]
    async fn what_another_replica_took_in_ends_everything() {
        let cache = ManifestCache::default();
        cache.applied(1, Some("r"));
        cache.put("r", "v1", row(), Bytes::new(), 1).await;
        assert!(cache.get("r", "v1", 2, 1).await.is_none(), "an event that nobody here has seen");
        assert!(cache.get("r", "v1", 2, 2).await.is_none(), "another replica took it in");
        cache.put("r", "v1", row(), Bytes::new(), 2).await;
        assert!(cache.get("r", "v1", 2, 2).await.is_some());
        cache.applied(5, None);
        assert!(cache.get("r", "v1", 5, 5).await.is_none());
    }
}
