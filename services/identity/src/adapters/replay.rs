//! Ids that count once (client assertions, DPoP proofs), remembered in Redis by all replicas together. While Redis is
//! away nothing that needs this is accepted: a replay must not slip through.

use std::sync::Arc;

use gantry_kernel::Problem;
use redis::aio::ConnectionManager;
use sha2::{Digest, Sha256};

/// Cheap to clone.
#[derive(Clone)]
pub struct Replay {
    redis: ConnectionManager,
    prefix: Arc<str>,
}

impl Replay {
    pub fn new(redis: ConnectionManager, prefix: &str) -> Self {
        Self { redis, prefix: prefix.into() }
    }

    /// Whether `id` of `owner` comes for the first time. It is remembered for `seconds`.
    ///
    /// # Errors
    /// 503 while Redis is away.
    pub async fn first_time(&self, owner: &str, id: &str, seconds: u64) -> Result<bool, Problem> {
        // Ids come from outside and may be long.
        let digest = Sha256::digest(format!("{owner}\n{id}"));
        let key = format!("{}:replay:{}", self.prefix, digest.iter().map(|b| format!("{b:02x}")).collect::<String>());
        let mut command = redis::cmd("SET");
        command.arg(&key).arg(1).arg("NX").arg("EX").arg(seconds.max(1));
        let done: Result<Option<String>, _> = command.query_async(&mut self.redis.clone()).await;
        done.map(|set| set.is_some()).map_err(|error| Problem::unavailable("Redis").with_source(error))
    }
}
