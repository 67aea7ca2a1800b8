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
        let AccountEvent::Entered { amount, note } = event.decode()?;
        let sql = "insert into statement (position, account, amount, note, at) values ($1, $2, $3, $4, $5)";
        let values = [event.position.into(), event.stream.as_str().into(), amount.into(), note.into(), event.at.into()];
        tx.execute_raw(Sql::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }
}
