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
        let mut lines = Lines::default();
        for event in events.iter().filter(|e| e.is::<AccountEvent>()) {
            let AccountEvent::Entered { amount, note } = event.decode()?;
            lines.positions.push(event.position);
            lines.accounts.push(event.stream.as_str().to_owned());
            lines.amounts.push(amount);
            lines.notes.push(note);
            lines.times.push(event.at);
        }
        let Lines { positions, accounts, amounts, notes, times } = lines;
        // As arrays, the way the log itself is written: Postgres would have to read JSON twice, and make a table of names for every row.
        let sql = "insert into statement (position, account, amount, note, at)
                   select unnest($1::bigint[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::text[]), unnest($5::timestamptz[])";
        let values = [positions.into(), accounts.into(), amounts.into(), notes.into(), times.into()];
        tx.execute_raw(Sql::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }
}

/// Columns of the rows to insert.
#[derive(Default)]
struct Lines {
    positions: Vec<i64>,
    accounts: Vec<String>,
    amounts: Vec<i64>,
    notes: Vec<String>,
    times: Vec<time::OffsetDateTime>,
}
