//! What each event makes necessary outside: telling webhooks, and replications that go by events. Put down in the transaction
//! that moves the checkpoint: nothing is forgotten, and nothing twice, not even when the read model is built anew.

use std::time::Duration;

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent;
use gantry_contract::registry::flow::{Direction, Replication, Webhook};
use gantry_contract::registry::settings::{Change, SettingsEvent};
use gantry_es::Recorded;
use gantry_es_pg::{Projection, Todo, one_after_another};
use gantry_kernel::{Env, OrgId, ProjectId};
use sea_orm::DatabaseTransaction;
use serde_json::json;

use crate::app::replicate::{REPLICATE, new_run};
use crate::app::webhooks::{Told, tell};
use crate::domain::name::RepositoryName;
use crate::domain::replication::{other_end, wants_tag};
use crate::domain::webhook::{delivery_id, told, wants};
use crate::store::outgoing;
use crate::store::replications::{self, Run};

/// What happened longer ago is no news: the read model is being built anew.
const NEWS: Duration = Duration::from_secs(7 * 24 * 3600);

pub struct Outgoing {
    pub public_url: String,
    pub env: Env,
}

#[async_trait]
impl Projection for Outgoing {
    fn name(&self) -> &'static str {
        "outgoing"
    }

    fn ddl(&self) -> &'static str {
        "create table outgoing (project uuid primary key, kept json not null)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["outgoing"]
    }

    /// Mostly nobody wants to hear of anything: one look for all events of a batch.
    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        if events.iter().any(|event| event.is::<SettingsEvent>()) || outgoing::any(tx).await? { one_after_another(self, tx, events).await } else { Ok(()) }
    }

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if recorded.is::<SettingsEvent>() {
            let SettingsEvent::Changed { project, change, .. } = recorded.decode::<SettingsEvent>()?;
            return changed(tx, project, change).await;
        }
        if !recorded.is::<RepositoryEvent>() || recorded.at < self.env.now() - NEWS {
            return Ok(());
        }
        let event = recorded.decode::<RepositoryEvent>()?;
        let (org, project, repository) = place(&event);
        let Some(kept) = outgoing::find(tx, project.0).await? else { return Ok(()) };
        let Ok(name) = RepositoryName::parse(repository) else { return Ok(()) };
        if let Some(happened) = told(&event, &recorded.meta.actor) {
            for webhook in kept.webhooks.iter().filter(|w| wants(w, &happened)) {
                let id = delivery_id(&recorded.id.to_string(), &webhook.name);
                let names = (name.org().as_str(), name.project().as_str());
                tell(tx, &self.public_url, &Told { id, place: (org, project), names, webhook, happened: &happened, at: recorded.at }).await?;
            }
        }
        let (tag, gone) = match &event {
            RepositoryEvent::TagMoved { tag, .. } => (tag, false),
            RepositoryEvent::TagDeleted { tag, .. } => (tag, true),
            RepositoryEvent::ManifestPushed { .. } | RepositoryEvent::ManifestDeleted { .. } | RepositoryEvent::Scanned { .. } => return Ok(()),
        };
        for rule in kept.replications.iter().filter(|r| wants_tag(r, tag) && other_end(r, name.rest()).is_some() && (!gone || r.deletions)) {
            replicate(tx, recorded, (org, project), rule, (name.rest(), tag, gone)).await?;
        }
        Ok(())
    }
}

async fn replicate(
    tx: &DatabaseTransaction,
    recorded: &Recorded,
    place: (OrgId, ProjectId),
    rule: &Replication,
    (repository, tag, gone): (&str, &str, bool),
) -> anyhow::Result<()> {
    let id = delivery_id(&recorded.id.to_string(), &format!("replication {}", rule.name));
    let run = new_run(id, place, rule, "event", false, &recorded.meta.actor, recorded.at);
    let run = Run { only_repository: Some(repository.to_owned()), only_tag: Some(tag.to_owned()), gone, ..run };
    if replications::begin(tx, &run).await? {
        Todo::enqueue(tx, REPLICATE, &id.to_string(), &json!({ "run": id, "after": recorded.position })).await?;
    }
    Ok(())
}

/// Only projects that have any of these have a row, so that the others' events cost a look by key.
async fn changed(tx: &DatabaseTransaction, project: ProjectId, change: Change) -> anyhow::Result<()> {
    let by_event = |rule: &Replication| rule.on_event && rule.enabled && rule.direction == Direction::Push;
    let mut kept = match change {
        Change::WebhookSet { .. } | Change::WebhookRemoved(_) | Change::ReplicationSet(_) | Change::ReplicationRemoved(_) => {
            outgoing::find(tx, project.0).await?.unwrap_or_default()
        }
        _ => return Ok(()),
    };
    match change {
        Change::WebhookSet { webhook, .. } => set(&mut kept.webhooks, webhook, |w: &Webhook| w.name.clone()),
        Change::WebhookRemoved(name) => kept.webhooks.retain(|w| w.name != name),
        Change::ReplicationSet(rule) if by_event(&rule) => set(&mut kept.replications, rule, |r: &Replication| r.name.clone()),
        Change::ReplicationSet(Replication { name, .. }) | Change::ReplicationRemoved(name) => kept.replications.retain(|r| r.name != name),
        _ => {}
    }
    outgoing::keep(tx, project.0, &kept).await
}

fn set<T>(all: &mut Vec<T>, one: T, name: impl Fn(&T) -> String) {
    all.retain(|other| name(other) != name(&one));
    all.push(one);
}

fn place(event: &RepositoryEvent) -> (OrgId, ProjectId, &str) {
    match event {
        RepositoryEvent::ManifestPushed { org, project, repository, .. }
        | RepositoryEvent::TagMoved { org, project, repository, .. }
        | RepositoryEvent::TagDeleted { org, project, repository, .. }
        | RepositoryEvent::ManifestDeleted { org, project, repository, .. }
        | RepositoryEvent::Scanned { org, project, repository, .. } => (*org, *project, repository),
    }
}
