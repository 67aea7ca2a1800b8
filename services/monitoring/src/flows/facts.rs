//! Sign-ins, denials and failures from the audit stream.

use async_nats::jetstream::Message;
use async_trait::async_trait;
use gantry_bus::streams;
use gantry_contract::audit::AuditFact;
use gantry_es_pg::Db;
use sea_orm::TransactionTrait;

use super::consumer::Taker;
use crate::domain::redact::redact;
use crate::store::audit::{self, NewRecord};

pub struct Facts(pub Db);

#[async_trait]
impl Taker for Facts {
    fn stream(&self) -> &'static str {
        streams::AUDIT
    }

    fn batch(&self) -> usize {
        200
    }

    async fn take(&self, batch: &[Message]) -> anyhow::Result<()> {
        let tx = self.0.orm.begin().await?;
        for message in batch {
            match serde_json::from_slice::<AuditFact>(&message.payload) {
                Ok(fact) => audit::add(&tx, record(fact)).await?,
                Err(error) => refuse(&self.0, streams::AUDIT, &error.to_string(), &message.payload).await?,
            }
        }
        tx.commit().await?;
        Ok(())
    }
}

fn record(fact: AuditFact) -> NewRecord {
    NewRecord {
        id: fact.id,
        at: fact.at,
        source: "fact",
        service: fact.service,
        kind: fact.action,
        actor: fact.actor,
        org: fact.org.map(|o| o.0),
        project: None,
        space: None,
        object: fact.object,
        name: None,
        content: fact.after.map(|after| redact("", after)),
        before: fact.before.map(|before| redact("", before)),
        ended_by: None,
        result: fact.result,
        reason: fact.reason,
        from: Some(fact.from).filter(|f| !f.is_empty()),
        trace: fact.trace_id,
    }
}

/// Keeps what cannot be stored, with the reason: it will not get better by waiting, and must not stop the others.
pub(super) async fn refuse(db: &Db, stream: &str, reason: &str, payload: &[u8]) -> anyhow::Result<()> {
    tracing::warn!(stream, reason, "a message was refused; see table refused");
    let text: String = String::from_utf8_lossy(payload).replace('\0', "\u{fffd}").chars().take(4_000).collect();
    sqlx::query("insert into refused (stream, reason, payload) values ($1, $2, $3)").bind(stream).bind(reason).bind(text).execute(&db.pool).await?;
    Ok(())
}
