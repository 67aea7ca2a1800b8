//! Telling receivers what happened: put down with what made it necessary, sent by durable work, tried again with growing
//! pauses, given up visibly.

use std::time::Duration;

use gantry_contract::registry::flow::{Happening, Webhook};
use gantry_es_pg::Todo;
use gantry_kernel::{OffsetDateTime, OrgId, ProjectId, Uuid};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::App;
use crate::adapters::receiver::{Answer, Message};
use crate::domain::name::RepositoryName;
use crate::domain::webhook::{Happened, cloud_event, delivery_id, key_of, pause, signatures, wants};
use crate::error::Result;
use crate::store::webhooks::{self, Delivery, Tried};

/// Name of the work.
pub const TELL: &str = "webhook";
/// Work that got lost is found again after this long.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// Something to be told to one webhook.
pub struct Told<'a> {
    pub id: Uuid,
    pub place: (OrgId, ProjectId),
    /// Names of organisation and project.
    pub names: (&'a str, &'a str),
    pub webhook: &'a Webhook,
    pub happened: &'a Happened,
    pub at: OffsetDateTime,
}

/// Puts down what is to be told, and the work of telling it, in one transaction with what `db` is in.
///
/// # Errors
/// Database.
pub async fn tell(db: &impl ConnectionTrait, public_url: &str, told: &Told<'_>) -> Result<bool, sea_orm::DbErr> {
    let event = cloud_event(told.id, told.at, public_url, told.names, told.happened);
    let delivery = Delivery {
        id: told.id,
        org: told.place.0.0,
        project: told.place.1.0,
        webhook: told.webhook.name.clone(),
        kind: event["type"].as_str().unwrap_or_default().to_owned(),
        body: event.to_string(),
        state: "waiting".into(),
        tries: 0,
        due_at: told.at + FIRST_LOOK,
        created_at: told.at,
        ended_at: None,
        status: None,
        error: None,
        log: json!([]),
    };
    let new = webhooks::put(db, &delivery).await?;
    if new {
        Todo::enqueue(db, TELL, &told.id.to_string(), &json!({ "delivery": told.id })).await?;
    }
    Ok(new)
}

impl App {
    /// Tells a project's webhooks of something that no event of the log says. `once`: a text; of the same only the first is told.
    pub async fn announce(&self, project: ProjectId, happened: &Happened, once: Option<&str>) {
        if let Err(error) = self.try_announce(project, happened, once).await {
            tracing::warn!(project.id = %project.0, what = happened.what, error = %error, "webhooks could not be told");
        }
    }

    async fn try_announce(&self, project: ProjectId, happened: &Happened, once: Option<&str>) -> Result<()> {
        let settings = self.settings(project).await?;
        let hearing: Vec<&Webhook> = settings.webhooks.values().map(|k| &k.webhook).filter(|w| wants(w, happened)).collect();
        if hearing.is_empty() {
            return Ok(());
        }
        let place = self.host.auth.read(|r| r.projects().find(|p| p.id == project).map(|p| (p.org.id, p.org.name.to_string(), p.name.to_string())));
        let Some((org, org_name, name)) = place else { return Ok(()) };
        for webhook in hearing {
            let id = once.map_or_else(|| self.host.env.uuid(), |once| delivery_id(&format!("{} {once}", project.0), &webhook.name));
            let told = Told { id, place: (org, project), names: (&org_name, &name), webhook, happened, at: self.host.env.now() };
            tell(&self.host.db().orm, &self.host.platform.public_url, &told).await?;
        }
        Ok(())
    }

    /// Tells of pulls, gathered.
    pub async fn announce_pulls(&self, pulls: &[(String, String, i64)]) {
        for (repository, digest, count) in pulls {
            let Ok(name) = RepositoryName::parse(repository) else { continue };
            let Ok(project) = self.host.auth.project(name.org().as_str(), name.project().as_str()) else { continue };
            let data = json!({ "repository": repository, "digest": digest, "pulls": count });
            let happened = Happened { happening: Happening::Pulled, what: "image.pulled", repository: Some(repository.clone()), tag: None, data };
            self.announce(project.id, &happened, None).await;
        }
    }

    /// Sends what is to be told, if it still is.
    ///
    /// # Errors
    /// The store. That a receiver does not answer is no error here: it is written down and tried again in time.
    pub async fn deliver(&self, id: Uuid) -> Result<()> {
        let db = &self.host.db().orm;
        let now = self.host.env.now();
        // Put down once more while it was sent, and to be tried later: its time has not come.
        let Some(delivery) = webhooks::find(db, None, id).await?.filter(|d| d.state == "waiting" && (d.tries == 0 || d.due_at <= now)) else { return Ok(()) };
        let project = ProjectId(delivery.project);
        let kept = match self.settings(project).await?.webhooks.get(&delivery.webhook).cloned() {
            Some(kept) => Some(kept),
            // What is at hand may be a moment old; the log is not.
            None => self.settings_now(project).await?.0.webhooks.remove(&delivery.webhook),
        };
        let Some(kept) = kept else { return self.give_up(&delivery, "the webhook was removed").await };
        let paused = webhooks::state(db, delivery.project, &delivery.webhook).await?.paused_at.is_some();
        if paused || !kept.webhook.enabled {
            return Ok(());
        }
        let mut keys = Vec::new();
        for sealed in &kept.secrets {
            keys.extend(key_of(&self.unseal(project, sealed).await?));
        }
        let begun = self.host.env.now();
        let (text, timestamp) = (delivery.id.to_string(), begun.unix_timestamp());
        let signed = signatures(&keys, &text, timestamp, &delivery.body);
        let message = Message { url: &kept.webhook.url, id: &text, timestamp, signatures: &signed, body: delivery.body.clone() };
        let answer = self.flow.receivers.post(kept.webhook.allow_private, kept.webhook.ca_pem.as_deref(), message).await;
        self.came_of(&delivery, begun, answer).await
    }

    async fn came_of(&self, delivery: &Delivery, begun: OffsetDateTime, answer: std::result::Result<Answer, String>) -> Result<()> {
        let (db, now) = (&self.host.db().orm, self.host.env.now());
        let (status, asked, text, fault) = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => (Some(answer.status), None, answer.text, None),
            Ok(answer) => (Some(answer.status), answer.retry_after, answer.text, Some(format!("the receiver answers {}", answer.status))),
            Err(error) => (None, None, String::new(), Some(error)),
        };
        let entry = json!({
            "at": begun.format(&Rfc3339).unwrap_or_default(), "status": status, "error": fault, "answer": text,
            "took_ms": i64::try_from((now - begun).whole_milliseconds()).unwrap_or(i64::MAX),
        });
        let next = match &fault {
            None => None,
            Some(_) => pause(&self.config.webhook_pauses_seconds, u32::try_from(delivery.tries + 1).unwrap_or(u32::MAX), asked),
        };
        let state = match (&fault, next) {
            (None, _) => "delivered",
            (Some(_), Some(_)) => "waiting",
            (Some(_), None) => "dead",
        };
        let ended_at = (state != "waiting").then_some(now);
        let due_at = now + next.unwrap_or_default();
        webhooks::tried(db, delivery.id, Tried { state, due_at, ended_at, status: status.map(i32::from), error: fault.clone(), entry }).await?;
        let Some(why) = fault else { return Ok(webhooks::well(db, delivery.project, &delivery.webhook).await?) };
        // 410 is how a receiver says that it wants no more (Standard Webhooks, "Operational considerations").
        let most = if status == Some(410) { 1 } else { i32::try_from(self.config.webhook_pause_failures).unwrap_or(i32::MAX) };
        if webhooks::failed(db, delivery.project, &delivery.webhook, &why, most, now).await? {
            tracing::warn!(project.id = %delivery.project, webhook = delivery.webhook, why, "the webhook is paused; what it is to be told waits");
        }
        Ok(())
    }

    async fn give_up(&self, delivery: &Delivery, why: &str) -> Result<()> {
        let now = self.host.env.now();
        let entry: Value = json!({ "at": now.format(&Rfc3339).unwrap_or_default(), "error": why });
        let tried = Tried { state: "dead", due_at: now, ended_at: Some(now), status: None, error: Some(why.to_owned()), entry };
        Ok(webhooks::tried(&self.host.db().orm, delivery.id, tried).await?)
    }
}
