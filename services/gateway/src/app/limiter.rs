//! Rate limits shared by all replicas through Redis. A replica leases a few requests at a time, so that most requests
//! cost a map look-up and no call; while Redis is away it counts alone, at half the rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gantry_kernel::{Kind, Problem};
use redis::Script;
use redis::aio::ConnectionManager;

use crate::domain::gcra::{self, Limit};

/// Buckets kept in memory; older ones are forgotten first.
const KEPT: usize = 50_000;
/// A lease not used up within this time is given back to nobody.
const LEASE_US: u64 = 1_000_000;
/// After a failure Redis is asked again after this time.
const AWAY_US: u64 = 1_000_000;

pub struct Limiter {
    redis: Option<ConnectionManager>,
    script: Script,
    prefix: String,
    local: Mutex<Local>,
}

#[derive(Default)]
struct Local {
    buckets: HashMap<String, Bucket>,
    away_until_us: u64,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    leased: u32,
    leased_until_us: u64,
    blocked_until_us: u64,
    /// State of the limit counted alone.
    tat_us: u64,
    seen_us: u64,
}

impl Limiter {
    /// `prefix` keeps two installations on one Redis apart.
    pub fn new(redis: Option<ConnectionManager>, prefix: &str) -> Self {
        Self { redis, script: Script::new(gcra::SCRIPT), prefix: prefix.to_owned(), local: Mutex::default() }
    }

    /// Lets one request of `key` in. `now_us`: any steady microsecond count, the same for all calls.
    ///
    /// # Errors
    /// `TooMany` with the time to wait.
    pub async fn admit(&self, key: &str, limit: Limit, now_us: u64) -> Result<(), Problem> {
        let asked = match self.look(key, now_us) {
            Look::Admitted => return Ok(()),
            Look::Blocked(wait) => return Err(too_many(limit, wait)),
            Look::Ask => match &self.redis {
                // Boxed: one request in fifty asks, and all would carry the room for it.
                Some(redis) => Box::pin(self.lease(redis.clone(), key, limit, now_us)).await,
                None => None,
            },
            Look::Alone => None,
        };
        match asked {
            Some(result) => result.map_err(|wait| too_many(limit, wait)),
            None => self.alone(key, limit.alone(), now_us).map_err(|wait| too_many(limit.alone(), wait)),
        }
    }

    fn look(&self, key: &str, now_us: u64) -> Look {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let away = now_us < local.away_until_us;
        let Some(bucket) = local.buckets.get_mut(key) else { return if away { Look::Alone } else { Look::Ask } };
        bucket.seen_us = now_us;
        if now_us < bucket.blocked_until_us {
            return Look::Blocked(Duration::from_micros(bucket.blocked_until_us - now_us));
        }
        if bucket.leased > 0 && now_us < bucket.leased_until_us {
            bucket.leased -= 1;
            return Look::Admitted;
        }
        if away { Look::Alone } else { Look::Ask }
    }

    /// `None` when Redis did not answer.
    async fn lease(&self, mut redis: ConnectionManager, key: &str, limit: Limit, now_us: u64) -> Option<Result<(), Duration>> {
        let cells = (limit.burst / 20).clamp(1, 50);
        let mut call = self.script.key(format!("{}:rate:{key}", self.prefix));
        call.arg(limit.interval_us()).arg(limit.burst).arg(cells);
        match call.invoke_async::<(u32, u64)>(&mut redis).await {
            Ok((0, wait)) => {
                self.change(key, now_us, |bucket| bucket.blocked_until_us = now_us + wait);
                Some(Err(Duration::from_micros(wait)))
            }
            Ok((taken, _)) => {
                self.change(key, now_us, |bucket| (bucket.leased, bucket.leased_until_us) = (taken - 1, now_us + LEASE_US));
                Some(Ok(()))
            }
            Err(error) => {
                tracing::warn!(%error, "rate limits are counted alone: redis is away");
                self.local.lock().unwrap_or_else(PoisonError::into_inner).away_until_us = now_us + AWAY_US;
                None
            }
        }
    }

    fn alone(&self, key: &str, limit: Limit, now_us: u64) -> Result<(), Duration> {
        let mut result = Ok(());
        self.change(key, now_us, |bucket| match gcra::take(bucket.tat_us, now_us, 1, limit) {
            Ok((tat, _)) => bucket.tat_us = tat,
            Err(wait) => result = Err(wait),
        });
        result
    }

    fn change(&self, key: &str, now_us: u64, change: impl FnOnce(&mut Bucket)) {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if local.buckets.len() >= KEPT && !local.buckets.contains_key(key) {
            let old = now_us.saturating_sub(10_000_000);
            local.buckets.retain(|_, bucket| bucket.seen_us > old);
            if local.buckets.len() >= KEPT {
                local.buckets.clear();
            }
        }
        let bucket = local.buckets.entry(key.to_owned()).or_default();
        bucket.seen_us = now_us;
        change(bucket);
    }
}

enum Look {
    Admitted,
    Blocked(Duration),
    Ask,
    Alone,
}

fn too_many(limit: Limit, wait: Duration) -> Problem {
    let detail = format!("at most {} requests a second are allowed, {} at once; wait {} ms", limit.rate, limit.burst, wait.as_millis().max(1));
    Problem::new(Kind::TooMany, "gateway.rate_limited", detail).retry_after(wait.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { rate: 10.0, burst: 10 };

    #[tokio::test]
    async fn without_redis_half_of_the_limit_holds_and_says_when_to_return() {
        let limiter = Limiter::new(None, "t");
        let mut passed = 0;
        let mut refused = None;
        for _ in 0..10 {
            match limiter.admit("a", LIMIT, 1_000_000).await {
                Ok(()) => passed += 1,
                Err(problem) => refused = Some(problem),
            }
        }
        assert_eq!(passed, 5);
        let refused = refused.expect("one was refused");
        assert_eq!((refused.kind, refused.code), (Kind::TooMany, "gateway.rate_limited"));
        assert!(refused.retry_after.is_some());
        assert!(limiter.admit("b", LIMIT, 1_000_000).await.is_ok(), "another client is not held back");
        assert!(limiter.admit("a", LIMIT, 1_300_000).await.is_ok());
    }
}
