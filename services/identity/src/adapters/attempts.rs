//! How often one may fail to sign in, counted in Redis by all replicas together. While Redis is away a stricter count
//! in memory holds: never "open". An attempt is counted before it is made, so that many at once cannot slip through,
//! and taken back when it succeeds. A window ends by itself, so nobody can lock a colleague out for good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_kernel::{Env, Kind, OffsetDateTime, Problem};
use redis::Script;
use redis::aio::ConnectionManager;

const WINDOW: Duration = Duration::from_secs(300);
const LOCAL_AT_MOST: usize = 50_000;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub per_account: u32,
    pub per_address: u32,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Attempts {
    redis: Option<ConnectionManager>,
    prefix: Arc<str>,
    env: Env,
    limits: Limits,
    local: Arc<Mutex<HashMap<String, (OffsetDateTime, u32)>>>,
}

impl Attempts {
    pub fn new(redis: Option<ConnectionManager>, prefix: &str, env: Env, limits: Limits) -> Self {
        Self { redis, prefix: prefix.into(), env, limits, local: Arc::default() }
    }

    /// Counts an attempt for `account` (a keyed hash, never a name) from `address`.
    ///
    /// # Errors
    /// 429 with the time until the window ends.
    pub async fn begin(&self, account: &str, address: &str) -> Result<(), Problem> {
        let counted = [(self.key("account", account), self.limits.per_account), (self.key("address", address), self.limits.per_address)];
        for (key, limit) in counted {
            let (count, left, limit) = match self.count_in_redis(&key).await {
                Some((count, left)) => (count, left, limit),
                None => {
                    let (count, left) = self.count_here(&key);
                    (count, left, (limit / 2).max(1))
                }
            };
            if count > limit {
                return Err(Problem::new(Kind::TooMany, "identity.too_many_attempts", "too many failed sign-ins; wait a few minutes").retry_after(left));
            }
        }
        Ok(())
    }

    /// The attempt was right: the account's count starts anew, the address's loses this one.
    pub async fn succeeded(&self, account: &str, address: &str) {
        let (account, address) = (self.key("account", account), self.key("address", address));
        if let Some(redis) = &self.redis {
            let script = Script::new("redis.call('del', KEYS[1]) if redis.call('exists', KEYS[2]) == 1 then redis.call('decr', KEYS[2]) end return 1");
            let mut invocation = script.prepare_invoke();
            invocation.key(&account).key(&address);
            if let Err(error) = invocation.invoke_async::<i64>(&mut redis.clone()).await {
                tracing::warn!(error = %error, "an attempt could not be taken back in Redis");
            }
        }
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        local.remove(&account);
        if let Some((_, count)) = local.get_mut(&address) {
            *count = count.saturating_sub(1);
        }
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:attempts:{kind}:{name}", self.prefix)
    }

    /// The count with this attempt and the time left; `None` when Redis does not answer.
    async fn count_in_redis(&self, key: &str) -> Option<(u32, Duration)> {
        let redis = self.redis.as_ref()?;
        let script = Script::new(
            "local n = redis.call('incr', KEYS[1]) if n == 1 then redis.call('pexpire', KEYS[1], ARGV[1]) end return {n, redis.call('pttl', KEYS[1])}",
        );
        let mut invocation = script.prepare_invoke();
        invocation.key(key).arg(u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX));
        match invocation.invoke_async::<(u32, i64)>(&mut redis.clone()).await {
            Ok((count, left)) => Some((count, Duration::from_millis(u64::try_from(left).unwrap_or(1_000)))),
            Err(error) => {
                tracing::warn!(error = %error, "Redis does not count attempts; the stricter local limit holds");
                None
            }
        }
    }

    fn count_here(&self, key: &str) -> (u32, Duration) {
        let now = self.env.now();
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if local.len() >= LOCAL_AT_MOST {
            local.retain(|_, (since, _)| now - *since < WINDOW);
        }
        let entry = local.entry(key.to_owned()).or_insert((now, 0));
        if now - entry.0 >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
        let left = WINDOW.saturating_sub((now - entry.0).unsigned_abs());
        (entry.1, left)
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::{FixedClock, SystemIds};

    use super::*;

    fn without_redis() -> (Attempts, FixedClock) {
        let clock = FixedClock::at(OffsetDateTime::UNIX_EPOCH);
        let env = Env { clock: Arc::new(clock.clone()), ids: Arc::new(SystemIds) };
        (Attempts::new(None, "t", env, Limits { per_account: 10, per_address: 100 }), clock)
    }

    #[tokio::test]
    async fn without_redis_half_the_attempts_are_allowed_and_the_window_ends() {
        let (attempts, clock) = without_redis();
        for _ in 0..5 {
            attempts.begin("ada", "10.0.0.1").await.unwrap();
        }
        let refused = attempts.begin("ada", "10.0.0.1").await.unwrap_err();
        assert_eq!(refused.kind, Kind::TooMany);
        attempts.begin("bob", "10.0.0.1").await.unwrap();
        clock.advance(WINDOW);
        attempts.begin("ada", "10.0.0.1").await.unwrap();
    }

    #[tokio::test]
    async fn success_forgets_the_failures_of_the_account() {
        let (attempts, _) = without_redis();
        for _ in 0..20 {
            attempts.begin("ada", "10.0.0.1").await.unwrap();
            attempts.succeeded("ada", "10.0.0.1").await;
        }
    }

    #[tokio::test]
    async fn one_address_cannot_try_many_accounts() {
        let (attempts, _) = without_redis();
        for i in 0..50 {
            attempts.begin(&format!("user{i}"), "10.0.0.1").await.unwrap();
        }
        assert!(attempts.begin("user50", "10.0.0.1").await.is_err());
        attempts.begin("user50", "10.0.0.2").await.unwrap();
    }
}
