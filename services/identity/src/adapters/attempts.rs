//! How often one may fail to sign in, counted in Redis by all replicas together: per account, per address, and per pair
//! of both. Past the limit comes a pause that doubles each time. Attempts during a pause do not make it longer, and a
//! browser that its person has signed in with before is counted by itself: so nobody can lock a colleague out for good.
//!
//! While Redis is away a stricter count in memory holds: never "open". An attempt is counted before it is made, so that
//! many at once cannot slip through, and taken back when it succeeds.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use gantry_kernel::{Env, Kind, OffsetDateTime, Problem};
use redis::Script;
use redis::aio::ConnectionManager;

const WINDOW: Duration = Duration::from_secs(300);
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(900);
/// After so long without another pause the first one is short again.
const FORGET: Duration = Duration::from_secs(86_400);
const LOCAL_AT_MOST: usize = 50_000;

/// Gives the milliseconds of the first pause there is; 0: go on. Keys, three for each count: count, pause, pauses so far.
/// Arguments: the times, then the limit of each count. Once one says stop, those after it are not counted.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
    for i = 1, #KEYS, 3 do
        local left = redis.call('pttl', KEYS[i + 1])
        if left > 0 then return left end
        local n = redis.call('incr', KEYS[i])
        if n == 1 then redis.call('pexpire', KEYS[i], ARGV[1]) end
        if n > tonumber(ARGV[5 + (i - 1) / 3]) then
            local s = redis.call('incr', KEYS[i + 2])
            redis.call('pexpire', KEYS[i + 2], ARGV[4])
            local ms = math.min(tonumber(ARGV[3]), tonumber(ARGV[2]) * 2 ^ (s - 1))
            redis.call('set', KEYS[i + 1], 1, 'PX', ms)
            redis.call('del', KEYS[i])
            return ms
        end
    end
    return 0",
    )
});

/// Keys: count of the pair, its pauses, count of the account; the address's count, which loses this attempt alone.
static FORGET_FAILURES: LazyLock<Script> = LazyLock::new(|| {
    Script::new("redis.call('del', KEYS[1], KEYS[2], KEYS[3]) if redis.call('exists', KEYS[4]) == 1 then redis.call('decr', KEYS[4]) end return 1")
});

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub per_pair: u32,
    pub per_account: u32,
    pub per_address: u32,
}

#[derive(Clone, Copy, Debug)]
struct Local {
    since: OffsetDateTime,
    count: u32,
    pause_until: Option<OffsetDateTime>,
    pauses: u32,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Attempts {
    redis: Option<ConnectionManager>,
    prefix: Arc<str>,
    env: Env,
    limits: Limits,
    local: Arc<Mutex<HashMap<String, Local>>>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Attempts {
    pub fn new(redis: Option<ConnectionManager>, prefix: &str, env: Env, limits: Limits) -> Self {
        Self { redis, prefix: prefix.into(), env, limits, local: Arc::default() }
    }

    /// Counts an attempt for `account` (a keyed hash, never a name) from `address`.
    ///
    /// # Errors
    /// 429 with the time until the pause ends.
    pub async fn begin(&self, account: &str, address: &str) -> Result<(), Problem> {
        self.begin_from(account, address, None).await
    }

    /// The same from a browser that may be known: `device` names one that this account has signed in with before.
    ///
    /// # Errors
    /// 429 with the time until the pause ends.
    pub async fn begin_from(&self, account: &str, address: &str, device: Option<&str>) -> Result<(), Problem> {
        let limits = self.limits;
        let mut counted = vec![(self.key("address", address), limits.per_address)];
        match device {
            Some(device) => counted.push((self.key("device", &format!("{account}:{device}")), limits.per_account)),
            None => {
                counted.push((self.pair(account, address), limits.per_pair));
                counted.push((self.key("account", account), limits.per_account));
            }
        }
        let pause = match self.count_in_redis(&counted).await {
            Some(pause) => pause,
            None => counted.iter().find_map(|(key, limit)| self.count_here(key, (limit / 2).max(1))),
        };
        match pause {
            Some(left) => Err(Problem::new(Kind::TooMany, "identity.too_many_attempts", "too many failed sign-ins; wait a little").retry_after(left)),
            None => Ok(()),
        }
    }

    /// The attempt was right: the counts of the account start anew, the address's loses this one.
    pub async fn succeeded(&self, account: &str, address: &str) {
        let forget = [self.pair(account, address), self.key("account", account)];
        let address = self.key("address", address);
        if let Some(redis) = &self.redis {
            let mut invocation = FORGET_FAILURES.prepare_invoke();
            invocation.key(&forget[0]).key(format!("{}:pauses", forget[0])).key(&forget[1]).key(&address);
            if let Err(error) = invocation.invoke_async::<i64>(&mut redis.clone()).await {
                tracing::warn!(error = %error, "an attempt could not be taken back in Redis");
            }
        }
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &forget {
            local.remove(key);
        }
        if let Some(entry) = local.get_mut(&address) {
            entry.count = entry.count.saturating_sub(1);
        }
    }

    /// How often `account` failed lately, from `address` or from everywhere: what a captcha depends on. While Redis is
    /// away everybody is suspect.
    pub async fn failures(&self, account: &str, address: &str) -> u32 {
        let (pair, account) = (self.pair(account, address), self.key("account", account));
        if let Some(redis) = &self.redis {
            let asked = redis::cmd("MGET").arg(&pair).arg(format!("{pair}:pauses")).arg(&account).query_async::<Vec<Option<u32>>>(&mut redis.clone()).await;
            return match asked.as_deref() {
                Ok([pair, pauses, account]) => {
                    let paused = if pauses.unwrap_or(0) > 0 { u32::MAX } else { 0 };
                    pair.unwrap_or(0).max(account.unwrap_or(0)).max(paused)
                }
                Ok(_) | Err(_) => u32::MAX,
            };
        }
        let local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        [pair, account].iter().filter_map(|k| local.get(k)).map(|e| if e.pauses > 0 { u32::MAX } else { e.count }).max().unwrap_or(0)
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:attempts:{kind}:{name}", self.prefix)
    }

    fn pair(&self, account: &str, address: &str) -> String {
        self.key("pair", &format!("{account}:{address}"))
    }

    /// The pause, if there is one; the outer `None` when Redis does not answer.
    async fn count_in_redis(&self, counted: &[(String, u32)]) -> Option<Option<Duration>> {
        let redis = self.redis.as_ref()?;
        let mut invocation = COUNT.prepare_invoke();
        for (key, _) in counted {
            invocation.key(key).key(format!("{key}:pause")).key(format!("{key}:pauses"));
        }
        invocation.arg(millis(WINDOW)).arg(millis(FIRST_PAUSE)).arg(millis(LONGEST_PAUSE)).arg(millis(FORGET));
        for (_, limit) in counted {
            invocation.arg(limit);
        }
        match invocation.invoke_async::<u64>(&mut redis.clone()).await {
            Ok(0) => Some(None),
            Ok(left) => Some(Some(Duration::from_millis(left))),
            Err(error) => {
                tracing::warn!(error = %error, "Redis does not count attempts; the stricter local limit holds");
                None
            }
        }
    }

    fn count_here(&self, key: &str, limit: u32) -> Option<Duration> {
        let now = self.env.now();
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if local.len() >= LOCAL_AT_MOST {
            local.retain(|_, e| now - e.since < WINDOW || e.pause_until.is_some_and(|until| until > now));
        }
        let entry = local.entry(key.to_owned()).or_insert(Local { since: now, count: 0, pause_until: None, pauses: 0 });
        if let Some(until) = entry.pause_until.filter(|until| *until > now) {
            return Some((until - now).unsigned_abs());
        }
        if now - entry.since >= WINDOW {
            (entry.since, entry.count) = (now, 0);
        }
        entry.count += 1;
        if entry.count <= limit {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << entry.pauses.min(10)).min(LONGEST_PAUSE);
        *entry = Local { since: now, count: 0, pause_until: Some(now + pause), pauses: entry.pauses + 1 };
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::{FixedClock, SystemIds};

    use super::*;

    fn without_redis(per_account: u32) -> (Attempts, FixedClock) {
        let clock = FixedClock::at(OffsetDateTime::UNIX_EPOCH);
        let env = Env { clock: Arc::new(clock.clone()), ids: Arc::new(SystemIds) };
        (Attempts::new(None, "t", env, Limits { per_pair: 10, per_account, per_address: 100 }), clock)
    }

    #[tokio::test]
    async fn without_redis_half_the_attempts_are_allowed_and_each_pause_is_longer() {
        // The account as a whole is not what stops it here.
        let (attempts, clock) = without_redis(1000);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            for _ in 0..5 {
                attempts.begin("ada", "10.0.0.1").await.unwrap();
            }
            let refused = attempts.begin("ada", "10.0.0.1").await.unwrap_err();
            assert_eq!(refused.kind, Kind::TooMany);
            let pause = refused.retry_after.unwrap();
            clock.advance(pause / 2);
            let still = attempts.begin("ada", "10.0.0.1").await.unwrap_err().retry_after.unwrap();
            assert!(still <= pause / 2, "trying during a pause does not make it longer");
            clock.advance(pause);
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [60, 120, 240, 480, 900, 900]);
    }

    #[tokio::test]
    async fn a_known_device_passes_while_strangers_are_locked_out() {
        let (attempts, _) = without_redis(20);
        for i in 0..60 {
            attempts.begin("ada", &format!("10.0.1.{i}")).await.ok();
        }
        assert!(attempts.begin("ada", "10.0.2.1").await.is_err(), "from anywhere");
        attempts.begin_from("ada", "10.0.2.1", Some("laptop")).await.unwrap();
        for _ in 0..20 {
            attempts.begin_from("ada", "10.0.2.2", Some("laptop")).await.ok();
        }
        assert!(attempts.begin_from("ada", "10.0.2.1", Some("laptop")).await.is_err(), "a known device is limited by itself");
        attempts.begin("bob", "10.0.2.1").await.unwrap();
    }

    #[tokio::test]
    async fn success_forgets_the_failures_of_the_account() {
        let (attempts, _) = without_redis(20);
        for _ in 0..20 {
            attempts.begin("ada", "10.0.0.1").await.unwrap();
            attempts.succeeded("ada", "10.0.0.1").await;
        }
        assert_eq!(attempts.failures("ada", "10.0.0.1").await, 0);
    }

    #[tokio::test]
    async fn one_address_cannot_try_many_accounts() {
        let (attempts, _) = without_redis(20);
        for i in 0..50 {
            attempts.begin(&format!("user{i}"), "10.0.0.1").await.unwrap();
        }
        assert!(attempts.begin("user50", "10.0.0.1").await.is_err());
        attempts.begin("user50", "10.0.0.2").await.unwrap();
    }

    #[tokio::test]
    async fn failures_are_counted_for_the_captcha() {
        let (attempts, _) = without_redis(20);
        for _ in 0..3 {
            attempts.begin("ada", "10.0.0.1").await.unwrap();
        }
        assert_eq!(attempts.failures("ada", "10.0.0.1").await, 3);
        assert_eq!(attempts.failures("bob", "10.0.0.1").await, 0);
    }
}
