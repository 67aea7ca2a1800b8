//! Which signs of an intrusion somebody has looked into, from the events that say so. `signs` joins them.

use async_trait::async_trait;
use gantry_contract::scheduler::{AppEvent, InstanceEvent};
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{DatabaseTransaction, Value};

use super::projection::run;

pub struct AcknowledgedProjection;

#[async_trait]
impl Projection for AcknowledgedProjection {
    fn name(&self) -> &'static str {
        "acknowledged_signs"
    }

    fn version(&self) -> i32 {
        1
    }

    fn ddl(&self) -> &'static str {
        "create table acknowledged_signs (instance uuid not null, container text not null, sign text not null, detail text not null, app uuid not null,
            actor text not null, reason text not null, at timestamptz not null, primary key (instance, container, sign, detail));
         create index acknowledged_signs_app on acknowledged_signs (app)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["acknowledged_signs"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        // Most events are of instances, and no others than these have to be read.
        match event.kind.as_str() {
            "instance.sign-acknowledged" => {
                let InstanceEvent::SignAcknowledged { instance, app, container, sign, detail, reason } = event.decode()? else { return Ok(()) };
                // Of two at the same time the first one counts.
                let sql = "insert into acknowledged_signs (instance, app, container, sign, detail, actor, reason, at) values ($1, $2, $3, $4, $5, $6, $7, $8)
                           on conflict do nothing";
                let texts = [container.as_str(), sign.as_str(), detail.as_str(), event.meta.actor.as_str(), reason.as_str()].map(Value::from);
                let values = [instance.0, app.0].map(Value::from).into_iter().chain(texts).chain([event.at.into()]);
                run(tx, sql, values.collect()).await
            }
            "app.deleted" => {
                let AppEvent::Deleted { app } = event.decode()? else { return Ok(()) };
                run(tx, "delete from acknowledged_signs where app = $1", vec![app.0.into()]).await
            }
            _ => Ok(()),
        }
    }
}
