//! Exchanging a refresh token (RFC 6749 section 6), with rotation and replay detection.

use std::collections::BTreeSet;

use gantry_kernel::UserId;
use serde_json::Value;
use time::Duration;

use crate::app::App;
use crate::app::clients::Client;
use crate::app::code::source_of;
use crate::app::context::Fact;
use crate::app::issue::{Source, Tokens};
use crate::app::people::subject;
use crate::app::secrets::kept;
use crate::app::signin::Origin;
use crate::domain::refresh::{Verdict, judge};
use crate::error::{OAuthError, fault};
use crate::store::refresh::{self, Family, FirstUse};

impl App {
    /// # Errors
    /// `invalid_grant` when the token is unknown, dead or replayed.
    pub async fn refresh(&self, client: &Client, token: &str, scope: Option<&str>, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        let now = self.now();
        let hash = kept(token);
        let successor = self.succession.successor(token);
        // Nearly always it is the first use and the whole scope, and one statement does it.
        if scope.is_none_or(|asked| asked.trim().is_empty()) {
            let (kept, cnf) = (kept(&successor), bound.as_ref().map(Value::to_string));
            let idle_until = now + self.refresh_idle(client);
            let it = FirstUse { hash: &hash, client: &client.id, cnf: cnf.as_deref(), successor: &kept, now, successor_expires_at: idle_until };
            if let Some(family) = refresh::rotate_first(self.pool(), &it).await.map_err(fault)? {
                return self.refreshed(client, &family, family.scope.clone(), bound, successor, origin).await;
            }
        }
        let mut tx = self.pool().begin().await.map_err(fault)?;
        let unknown = || OAuthError::invalid_grant("the refresh token is not valid");
        let (family, shown) = refresh::lock(&mut tx, &hash).await.map_err(fault)?.ok_or_else(unknown)?;
        // Somebody else's token: say nothing about it, and change nothing.
        if family.client_id != client.id {
            return Err(unknown());
        }
        // A stolen token without the key is worth nothing, and does not end the family of its owner.
        if family.cnf.as_ref().is_some_and(|cnf| bound.as_ref().map(Value::to_string).as_ref() != Some(cnf)) {
            return Err(OAuthError::new("invalid_dpop_proof", "the refresh token is bound to a key: send a proof by that key"));
        }
        let narrowed = narrow(&family.scope, scope)?;
        let verdict = judge(&shown, now, Duration::seconds(self.config.refresh_grace_seconds.into()));
        match verdict {
            Verdict::Dead => return Err(unknown()),
            Verdict::Replay => {
                tx.rollback().await.map_err(fault)?;
                refresh::end(self.pool(), family.id, "refresh token replayed", now).await.map_err(fault)?;
                let (actor, object) = (subject(UserId(family.user_id)), format!("client:{}", client.id));
                self.record(Fact {
                    actor: &actor,
                    action: "refresh.replayed",
                    object: &object,
                    result: "denied",
                    reason: "the family was revoked",
                    from: &origin.address,
                })
                .await;
                return Err(OAuthError::invalid_grant("the refresh token was used before; sign in again"));
            }
            Verdict::Rotate => {
                let idle_until = now + self.refresh_idle(client);
                refresh::rotate(&mut tx, &hash, &kept(&successor), family.id, now, idle_until).await.map_err(fault)?;
            }
            Verdict::SameSuccessor => {}
        }
        tx.commit().await.map_err(fault)?;
        self.refreshed(client, &family, narrowed, bound, successor, origin).await
    }

    async fn refreshed(
        &self,
        client: &Client,
        family: &Family,
        scope: String,
        bound: Option<Value>,
        successor: String,
        origin: &Origin,
    ) -> Result<Tokens, OAuthError> {
        let person = self.active_person(UserId(family.user_id)).await?;
        let source = Source { scope, cnf: bound, ..source_of(family) };
        let tokens = self.issue(client, &person, &source, None, Some(successor)).await?;
        let (actor, object) = (subject(person.id), format!("client:{}", client.id));
        self.record(Fact { actor: &actor, action: "token.issued", object: &object, result: "ok", reason: "refresh_token", from: &origin.address }).await;
        Ok(tokens)
    }
}

/// The asked scope, which must not exceed what was granted.
fn narrow(granted: &str, asked: Option<&str>) -> Result<String, OAuthError> {
    let Some(asked) = asked.filter(|a| !a.trim().is_empty()) else { return Ok(granted.to_owned()) };
    let granted: BTreeSet<&str> = granted.split_ascii_whitespace().collect();
    let asked: BTreeSet<&str> = asked.split_ascii_whitespace().collect();
    if !asked.is_subset(&granted) {
        return Err(OAuthError::new("invalid_scope", "more than was granted"));
    }
    Ok(asked.into_iter().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_can_shrink_but_not_grow() {
        assert_eq!(narrow("openid email", None).unwrap(), "openid email");
        assert_eq!(narrow("openid email", Some("email")).unwrap(), "email");
        assert_eq!(narrow("openid", Some("openid api")).unwrap_err().error, "invalid_scope");
    }
}
