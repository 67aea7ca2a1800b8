//! Exchanging an authorization code (RFC 6749 section 4.1.3 with PKCE).

use gantry_kernel::{OffsetDateTime, UserId, Uuid};
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::Duration;

use crate::app::App;
use crate::app::clients::{Client, Grant};
use crate::app::context::Fact;
use crate::app::issue::{Source, Tokens};
use crate::app::people::subject;
use crate::app::secrets::{fresh, kept};
use crate::app::signin::Origin;
use crate::domain::pkce;
use crate::error::{OAuthError, fault};
use crate::store::codes::{self, Code, First, Taken};
use crate::store::refresh::{self, Family};

/// What a client shows for a code.
#[derive(Clone, Copy)]
pub struct CodeShown<'a> {
    pub code: &'a str,
    pub redirect_uri: &'a str,
    /// None where the client goes without PKCE.
    pub verifier: Option<&'a str>,
}

impl App {
    /// # Errors
    /// `invalid_grant` when the code is unknown, used, expired, or not for this client, address or verifier.
    pub async fn exchange_code(&self, client: &Client, shown: CodeShown<'_>, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        let CodeShown { code, redirect_uri, verifier } = shown;
        let now = self.now();
        let First { code: row, alive, user } = match codes::take(self.pool(), &kept(code), now).await.map_err(fault)? {
            Taken::First(first) => *first,
            Taken::Unknown => return Err(OAuthError::invalid_grant("the code is not known")),
            Taken::Again(row) => {
                refresh::forestall(self.pool(), &self.family(client, &row, now), "code replayed", now).await.map_err(fault)?;
                let (actor, object) = (subject(UserId(row.user_id)), format!("client:{}", row.client_id));
                self.record(Fact {
                    actor: &actor,
                    action: "code.replayed",
                    object: &object,
                    result: "denied",
                    reason: "its tokens were revoked",
                    from: &origin.address,
                })
                .await;
                return Err(OAuthError::invalid_grant("the code was used before; what it gave is revoked"));
            }
        };
        if row.client_id != client.id || row.redirect_uri != redirect_uri || now >= row.expires_at {
            return Err(OAuthError::invalid_grant("the code is expired or was given for another client or redirect_uri"));
        }
        if row.dpop_jkt.as_ref().is_some_and(|jkt| bound.as_ref().and_then(|b| b.get("jkt")) != Some(&json!(jkt))) {
            return Err(OAuthError::new("invalid_dpop_proof", "the code is bound to another key"));
        }
        if !pkce::fits(&row.challenge, verifier) {
            return Err(OAuthError::invalid_grant("code_verifier does not fit"));
        }
        // Said as it is; that it stays so until the family is there is seen to when the family begins.
        if !alive {
            return Err(OAuthError::invalid_grant("the session has ended"));
        }
        let person = self.if_active(user).await?;
        let family = self.family(client, &row, now);
        let (family, refresh_token) = {
            let mut connection = self.pool().acquire().await.map_err(fault)?;
            self.begin_family(&mut connection, client, family, Some(row.session_id), bound.as_ref()).await?
        };
        let source = Source { cnf: bound, ..source_of(&family) };
        let tokens = self.issue(client, &person, &source, row.nonce.as_deref(), refresh_token).await?;
        let (actor, object) = (subject(UserId(row.user_id)), format!("client:{}", client.id));
        self.record(Fact { actor: &actor, action: "token.issued", object: &object, result: "ok", reason: "authorization_code", from: &origin.address }).await;
        Ok(tokens)
    }

    fn family(&self, client: &Client, row: &Code, now: OffsetDateTime) -> Family {
        Family {
            id: row.family,
            client_id: row.client_id.clone(),
            user_id: row.user_id,
            session_id: Some(row.session_id),
            scope: row.scope.clone(),
            auth_time: row.auth_time,
            amr: row.amr.clone(),
            created_at: now,
            expires_at: now + self.refresh_life(client),
            ended_at: None,
            claims: row.claims.clone(),
            cnf: None,
            offline: client.goes_on_alone(&row.scope),
        }
    }

    /// Begins a family of tokens on the ground of a session, which must be alive; gives it with its first refresh token, if the client gets one.
    ///
    /// # Errors
    /// `invalid_grant` when the session has ended, or the family has before it began.
    pub(crate) async fn begin_family(
        &self,
        connection: &mut PgConnection,
        client: &Client,
        family: Family,
        ground: Option<Uuid>,
        bound: Option<&Value>,
    ) -> Result<(Family, Option<String>), OAuthError> {
        // Nothing else protects the refresh token of a client without credentials (RFC 9449 section 5).
        let cnf = bound.filter(|_| client.is_public()).map(Value::to_string);
        let family = Family { cnf, ..family };
        let refresh_token = client.may(Grant::RefreshToken).then(|| fresh(&self.host.env, "gr_"));
        let hash = refresh_token.as_deref().map(kept);
        let idle_until = self.now() + self.refresh_idle(client);
        let begun = refresh::start(connection, &family, ground, hash.as_deref().map(|h| (h, idle_until)), true).await.map_err(fault)?;
        if !begun {
            return Err(OAuthError::invalid_grant("the code was used twice or revoked, or the sign-in it came from has ended"));
        }
        Ok((family, refresh_token))
    }

    pub(crate) fn refresh_life(&self, client: &Client) -> Duration {
        Duration::days(client.settings.refresh_days.unwrap_or(self.config.refresh_days).into())
    }

    pub(crate) fn refresh_idle(&self, client: &Client) -> Duration {
        Duration::days(client.settings.refresh_idle_days.unwrap_or(self.config.refresh_idle_days).into())
    }
}

pub(crate) fn source_of(family: &Family) -> Source {
    Source {
        scope: family.scope.clone(),
        session: family.session_id,
        family: Some(family.id),
        key: None,
        trust: None,
        auth_time: family.auth_time,
        amr: family.amr.clone(),
        claims: serde_json::from_str(&family.claims).unwrap_or_default(),
        cnf: None,
        act: None,
        seconds: None,
    }
}
