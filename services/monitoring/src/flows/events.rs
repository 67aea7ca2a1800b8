//! Every domain event of every service becomes an audit record, and moves what is known about places and applications.

use async_trait::async_trait;
use gantry_contract::scheduler::AppEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::DatabaseTransaction;

use crate::domain::record;
use crate::store::audit::{self, NewRecord};
use crate::store::{history, places};

/// The services that have an event log, and the name of the checkpoint for each.
pub const ORIGINS: [(&str, &str); 7] = [
    ("identity", "audit-identity"),
    ("registry", "audit-registry"),
    ("scheduler", "audit-scheduler"),
    ("cicd", "audit-cicd"),
    ("catalog", "audit-catalog"),
    ("billing", "audit-billing"),
    ("monitoring", "audit-monitoring"),
];

/// One per origin. Has no tables of its own: the trail is kept even if a stream is lost, so it is never rebuilt.
pub struct Trail(pub &'static str);

#[async_trait]
impl Projection for Trail {
    fn name(&self) -> &'static str {
        self.0
    }

    fn ddl(&self) -> &'static str {
        ""
    }

    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        let described = record::describe(event);
        let place = places::complete(tx, &described.object, described.place, event.version == 1).await?;
        if event.origin == "scheduler" && event.is::<AppEvent>() {
            // Only what is needed is decoded: an event newer than this program must not stop the trail.
            match event.decode::<AppEvent>() {
                Ok(AppEvent::Created { app, space, name, .. }) => places::app_created(tx, app, space, name.as_str(), event.at).await?,
                Ok(AppEvent::Deleted { app }) => places::app_deleted(tx, app, event.at).await?,
                Ok(_) | Err(_) => {}
            }
        }
        let before = history::turn(tx, &described.object, &event.kind, &described.content).await?;
        let record = NewRecord {
            id: event.id,
            at: event.at,
            source: "event",
            service: event.origin.clone(),
            kind: event.kind.clone(),
            actor: event.meta.actor.clone(),
            org: place.org,
            project: place.project,
            space: place.space,
            object: described.object,
            name: place.name,
            content: Some(described.content),
            before,
            ended_by: record::ended_by(&event.kind),
            result: described.outcome.as_str().into(),
            reason: described.reason,
            from: event.meta.from.clone(),
            trace: event.meta.trace.clone(),
        };
        audit::add(tx, record).await?;
        Ok(())
    }
}
