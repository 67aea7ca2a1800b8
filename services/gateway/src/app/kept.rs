//! Tokens that people and programs keep: personal access tokens and keys of service accounts. The services know access tokens
//! only, so the door exchanges what it is brought, and remembers the answer for a moment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_kernel::{Kind, Problem};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::adapters::identity::Identity;
use crate::domain::routes::Upstream;

/// How such tokens begin; identity makes them.
const PREFIXES: [&str; 2] = ["gpat_", "gsk_"];
/// One that was taken back opens nothing after this.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Of tokens and who brought them.
const MOST: usize = 10_000;
/// How long one request waits for the answer about its token, whoever asked for it.
const WAIT: Duration = Duration::from_secs(10);

/// Cheap to clone.
#[derive(Clone)]
pub struct Kept {
    identity: Identity,
    /// By a hash of the token and the address that brings it: what one network may is not what another may.
    known: Arc<Mutex<HashMap<[u8; 32], Known>>>,
}

struct Known {
    since: Instant,
    access: Arc<OnceCell<String>>,
}

impl Known {
    fn new() -> Self {
        Self { since: Instant::now(), access: Arc::default() }
    }

    fn holds(&self) -> bool {
        self.since.elapsed() < REMEMBERED
    }
}

impl Kept {
    pub fn new(identity: Identity) -> Self {
        Self { identity, known: Arc::default() }
    }

    /// The access token for one that is [`kept_in`] a request; many who ask at once ask once. `admitted`: whether this address may ask
    /// once more; awaited by whoever asks.
    ///
    /// # Errors
    /// `Unauthenticated` when it is not good (any more), `TooMany` when it was not admitted, `Unavailable` when identity is away.
    pub async fn exchanged(&self, kept: &str, from: IpAddr, admitted: impl Future<Output = Result<(), Problem>>) -> Result<String, Problem> {
        let key: [u8; 32] = Sha256::digest(format!("{from} {kept}")).into();
        let access = self.remembered(key);
        let asked = access.get_or_try_init(|| async {
            admitted.await?;
            self.identity.exchange_kept(kept, from).await.map(|tokens| tokens.access_token)
        });
        // Of those who wait, each asks after the one before has failed: not all of them, one after the other.
        let token = tokio::time::timeout(WAIT, asked).await.unwrap_or_else(|late| Err(Problem::unavailable(Upstream::Identity).with_source(late)));
        token.cloned().map_err(|problem| {
            self.forget(&key, &access);
            match problem.kind {
                Kind::Unauthenticated => {
                    Problem::unauthenticated("this token is not valid, not any more, or not for the API (scope `api`); `gantry token create` makes another")
                }
                _ => problem,
            }
        })
    }

    fn remembered(&self, key: [u8; 32]) -> Arc<OnceCell<String>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, one| one.holds());
        }
        if known.len() >= MOST {
            // Somebody tries many: what is forgotten is asked for once more.
            known.clear();
        }
        let one = known.entry(key).or_insert_with(Known::new);
        if !one.holds() {
            *one = Known::new();
        }
        one.access.clone()
    }

    /// What opened nothing takes no place from what does.
    fn forget(&self, key: &[u8; 32], access: &Arc<OnceCell<String>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !access.initialized() && known.get(key).is_some_and(|one| Arc::ptr_eq(&one.access, access)) {
            known.remove(key);
        }
    }
}

/// The token of this kind that an `Authorization` header brings, if it does.
pub fn kept_in(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && PREFIXES.iter().any(|prefix| token.starts_with(prefix))).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kept_tokens_are_exchanged() {
        assert_eq!(kept_in("Bearer gpat_abc"), Some("gpat_abc"));
        assert_eq!(kept_in("bearer  gsk_abc"), Some("gsk_abc"));
        for other in ["Bearer eyJhbGciOi", "DPoP gpat_abc", "Basic Z3BhdF8=", "gpat_abc", ""] {
            assert_eq!(kept_in(other), None, "{other}");
        }
    }
}
