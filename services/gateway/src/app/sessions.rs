//! Browser sessions (backend for frontend): tokens stay here, the browser holds an opaque cookie. The door asks for the
//! token of a request; `/auth/*` opens and closes sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_kernel::{Env, Kind, Problem};
use serde::{Deserialize, Serialize};

use crate::adapters::identity::{Identity, Tokens};
use crate::adapters::store::Store;

/// The session's cookie, and the one that ties a sign-in to its browser.
pub const COOKIE: &str = "__Host-gantry";
pub const LOGIN_COOKIE: &str = "__Host-gantry-login";
/// A sign-in page may stay open so long.
const LOGIN_KEEP: Duration = Duration::from_secs(15 * 60);
/// A token with less time left is renewed first.
const MARGIN_SECONDS: i64 = 60;
const LOCK: Duration = Duration::from_secs(15);

/// A sign-in on its way.
#[derive(Serialize, Deserialize)]
struct Login {
    verifier: String,
    nonce: String,
    return_to: String,
}

/// A signed-in browser.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    pub subject: String,
    pub username: String,
    pub name: String,
    /// Must come back in `X-CSRF` with every change.
    pub csrf: String,
    access: String,
    /// Unix seconds.
    access_until: i64,
    refresh: Option<String>,
    id_token: Option<String>,
    /// Unix seconds; whatever happens, it ends then.
    pub ends: i64,
}

impl Session {
    pub fn access(&self) -> &str {
        &self.access
    }
}

/// Where to send the browser, and the cookie's new value.
pub struct Redirect {
    pub to: String,
    pub cookie: String,
}

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub idle: Duration,
    pub whole: Duration,
}

#[derive(Clone)]
pub struct Sessions {
    env: Env,
    store: Store,
    identity: Identity,
    lifetimes: Lifetimes,
    /// One renewal at a time per session: a refresh token may be used once.
    renewing: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Sessions {
    pub fn new(env: Env, store: Store, identity: Identity, lifetimes: Lifetimes) -> Self {
        Self { env, store, identity, lifetimes, renewing: Arc::default() }
    }

    /// Begins a sign-in that returns to `return_to` (a path of this door).
    ///
    /// # Errors
    /// When the session store is away.
    pub async fn begin(&self, return_to: &str, locale: Option<&str>) -> Result<Redirect, Problem> {
        let (state, nonce, verifier) = (self.random(), self.random(), self.random());
        let to = self.identity.authorize_url(&state, &nonce, &verifier, locale);
        let login = Login { verifier, nonce, return_to: local_path(return_to).to_owned() };
        self.store.put(&self.store.name("login", &state), &login, LOGIN_KEEP).await?;
        Ok(Redirect { to, cookie: state })
    }

    /// Ends a sign-in: `cookie` is what [`Sessions::begin`] gave this browser.
    ///
    /// # Errors
    /// `Unauthenticated` when the answer is not for this browser or not good any more.
    pub async fn finish(&self, state: &str, code: &str, issuer: Option<&str>, cookie: Option<&str>) -> Result<Redirect, Problem> {
        let stale =
            || Problem::new(Kind::Unauthenticated, "gateway.sign_in_stale", "this sign-in was not begun in this browser, or too long ago; sign in again");
        if cookie != Some(state) || issuer.is_some_and(|issuer| issuer.trim_end_matches('/') != self.identity.issuer()) {
            return Err(stale());
        }
        let login: Login = self.store.take(&self.store.name("login", state)).await?.ok_or_else(stale)?;
        let tokens = self.identity.exchange(code, &login.verifier).await?;
        let now = self.now();
        let id_token = tokens.id_token.as_deref().ok_or_else(stale)?;
        let person = self.identity.person(id_token, Some(&login.nonce), now)?;
        let session = Session {
            subject: person.sub,
            name: if person.name.is_empty() { person.preferred_username.clone() } else { person.name },
            username: person.preferred_username,
            csrf: self.random(),
            access_until: now + tokens.expires_in,
            access: tokens.access_token,
            refresh: tokens.refresh_token,
            id_token: tokens.id_token,
            ends: now + self.lifetimes.whole.as_secs() as i64,
        };
        let cookie = self.random();
        self.store.put(&self.store.name("session", &cookie), &session, self.keep(&session)).await?;
        Ok(Redirect { to: login.return_to, cookie })
    }

    /// The session of a cookie, as it is.
    ///
    /// # Errors
    /// When the session store is away.
    pub async fn read(&self, cookie: &str) -> Result<Option<Session>, Problem> {
        let session: Option<Session> = self.store.get(&self.store.name("session", cookie)).await?;
        Ok(session.filter(|session| session.ends > self.now()))
    }

    /// The session with an access token that is good for a while: renewed when it is not.
    ///
    /// # Errors
    /// When the session store or identity is away.
    pub async fn fresh(&self, cookie: &str) -> Result<Option<Session>, Problem> {
        match self.read(cookie).await? {
            Some(session) if self.stale(&session) => self.renew(cookie).await,
            other => Ok(other),
        }
    }

    /// Closes a session and answers where the browser should go to end the single sign-on too.
    ///
    /// # Errors
    /// When the session store is away. Identity may be: the tokens then run out by themselves.
    pub async fn end(&self, cookie: &str) -> Result<String, Problem> {
        let session = self.read(cookie).await?;
        self.store.remove(&self.store.name("session", cookie)).await?;
        if let Some(refresh) = session.as_ref().and_then(|session| session.refresh.as_deref())
            && let Err(problem) = self.identity.revoke(refresh).await
        {
            tracing::warn!(error = %problem.chain(), "a refresh token was not revoked");
        }
        Ok(self.identity.logout_url(session.as_ref().and_then(|session| session.id_token.as_deref())))
    }

    async fn renew(&self, cookie: &str) -> Result<Option<Session>, Problem> {
        let name = self.store.name("session", cookie);
        let turn = self.renewing.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone();
        let result = {
            let _turn = turn.lock().await;
            self.renew_in_turn(cookie, &name).await
        };
        let mut renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        if renewing.get(&name).is_some_and(|turn| Arc::strong_count(turn) <= 2) {
            renewing.remove(&name);
        }
        result
    }

    /// Another replica may be renewing the same session: the lock in Redis lets one of them do it, the others wait for
    /// its result.
    async fn renew_in_turn(&self, cookie: &str, name: &str) -> Result<Option<Session>, Problem> {
        for _ in 0..100 {
            let Some(session) = self.read(cookie).await? else { return Ok(None) };
            if !self.stale(&session) {
                return Ok(Some(session));
            }
            if self.store.lock(name, LOCK).await? {
                let renewed = self.renew_locked(session, name).await;
                self.store.unlock(name).await?;
                return renewed;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Problem::unavailable("the renewal of your session"))
    }

    async fn renew_locked(&self, session: Session, name: &str) -> Result<Option<Session>, Problem> {
        let Some(refresh) = session.refresh.clone() else {
            // Without a refresh token the session lasts as long as its access token.
            return if session.access_until > self.now() { Ok(Some(session)) } else { self.store.remove(name).await.map(|()| None).map_err(Problem::from) };
        };
        match self.identity.refresh(&refresh).await {
            Ok(tokens) => {
                let session = renewed(session, tokens, self.now());
                self.store.put(name, &session, self.keep(&session)).await?;
                Ok(Some(session))
            }
            Err(problem) if problem.kind == Kind::Unauthenticated => {
                self.store.remove(name).await?;
                Ok(None)
            }
            Err(_) if session.access_until > self.now() => Ok(Some(session)),
            Err(problem) => Err(problem),
        }
    }

    fn stale(&self, session: &Session) -> bool {
        session.access_until - MARGIN_SECONDS < self.now()
    }

    fn keep(&self, session: &Session) -> Duration {
        let left = Duration::from_secs(u64::try_from(session.ends - self.now()).unwrap_or(0));
        left.min(self.lifetimes.idle)
    }

    fn now(&self) -> i64 {
        self.env.now().unix_timestamp()
    }

    fn random(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.env.random::<32>())
    }
}

fn renewed(session: Session, tokens: Tokens, now: i64) -> Session {
    Session {
        access: tokens.access_token,
        access_until: now + tokens.expires_in,
        refresh: tokens.refresh_token.or(session.refresh),
        id_token: tokens.id_token.or(session.id_token),
        ..session
    }
}

/// A path on this door, never another site: `//evil` and `/\evil` are both other sites to a browser.
fn local_path(given: &str) -> &str {
    let other = !given.starts_with('/') || given.starts_with("//") || given.contains(['\\', '\n', '\r']) || given.bytes().any(|b| b < 0x20);
    if other { "/" } else { given }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_returns_to_this_door_only() {
        for (given, meant) in [("/orgs/a?b=c", "/orgs/a?b=c"), ("https://evil", "/"), ("//evil", "/"), ("/\\evil", "/"), ("", "/"), ("/a\r\nb", "/")] {
            assert_eq!(local_path(given), meant, "{given}");
        }
    }
}
