//! Whether a sign-in still stands, for what goes on longer than the access token with which it was begun.

use gantry_kernel::{Problem, UserId, Uuid};

use crate::app::App;
use crate::app::issue::{family_of, key_of};
use crate::error::fault;
use crate::store::{personal, refresh, revoked, robot_keys, sessions};

impl App {
    /// By the token's `jti`, `sid` and `sub`. It ends with sign-out, with what an administrator ends, when the token or what it came from
    /// (a refresh token, a personal token, a key) is revoked, and with the account. A sign-in that is kept up by refresh tokens may outlive the browser's session, as these do.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn stands(&self, token_id: &str, session: Option<Uuid>, subject: &str) -> Result<bool, Problem> {
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
        if let Some(key) = key_of(token_id) {
            let of_a_robot = subject.starts_with("robot:");
            let alive =
                if of_a_robot { robot_keys::is_alive(self.pool(), key, self.now()).await } else { personal::is_alive(self.pool(), key, self.now()).await };
            if !alive.map_err(fault)? {
                return Ok(false);
            }
        }
        match subject.strip_prefix("user:").and_then(|id| id.parse::<UserId>().ok()) {
            Some(user) => Ok(self.person(user).await?.is_some_and(|p| p.suspended.is_none())),
            None => Ok(true),
        }
    }
}
