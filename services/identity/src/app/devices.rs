//! The device flow (RFC 8628): start, the person's decision, the device's polls.

use gantry_kernel::{Problem, UserId};
use serde::Serialize;
use serde_json::Value;
use time::Duration;

use crate::app::App;
use crate::app::clients::{CLI, Client};
use crate::app::code::source_of;
use crate::app::context::Fact;
use crate::app::issue::{Source, Tokens};
use crate::app::people::subject;
use crate::app::secrets::{fresh, kept};
use crate::app::signin::Origin;
use crate::domain::device::{self, Answer};
use crate::error::{OAuthError, fault};
use crate::store::devices::{self, Decision, Device};
use crate::store::refresh::Family;
use crate::store::sessions::Session;

const LIFE: Duration = Duration::minutes(10);
const INTERVAL_SECS: i32 = 5;

/// Section 3.2.
#[derive(Serialize)]
pub struct Started {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: i64,
    interval: i32,
}

impl App {
    /// # Errors
    /// `invalid_scope`, or when the database refuses.
    pub async fn start_device(&self, client: &Client, scope: &str) -> Result<Started, OAuthError> {
        let scope = client.scope(if scope.trim().is_empty() { "openid profile email offline_access api" } else { scope });
        if scope.is_empty() {
            return Err(OAuthError::new("invalid_scope", "no known scope is asked for"));
        }
        let now = self.now();
        let device_code = fresh(&self.host.env, "gd_");
        let device = Device {
            client_id: client.id.clone(),
            scope,
            state: "pending".into(),
            user_id: None,
            session_id: None,
            auth_time: None,
            amr: None,
            expires_at: now + LIFE,
            interval_secs: INTERVAL_SECS,
            last_poll: None,
        };
        for _ in 0..10 {
            let Some(user_code) = device::user_code(&self.host.env.random::<32>()) else { continue };
            if devices::insert(self.pool(), &kept(&device_code), &device::normalise(&user_code), &device, now).await.map_err(fault)? {
                let verification_uri = format!("{}/oauth2/device", self.issuer);
                let verification_uri_complete = format!("{verification_uri}?user_code={user_code}");
                return Ok(Started {
                    device_code,
                    user_code,
                    verification_uri,
                    verification_uri_complete,
                    expires_in: LIFE.whole_seconds(),
                    interval: INTERVAL_SECS,
                });
            }
        }
        Err(Problem::unavailable("a free user code").into())
    }

    /// What waits under a typed code: the client's name and the scope.
    ///
    /// # Errors
    /// 429 when somebody guesses.
    pub async fn pending_device(&self, typed: &str, origin: &Origin) -> Result<Option<(String, String)>, Problem> {
        let guessing = format!("device {}", origin.address);
        self.attempts.begin(&guessing, &origin.address).await?;
        let found = devices::by_user_code(self.pool(), &device::normalise(typed), self.now()).await.map_err(fault)?;
        if found.is_some() {
            self.attempts.succeeded(&guessing, &origin.address).await;
        }
        let Some(found) = found else { return Ok(None) };
        Ok(Some((self.clients.name(&found.client_id).await?, found.scope)))
    }

    /// # Errors
    /// 429 when somebody guesses.
    pub async fn decide_device(&self, typed: &str, approve: bool, session: &Session, origin: &Origin) -> Result<bool, Problem> {
        // Nobody has to ask first what waits under a code.
        let guessing = format!("device {}", origin.address);
        self.attempts.begin(&guessing, &origin.address).await?;
        let user = UserId(session.user_id);
        let decision = Decision { approve, user, session: session.id, auth_time: session.auth_time, amr: &session.amr };
        let decided = devices::decide(self.pool(), &device::normalise(typed), &decision, self.now()).await.map_err(fault)?;
        if decided {
            self.attempts.succeeded(&guessing, &origin.address).await;
            let (actor, result) = (subject(user), if approve { "ok" } else { "denied" });
            self.record(Fact { actor: &actor, action: "device.decided", object: "device", result, reason: "", from: &origin.address }).await;
        }
        Ok(decided)
    }

    /// # Errors
    /// Those of section 3.5.
    pub async fn poll_device(&self, client: &Client, device_code: &str, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        let now = self.now();
        let hash = kept(device_code);
        let mut tx = self.pool().begin().await.map_err(fault)?;
        let found = devices::lock(&mut tx, &hash).await.map_err(fault)?.filter(|d| d.client_id == client.id);
        let device = found.ok_or_else(|| OAuthError::invalid_grant("the device code is not known"))?;
        let answer = device::answer(&device.polled(), now);
        let refusal = match answer {
            Answer::Grant => None,
            Answer::AuthorizationPending => Some(OAuthError::new("authorization_pending", "the person has not decided yet")),
            Answer::SlowDown => Some(OAuthError::new("slow_down", "poll five seconds less often")),
            Answer::AccessDenied => Some(OAuthError::new("access_denied", "the person said no")),
            Answer::ExpiredToken => Some(OAuthError::new("expired_token", "the code has expired; start again")),
            Answer::InvalidGrant => Some(OAuthError::invalid_grant("the device code was used")),
        };
        if let Some(refusal) = refusal {
            devices::polled(&mut tx, &hash, now, if answer == Answer::SlowDown { 5 } else { 0 }).await.map_err(fault)?;
            tx.commit().await.map_err(fault)?;
            return Err(refusal);
        }
        devices::consume(&mut tx, &hash).await.map_err(fault)?;
        let (Some(user_id), Some(auth_time)) = (device.user_id, device.auth_time) else {
            return Err(OAuthError::invalid_grant("nobody approved"));
        };
        let offline = client.goes_on_alone(&device.scope);
        let family = Family {
            id: self.host.env.uuid(),
            client_id: client.id.clone(),
            user_id,
            // The command line stays signed in when the browser signs out.
            session_id: device.session_id.filter(|_| client.id != CLI),
            scope: device.scope,
            auth_time,
            amr: device.amr.unwrap_or_default(),
            created_at: now,
            expires_at: now + self.refresh_life(client),
            ended_at: None,
            claims: "{}".into(),
            cnf: None,
            offline,
        };
        // While the row is held: whoever disconnects the client meanwhile finds the device, or the family. The session in which the person
        // approved must stand until now for the command line, too: with it goes what was approved when all sign-ins are ended.
        let begun = self.begin_family(&mut tx, client, family, device.session_id, bound.as_ref()).await;
        // Used, whatever came of it.
        tx.commit().await.map_err(fault)?;
        let (family, refresh_token) = begun?;
        let person = self.active_person(UserId(user_id)).await?;
        let tokens = self.issue(client, &person, &Source { cnf: bound, ..source_of(&family) }, None, refresh_token).await?;
        let (actor, object) = (subject(UserId(user_id)), format!("client:{}", client.id));
        self.record(Fact { actor: &actor, action: "token.issued", object: &object, result: "ok", reason: "device_code", from: &origin.address }).await;
        Ok(tokens)
    }
}
