//! The ledger and its reader as two services of one process on the real host, and tables of the same shape for pgbench.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
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

    /// pgbench with this script, in which `:data` is what a row of ours has for data, against the same Postgres.
    ///
    /// # Errors
    /// When pgbench is not on this machine.
    pub fn pgbench(&self, name: &str, script: &str) -> Result<PgBench> {
        let data = format!("{{\"amount\":1,\"note\":\"{NOTE}\"}}");
        Ok(PgBench::new(self.ground.folder(), name, script, &self.ground.database_url())?.defining("data", &data))
    }

    /// Waits until the relay has published all that was appended: what it still has to do belongs to our turn and must not weigh on the
    /// anchor's.
    ///
    /// # Errors
    /// When it does not in a minute.
    pub async fn published(&self) -> Result<()> {
        let head = u64::try_from(self.ledger.log().head())?;
        let all = async {
            // The stream began with the log, so its sequence is the log's position.
            while self.ledger.bus.last_of("ledger").await? < head {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.context("the relay did not catch up in a minute")?
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.runtime.block_on(self.running.stop());
    }
}

/// The row that an append writes, with its 500 bytes of data and its 32 bytes of hash, so many times. The data of every row are sent, as
/// every caller of ours sends them: as text in the statement they would be read once, when it is prepared.
pub fn insert(rows: usize) -> String {
    let hash = "ab".repeat(32);
    let sent = vec!["(:data::json)"; rows].join(", ");
    // The actor in two pieces: pgbench would take `:reader` for a variable.
    format!(
        "insert into anchor.events (stream, version, event_id, kind, kind_version, data, actor, tenant, from_addr, command_id, trace, at, hash) \
         select 'account-anchor-' || :client_id, nextval('anchor.versions'), gen_random_uuid(), 'account.entered', 1, data, 'service:' || 'reader', \
         null, null, null, null, now(), '\\x{hash}' from (values {sent}) sent (data);\n"
    )
}

/// The same row under a lock that gives it its place in the order.
pub fn locked() -> String {
    let hash = "ab".repeat(32);
    let insert = insert(1);
    format!("begin;\nselect position, hash from anchor.head for update;\n{insert}update anchor.head set position = position + 1, hash = '\\x{hash}';\nend;\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anchor_sends_the_data_of_every_row() {
        assert_eq!(insert(HUNDRED).matches(":data").count(), HUNDRED);
        assert!(locked().contains(&insert(1)));
    }
}
