//! Personal access tokens: made by their owner, shown once, kept as hashes.

use gantry_kernel::{Problem, UserId, Uuid};
use time::Duration;

use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::subject;
use crate::app::secrets::{fresh, kept};
use crate::app::signin::{Origin, PERSONAL_PREFIX};
use crate::domain::token_scope;
use crate::error::fault;
use crate::store::personal::{self, PersonalToken};

const MAX_DAYS: u32 = 366;
const MAX_TOKENS: usize = 100;

impl App {
    /// The token's row and its text, which is never seen again.
    ///
    /// # Errors
    /// A name or life that is out of range.
    pub async fn make_personal(
        &self,
        user: UserId,
        name: &str,
        scopes: &[String],
        days: Option<u32>,
        origin: &Origin,
    ) -> Result<(PersonalToken, String), Problem> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 100 {
            return Err(Problem::invalid("name", "must have 1 to 100 characters"));
        }
        if days.is_some_and(|d| d == 0 || d > MAX_DAYS) {
            return Err(Problem::invalid("expires_in_days", format!("must be 1 to {MAX_DAYS}")));
        }
        let everything = ["api".to_owned()];
        let scope = token_scope::parse(if scopes.is_empty() { &everything } else { scopes }).map_err(|detail| Problem::invalid("scopes", detail))?;
        if personal::of_user(self.pool(), user).await.map_err(fault)?.len() >= MAX_TOKENS {
            return Err(Problem::conflict("identity.too_many_tokens", format!("there are {MAX_TOKENS} tokens already: revoke some first")));
        }
        let text = fresh(&self.host.env, PERSONAL_PREFIX);
        let now = self.now();
        let token = PersonalToken {
            id: self.host.env.uuid(),
            user_id: user.0,
            name: name.to_owned(),
            hint: text.chars().take(PERSONAL_PREFIX.len() + 4).collect(),
            scope,
            created_at: now,
            expires_at: Some(now + Duration::days(days.unwrap_or(90).into())),
            last_used_at: None,
        };
        personal::insert(self.pool(), &token, &kept(&text)).await.map_err(fault)?;
        let (actor, object) = (subject(user), format!("token:{}", token.id));
        self.record(Fact { actor: &actor, action: "token.created", object: &object, result: "ok", reason: "", from: &origin.address }).await;
        Ok((token, text))
    }

    /// # Errors
    /// When there is no such token of this person.
    pub async fn revoke_personal(&self, user: UserId, id: Uuid, origin: &Origin) -> Result<(), Problem> {
        if !personal::revoke(self.pool(), user, id, self.now()).await.map_err(fault)? {
            return Err(Problem::not_found("token", id));
        }
        let (actor, object) = (subject(user), format!("token:{id}"));
        self.record(Fact { actor: &actor, action: "token.revoked", object: &object, result: "ok", reason: "", from: &origin.address }).await;
        Ok(())
    }
}
