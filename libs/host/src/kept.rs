//! Audit records that the bus did not take: they wait in the service's database until it does. Whoever listens knows those that it has
//! taken all the same by their ids.

use async_trait::async_trait;
use gantry_bus::Bus;
use gantry_bus::streams::AUDIT;
use gantry_contract::audit::AuditFact;
use gantry_es_pg::{Db, Todo, TodoHandler, TodoItem};

const NAME: &str = "audit";
/// Records that may wait. Who is refused without end while the bus is away must not fill the disk.
const WAITING: i64 = 20_000;

/// Keeps `fact` for later.
///
/// # Errors
/// When too many wait, or the database refuses.
pub(crate) async fn keep(db: &Db, fact: &AuditFact) -> anyhow::Result<()> {
    let waiting: i64 =
        sqlx::query_scalar("select count(*) from (select from todos where name = $1 limit $2) t").bind(NAME).bind(WAITING).fetch_one(&db.pool).await?;
    anyhow::ensure!(waiting < WAITING, "{waiting} records wait already");
    Ok(Todo::enqueue(&db.orm, NAME, &fact.id.to_string(), &serde_json::to_value(fact)?).await?)
}

/// Publishes what was kept.
pub(crate) struct Kept {
    pub bus: Bus,
    pub service: &'static str,
}

#[async_trait]
impl TodoHandler for Kept {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let fact: AuditFact = serde_json::from_value(item.payload)?;
        self.bus.sample_stream(AUDIT).await?;
        gantry_bus::publish(&self.bus, AUDIT, self.service, fact.id, serde_json::to_vec(&fact)?).await?;
        Ok(())
    }
}
