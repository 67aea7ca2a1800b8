//! Whether what a token came from still counts: for what goes on longer than the token with which it was begun, and for introspection.

use gantry_kernel::{Problem, UserId, Uuid};

use crate::app::App;
use crate::app::issue::{family_of, key_of, trust_of};
use crate::error::fault;
use crate::store::{personal, refresh, revoked, robot_keys, sessions};

/// What the token said.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    /// `jti`.
    pub token_id: &'a str,
    /// `sid`.
    pub session: Option<Uuid>,
    /// `sub`.
    pub subject: &'a str,
    /// `client_id`; empty: not asked.
    pub client: &'a str,
}

impl App {
    /// It ends with sign-out, with what an administrator ends, when the token or what it came from (a refresh token, a personal token, a
    /// key, the trust in an outside issuer) is revoked, with the client that it was given to, and with the account. A sign-in that is kept up by refresh tokens may
    /// outlive the browser's session, as these do.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn stands(&self, begun: &Begun<'_>) -> Result<bool, Problem> {
        let Begun { token_id, session, subject, client } = *begun;
        // Also when it is switched off.
        if !client.is_empty() && self.clients.get(client).await?.is_none() {
            return Ok(false);
        }
        if revoked::is(self.pool(), token_id).await.map_err(fault)? {
            return Ok(false);
        }
        let family = family_of(token_id);
        if let Some(family) = family
            && refresh::is_ended(self.pool(), family).await.map_err(fault)?
        {
            return Ok(false);
        }
        if family.is_none()
            && let Some(session) = session
            && !sessions::is_alive(self.pool(), session, self.now()).await.map_err(fault)?
        {
            return Ok(false);
        }
        if !self.ground_counts(token_id, subject).await? {
            return Ok(false);
        }
        match subject.strip_prefix("user:").and_then(|id| id.parse::<UserId>().ok()) {
            Some(user) => Ok(self.person(user).await?.is_some_and(|p| p.suspended.is_none())),
            None => Ok(true),
        }
    }

    /// Whether the personal token, or the key of a service account, for which a token was given has neither been withdrawn nor run out,
    /// nor the service account been suspended; the same of the trust in an outside issuer and what it names. True if it was given for none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ground_counts(&self, token_id: &str, subject: &str) -> Result<bool, Problem> {
        if let Some(trust) = trust_of(token_id) {
            return self.is_trusted_as(trust, subject).await;
        }
        let Some(key) = key_of(token_id) else { return Ok(true) };
        let of_a_robot = subject.starts_with("robot:");
        let alive = if of_a_robot { robot_keys::is_alive(self.pool(), key, self.now()).await } else { personal::is_alive(self.pool(), key, self.now()).await };
        alive.map_err(fault)
    }
}
