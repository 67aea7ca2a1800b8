//! Appends: durable, version-checked, gapless, over gRPC with certificates, beside pgbench inserting the same row into a table
//! of the same shape in the same Postgres.

use anyhow::Result;
use gantry_host::config::Nothing;
use gantry_host::{Host, Running, start};

use crate::bench::Options;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ground::{Ground, runtime};
use crate::bench::ledger::{Callers, Ledger, NOTE, Reader};
use crate::bench::pgbench::PgBench;
use crate::bench::rounds::interleaved;

pub const FIGURES: &[&str] = &["append-single", "append-locked", "append-hundred"];
const CALLERS: usize = 32;
const HUNDRED: usize = 100;

const TABLES: &str = "create schema anchor;
    create table anchor.events (like ledger.events including all);
    create sequence anchor.positions cache 50;
    alter table anchor.events alter position set default nextval('anchor.positions');
    create table anchor.head (only_one boolean primary key, position bigint not null, hash bytea not null);
    insert into anchor.head values (true, 0, '\\x');
    create sequence anchor.versions cache 50";

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let ground = Ground::start()?;
    let runtime = runtime()?;
    let running = runtime.block_on(async { ground.running() })?;
    let reader = runtime.block_on(both(&running))?;
    runtime.block_on(async {
        sqlx::raw_sql(TABLES).execute(&reader.db().admin).await?;
        anyhow::Ok(())
    })?;
    let channel = reader.channel("ledger")?;
    let url = ground.database_url();
    let bench = |name: &str, script: &str| PgBench::new(ground.folder(), name, script, &url);
    let mut figures = Vec::new();
    let mut compare = |name, anchor_name, script: &str, entries: usize, rows: usize, goal| -> Result<()> {
        if !options.wants("event-log", name) {
            return Ok(());
        }
        let anchor = bench(name, script)?;
        let mut callers = Callers::new(channel.clone(), name, CALLERS);
        let rounds =
            interleaved(options.rounds, || runtime.block_on(callers.append(entries, options.round())), || Ok(anchor.rate(options.round())? * rows as f64))?;
        figures.push(Figure::compared(name, "events/s", anchor_name, rounds, goal));
        Ok(())
    };
    compare("append-single", "pgbench, 32 clients, 1-row insert, no order", &insert(None), 1, 1, Goal::AtLeast(1.5))?;
    compare("append-locked", "pgbench, 32 clients, 1-row insert under the lock", &locked(), 1, 1, Goal::AtLeast(5.0))?;
    compare("append-hundred", "pgbench, 32 clients, 100-row insert, no order", &insert(Some(HUNDRED)), HUNDRED, HUNDRED, Goal::AtLeast(0.6))?;
    runtime.block_on(running.stop());
    Ok(figures)
}

async fn both(running: &Running) -> Result<Host> {
    start::<Ledger>(Nothing {}, running).await?;
    start::<Reader>(Nothing {}, running).await
}

/// The row an append writes, with its 500 bytes of data and its 32 bytes of hash.
pub fn insert(rows: Option<usize>) -> String {
    let data = format!("{{\"amount\":1,\"note\":\"{NOTE}\"}}");
    let hash = "ab".repeat(32);
    let from = rows.map(|n| format!(" from generate_series(1, {n})")).unwrap_or_default();
    format!(
        "insert into anchor.events (stream, version, event_id, kind, kind_version, data, actor, tenant, from_addr, command_id, trace, at, hash)
         select 'account-anchor-' || :client_id, nextval('anchor.versions'), gen_random_uuid(), 'account.entered', 1, '{data}', 'service:reader',
         null, null, null, null, now(), '\\x{hash}'{from};\n"
    )
    .replace('\n', " ")
        + "\n"
}

fn locked() -> String {
    let hash = "ab".repeat(32);
    format!(
        "begin;\nselect position, hash from anchor.head for update;\n{}update anchor.head set position = position + 1, hash = '\\x{hash}';\nend;\n",
        insert(None)
    )
}
