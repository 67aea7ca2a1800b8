//! The reader's projection: one row per entry.

use async_trait::async_trait;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement as Sql};

use crate::bench::ledger::AccountEvent;

pub struct Statement;

#[async_trait]
impl Projection for Statement {
    fn name(&self) -> &'static str {
        "statement"
    }

    fn ddl(&self) -> &'static str {
        "create table statement (position bigint primary key, account text not null, amount bigint not null, note text not null, at timestamptz not null)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["statement"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        self.apply_batch(tx, &[event]).await
    }

    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        let mut lines = Vec::with_capacity(events.len());
        for event in events.iter().filter(|e| e.is::<AccountEvent>()) {
            let AccountEvent::Entered { amount, note } = event.decode()?;
            lines.push(Line { position: event.position, account: event.stream.as_str(), amount, note, at: event.at });
        }
        let sql = "insert into statement select * from json_to_recordset($1::text::json)
                   as line(position bigint, account text, amount bigint, note text, at timestamptz)";
        tx.execute_raw(Sql::from_sql_and_values(DbBackend::Postgres, sql, [serde_json::to_string(&lines)?.into()])).await?;
        Ok(())
    }
}

/// A row to insert.
#[derive(serde::Serialize)]
struct Line<'a> {
    position: i64,
    account: &'a str,
    amount: i64,
    note: String,
    #[serde(with = "time::serde::rfc3339")]
    at: time::OffsetDateTime,
}
