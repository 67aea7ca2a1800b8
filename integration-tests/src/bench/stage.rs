//! The ledger and its reader as two services of one process on the real host, and tables of the same shape for pgbench.

use std::future::Future;

use anyhow::Result;
use gantry_host::config::Nothing;
use gantry_host::{Host, Running, start};
use tokio::runtime::Runtime;

use crate::bench::ground::{Ground, runtime};
use crate::bench::ledger::{Ledger, NOTE, Reader};
use crate::bench::pgbench::PgBench;

/// Callers or clients at once, on both sides.
pub const CALLERS: usize = 32;
/// Events of a large append, rows of a large insert.
pub const HUNDRED: usize = 100;
pub const HUNDRED_ROWS: &str = "pgbench, 32 clients, 100-row insert, no order";

/// Positions and versions from sequences: pgbench's rows have no gapless order to keep.
const TABLES: &str = "create schema anchor;
    create table anchor.events (like ledger.events including all);
    create sequence anchor.positions cache 50;
    alter table anchor.events alter position set default nextval('anchor.positions');
    create table anchor.head (only_one boolean primary key, position bigint not null, hash bytea not null);
    insert into anchor.head values (true, 0, '\\x');
    create sequence anchor.versions cache 50";

pub struct Stage {
    running: Running,
    pub ledger: Host,
    pub reader: Host,
    runtime: Runtime,
    // Last: servers go when nothing uses them any more.
    ground: Ground,
}

impl Stage {
    /// # Errors
    /// When servers or services do not start.
    pub fn set() -> Result<Self> {
        let ground = Ground::start()?;
        let runtime = runtime()?;
        let (running, ledger, reader) = runtime.block_on(async {
            let running = ground.running()?;
            let ledger = start::<Ledger>(Nothing {}, &running).await?;
            let reader = start::<Reader>(Nothing {}, &running).await?;
            sqlx::raw_sql(TABLES).execute(&reader.db().admin).await?;
            anyhow::Ok((running, ledger, reader))
        })?;
        Ok(Self { running, ledger, reader, runtime, ground })
    }

    pub fn run<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// The reader's channel to the ledger: one connection with certificates, as services use it.
    ///
    /// # Errors
    /// When the ledger's address is not known.
    pub fn channel(&self) -> Result<gantry_host::Channel> {
        let _inside = self.runtime.enter();
        Ok(self.reader.channel("ledger")?)
    }

    /// pgbench with this script against the same Postgres.
    ///
    /// # Errors
    /// When pgbench is not on this machine.
    pub fn pgbench(&self, name: &str, script: &str) -> Result<PgBench> {
        PgBench::new(self.ground.folder(), name, script, &self.ground.database_url())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.runtime.block_on(self.running.stop());
    }
}

/// The row that an append writes, with its 500 bytes of data and its 32 bytes of hash, as often as wanted.
pub fn insert(rows: Option<usize>) -> String {
    // In two pieces, as the actor below: pgbench would take `:1` and `:reader` for variables.
    let data = format!("{{\"amount\":' || '1,\"note\":\"{NOTE}\"}}");
    let hash = "ab".repeat(32);
    let from = rows.map(|n| format!(" from generate_series(1, {n})")).unwrap_or_default();
    format!(
        "insert into anchor.events (stream, version, event_id, kind, kind_version, data, actor, tenant, from_addr, command_id, trace, at, hash) \
         select 'account-anchor-' || :client_id, nextval('anchor.versions'), gen_random_uuid(), 'account.entered', 1, ('{data}')::json, 'service:' || 'reader', \
         null, null, null, null, now(), '\\x{hash}'{from};\n"
    )
}

/// The same row under a lock that gives it its place in the order.
pub fn locked() -> String {
    let hash = "ab".repeat(32);
    let insert = insert(None);
    format!("begin;\nselect position, hash from anchor.head for update;\n{insert}update anchor.head set position = position + 1, hash = '\\x{hash}';\nend;\n")
}
