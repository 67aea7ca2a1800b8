//! What people do with their own account: see what is kept of them, disconnect applications, leave for good.

use gantry_contract::factor::FactorEvent;
use gantry_contract::identity::UserEvent;
use gantry_es::{EventData, Meta, Sealed, StreamId};
use gantry_es_pg::KeyringError;
use gantry_kernel::{Kind, OffsetDateTime, Problem, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use time::Duration;

use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::{Person, subject};
use crate::domain::assurance::{Level, level};
use crate::error::{fault, unsealed};
use crate::store::sessions::{self, Session};
use crate::store::{account, personal, scim};

/// How fresh a sign-in must be for changes that could take an account over.
const RECENT: Duration = Duration::minutes(15);

/// An application that holds tokens of a person.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ConnectedApp {
    pub client_id: String,
    pub name: String,
    /// Everything it may use, separated by spaces.
    pub scope: String,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// What is left of an erased person: values in the log that nobody can read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Erased {
    /// Events about the person that stay in the log.
    pub events: usize,
    /// Sealed values in them. Each was tried again after the key was destroyed.
    pub values: usize,
    /// How many of the values can still be read. Zero, or the deletion failed.
    pub readable: usize,
}

/// What must happen before a change that could take the account over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Enough,
    SignInAgain,
    SecondStep,
}

impl App {
    /// Whether `session` is fresh and strong enough for a change of passwords, factors and the like.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn proof(&self, session: &Session) -> Result<Proof, Problem> {
        if self.now() - session.auth_time > RECENT {
            return Ok(Proof::SignInAgain);
        }
        let user = UserId(session.user_id);
        if level(&session.amr) >= Level::Two || !self.choices(user).await?.any() {
            return Ok(Proof::Enough);
        }
        // Who came by a certificate alone proves no more by showing it again.
        Ok(if self.choices_after(user, &session.amr).await?.any() { Proof::SecondStep } else { Proof::SignInAgain })
    }

    /// The same for a caller of the REST API, by the session that the token came from.
    ///
    /// # Errors
    /// Forbidden with what to do.
    pub async fn prove(&self, user: UserId, session: Option<&str>) -> Result<(), Problem> {
        let again = |detail| Problem::new(Kind::Forbidden, "identity.sign_in_again", detail);
        let id = session.and_then(|s| s.parse().ok());
        let found = match id {
            Some(id) => sessions::by_id(self.pool(), user, id, self.now()).await.map_err(fault)?,
            None => None,
        };
        let Some(session) = found else { return Err(again("this needs a token of a living sign-in session: `gantry login`")) };
        match self.proof(&session).await? {
            Proof::Enough => Ok(()),
            Proof::SignInAgain => Err(again("this needs a sign-in of the last 15 minutes: sign in again, or use the account page")),
            Proof::SecondStep => Err(again("this needs a sign-in with the second factor: sign in again with `acr_values=2`")),
        }
    }

    /// # Errors
    /// When the database refuses.
    pub async fn connected_apps(&self, user: UserId) -> Result<Vec<ConnectedApp>, Problem> {
        let rows = account::apps(self.pool(), user, self.now()).await.map_err(fault)?;
        let mut apps = Vec::new();
        for (client_id, scopes, since) in rows {
            let mut words: Vec<&str> = scopes.iter().flat_map(|s| s.split_ascii_whitespace()).collect();
            words.sort_unstable();
            words.dedup();
            let name = self.clients.name(&client_id).await?;
            apps.push(ConnectedApp { name, scope: words.join(" "), since, client_id });
        }
        Ok(apps)
    }

    /// Ends every token that an application holds of a person.
    ///
    /// # Errors
    /// When there are none.
    pub async fn disconnect(&self, user: UserId, client: &str, from: &str) -> Result<(), Problem> {
        if account::disconnect(self.pool(), user, client, self.now()).await.map_err(fault)? == 0 {
            return Err(Problem::not_found("connected application", client));
        }
        let (actor, object) = (subject(user), format!("client:{client}"));
        self.record(Fact { actor: &actor, action: "client.disconnected", object: &object, result: "ok", reason: "", from }).await;
        Ok(())
    }

    /// Everything that is kept of a person, without secrets.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn export(&self, person: &Person) -> Result<Value, Problem> {
        let id = person.id;
        let time = |at: OffsetDateTime| at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
        let sessions: Vec<Value> = sessions::of_user(self.pool(), id, self.now())
            .await
            .map_err(fault)?
            .into_iter()
            .map(|s| json!({ "id": s.id, "since": time(s.created_at), "last_seen_at": time(s.last_seen_at), "amr": s.amr, "from": s.from_addr, "user_agent": s.user_agent }))
            .collect();
        let tokens: Vec<Value> = personal::of_user(self.pool(), id)
            .await
            .map_err(fault)?
            .into_iter()
            .map(|t| json!({ "id": t.id, "name": t.name, "created_at": time(t.created_at), "expires_at": t.expires_at.map(time), "last_used_at": t.last_used_at.map(time) }))
            .collect();
        let facts: Vec<Value> = account::facts(self.pool(), &subject(id))
            .await
            .map_err(fault)?
            .into_iter()
            .map(|(at, action, object, result, reason, from)| json!({ "at": time(at), "action": action, "object": object, "result": result, "reason": reason, "from": from }))
            .collect();
        let devices: Vec<Value> = account::devices(self.pool(), id)
            .await
            .map_err(fault)?
            .into_iter()
            .map(|(first, last, agent, from)| json!({ "first_seen_at": time(first), "last_seen_at": time(last), "user_agent": agent, "from": from }))
            .collect();
        let mut provisioned = Vec::new();
        for link in scim::links_of_person(self.pool(), id.0).await.map_err(fault)? {
            let kept = self.open_kept(id, &link).await?;
            provisioned.push(json!({ "org": link.org, "since": time(link.created_at), "attributes": kept }));
        }
        Ok(json!({
            "profile": {
                "id": id, "username": person.username, "email": person.email, "display_name": person.display_name, "created_at": time(person.created_at),
            },
            "roles": self.groups(id).await?,
            "factors": self.factors(id).await?,
            "recovery_codes_left": self.recovery_left(id).await?,
            "sessions": sessions,
            "tokens": tokens,
            "applications": self.connected_apps(id).await?,
            "devices": devices,
            "provisioned": provisioned,
            "history": self.history(id).await?,
            "security_facts": facts,
        }))
    }

    /// What the log says of a person. Secrets and hashes of them are left out.
    async fn history(&self, user: UserId) -> Result<Vec<Value>, Problem> {
        let mut all = Vec::new();
        for event in self.events_of(user).await? {
            let mut data = event.data.value();
            if let Value::Object(fields) = &mut data {
                for secret in ["password_hash", "secret", "codes"] {
                    fields.remove(secret);
                }
                for value in fields.values_mut() {
                    if let Value::String(text) = value
                        && let Ok(open) = self.keyring.open(&subject(user), &Sealed(text.clone())).await
                    {
                        *value = Value::String(open);
                    }
                }
            }
            all.push(json!({ "at": event.at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(), "kind": event.kind, "data": data }));
        }
        Ok(all)
    }

    async fn events_of(&self, user: UserId) -> Result<Vec<gantry_es::Recorded>, Problem> {
        let mut all = Vec::new();
        for aggregate in [UserEvent::AGGREGATE, FactorEvent::AGGREGATE] {
            all.extend(self.host.log().read_stream(&StreamId::new(aggregate, user), 0).await.map_err(fault)?);
        }
        Ok(all)
    }

    /// Erases a person and tries every sealed value of theirs in the log again.
    ///
    /// # Errors
    /// When the person owns an organisation or is the last administrator.
    pub async fn leave(&self, person: &Person, meta: Meta) -> Result<Erased, Problem> {
        self.refuse_last_admin(person.id).await?;
        let mut sealed = Vec::new();
        for event in self.events_of(person.id).await? {
            for text in strings(&event.data.value()) {
                if self.keyring.open(&subject(person.id), &Sealed(text.to_owned())).await.is_ok() {
                    sealed.push(text.to_owned());
                }
            }
        }
        let from = meta.from.clone().unwrap_or_default();
        self.erase_user(person, meta).await?;
        let subject = subject(person.id);
        let mut erased = Erased { events: self.events_of(person.id).await?.len(), values: sealed.len(), readable: 0 };
        for text in sealed {
            match self.keyring.open(&subject, &Sealed(text)).await {
                Err(KeyringError::Erased) => {}
                Ok(_) => erased.readable += 1,
                Err(error @ (KeyringError::Damaged | KeyringError::MasterKey | KeyringError::Sql(_))) => return Err(unsealed(error)),
            }
        }
        let reason = format!("{} values in {} events cannot be read any more, {} can", erased.values, erased.events, erased.readable);
        self.record(Fact { actor: &subject, action: "user.erased", object: &subject, result: "ok", reason: &reason, from: &from }).await;
        Ok(erased)
    }
}

fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}
