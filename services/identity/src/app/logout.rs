//! Telling clients that a session has ended (OpenID Connect Back-Channel Logout 1.0). Noted down before the session ends
//! and delivered until the client has taken it, so that neither a crash nor a client that is away loses a notice.

use async_trait::async_trait;
use gantry_es_pg::{Todo, TodoHandler, TodoItem};
use gantry_kernel::{Problem, UserId, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::Duration;

use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::subject;
use crate::domain::signing::Algorithm;
use crate::error::fault;
use crate::store::refresh;
use crate::store::sessions::{self, Along};

const WORK: &str = "backchannel-logout";
/// Then the client's own tokens have long expired.
const MAX_TRIES: i32 = 30;
const TOKEN_SECS: i64 = 120;
/// Sessions that are looked up at once.
const AT_ONCE: i64 = 500;

#[derive(Serialize, Deserialize)]
struct Notice {
    client: String,
    session: Uuid,
    user: Uuid,
}

impl App {
    /// Notes down whom to tell. To be called before the sessions end.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn announce_end(&self, ids: &[Uuid]) -> Result<(), Problem> {
        for (session, user, client) in sessions::clients_of(self.pool(), ids).await.map_err(fault)? {
            let wants = self.clients.get(&client).await?.is_some_and(|c| c.settings.backchannel_logout_uri.is_some());
            if wants {
                let key = format!("{session} {client}");
                let notice = serde_json::to_value(Notice { client, session, user }).map_err(fault)?;
                Todo::enqueue(self.orm(), WORK, &key, &notice).await.map_err(fault)?;
            }
        }
        Ok(())
    }

    /// Ends all sessions of a person but `keep`, with the tokens that came from them.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_sessions(&self, user: UserId, keep: Option<Uuid>, why: &str) -> Result<(), Problem> {
        let ending = sessions::living(self.pool(), user, keep, self.now()).await.map_err(fault)?;
        self.announce_end(&ending).await?;
        sessions::end_all(self.pool(), user, keep, why, self.now()).await.map_err(fault)
    }

    /// Ends all sessions of a person and all that was connected without one (devices, registry clients).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_sign_ins(&self, user: UserId, why: &str) -> Result<(), Problem> {
        self.end_sessions(user, None, why).await?;
        refresh::end_all_of(self.pool(), user, why, self.now()).await.map_err(fault)
    }

    /// Ends all sign-ins, or with `keep` all sessions but that one, because the account changed at this position of the log: at once, and
    /// again when the read model has heard of it, for whoever came in meanwhile by what was there before.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) async fn end_sign_ins_by(&self, user: UserId, keep: Option<Uuid>, why: &str, position: i64) -> Result<(), Problem> {
        for heard in [false, true] {
            if heard {
                self.settled(position).await;
            }
            match keep {
                Some(_) => self.end_sessions(user, keep, why).await?,
                None => self.end_sign_ins(user, why).await?,
            }
        }
        Ok(())
    }
}

impl App {
    /// Who works with a token is not cut off: until it runs out it uses the session it came from.
    pub(super) fn token_lasts(&self) -> Duration {
        Duration::seconds(self.config.access_token_seconds.into())
    }

    /// Ends the sessions whose time is over by a policy.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_overdue_sessions(&self) -> Result<(), Problem> {
        loop {
            let over = sessions::overdue(self.pool(), self.token_lasts(), self.now(), AT_ONCE).await.map_err(fault)?;
            for (id, user) in &over {
                if self.host.cancel.is_cancelled() {
                    return Ok(());
                }
                // Not `end_session`: it may have run out by itself, and what came from it goes on.
                self.announce_end(&[*id]).await?;
                if sessions::end(self.pool(), UserId(*user), *id, Along::Online, self.now()).await.map_err(fault)? {
                    let (object, reason) = (format!("session:{id}"), "its time is over by the security policy");
                    self.record(Fact { actor: "system", action: "session.ended", object: &object, result: "ok", reason, from: "" }).await;
                }
            }
            if over.len() < AT_ONCE.unsigned_abs() as usize {
                return Ok(());
            }
        }
    }
}

/// Delivers the notices.
pub struct Deliver {
    pub app: App,
}

#[async_trait]
impl TodoHandler for Deliver {
    fn name(&self) -> &'static str {
        WORK
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let notice: Notice = serde_json::from_value(item.payload)?;
        let app = &self.app;
        if sessions::is_alive(app.pool(), notice.session, app.now()).await? {
            // Noted down a moment before it ends; if it never does, there is nothing to tell.
            anyhow::ensure!(item.attempts > 3, "the session has not ended yet");
            return Ok(());
        }
        let Some(client) = app.clients.get(&notice.client).await? else { return Ok(()) };
        let Some(address) = &client.settings.backchannel_logout_uri else { return Ok(()) };
        let now = app.now().unix_timestamp();
        // Made anew for each try, so that it is fresh.
        let claims = json!({
            "iss": app.issuer, "aud": client.id, "sub": subject(UserId(notice.user)), "sid": notice.session, "iat": now, "exp": now + TOKEN_SECS,
            "jti": app.host.env.uuid(), "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        let algorithm = Algorithm::parse(&client.settings.id_token_signed_response_alg).unwrap_or(Algorithm::Rs256);
        let token = app.keys.sign_with(algorithm, "logout+jwt", &claims)?;
        let told = app.outside.post(address, "logout_token", &token).await;
        match told {
            Ok(200..=299) => Ok(()),
            // It says that it has no such session, or does not want to know.
            Ok(400) => {
                tracing::warn!(client.id = client.id, "a client refused a logout notice");
                Ok(())
            }
            Ok(status) if item.attempts >= MAX_TRIES => {
                tracing::warn!(client.id = client.id, status, "a logout notice was given up");
                Ok(())
            }
            Err(error) if item.attempts >= MAX_TRIES => {
                tracing::warn!(client.id = client.id, error = format!("{error:#}"), "a logout notice was given up");
                Ok(())
            }
            Ok(status) => anyhow::bail!("the client {} answers {status}", client.id),
            Err(error) => Err(error),
        }
    }
}
