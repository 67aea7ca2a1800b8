//! Nodes that were taken out of the platform lose their certificates. The scheduler's events say which: whoever removes a node, and by
//! whichever way, needs no second call, and what happened while identity was away is made up for.

use std::time::Duration;

use async_trait::async_trait;
use gantry_contract::scheduler::NodeEvent;
use gantry_es::Recorded;
use gantry_es_pg::{Projection, Todo, TodoHandler, TodoItem};
use gantry_kernel::Env;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

use crate::app::App;
use crate::store::nodes;

const REVOKE: &str = "revoke-removed-node";
/// What happened longer ago is read after an absence, or for the first time: a later event may say that the node was admitted again.
const NEWS: Duration = Duration::from_secs(600);
/// So long that is waited for.
const MAKING_UP: Duration = Duration::from_secs(60);

/// Reads the scheduler's events.
pub struct RemovedNodes {
    pub env: Env,
}

#[async_trait]
impl Projection for RemovedNodes {
    fn name(&self) -> &'static str {
        "removed-nodes"
    }

    fn ddl(&self) -> &'static str {
        "create table removed_nodes (node text primary key, at timestamptz not null, actor text not null)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["removed_nodes"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        // Only what is needed is decoded: another event that is newer than this program must not stop revocations.
        if !matches!(event.kind.as_str(), "node.removed" | "node.admitted") {
            return Ok(());
        }
        match event.decode()? {
            NodeEvent::Removed { node } => {
                let sql = "insert into removed_nodes (node, at, actor) values ($1, $2, $3)
                           on conflict (node) do update set at = excluded.at, actor = excluded.actor";
                run(tx, sql, vec![node.as_str().into(), event.at.into(), event.meta.actor.as_str().into()]).await?;
                let pause = if event.at < self.env.now() - NEWS { MAKING_UP } else { Duration::ZERO };
                Todo::enqueue_after(tx, REVOKE, node.as_str(), &serde_json::Value::Null, pause).await?;
            }
            NodeEvent::Admitted { node } => run(tx, "delete from removed_nodes where node = $1", vec![node.as_str().into()]).await?,
            NodeEvent::Joined { .. }
            | NodeEvent::FactsChanged { .. }
            | NodeEvent::Lost { .. }
            | NodeEvent::Returned { .. }
            | NodeEvent::Cordoned { .. }
            | NodeEvent::Uncordoned { .. }
            | NodeEvent::Drained { .. }
            | NodeEvent::Certified { .. }
            | NodeEvent::SettingsChanged { .. } => {}
        }
        Ok(())
    }
}

async fn run(tx: &DatabaseTransaction, sql: &str, values: Vec<Value>) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// Revokes what they have.
pub struct Revoke(pub App);

#[async_trait]
impl TodoHandler for Revoke {
    fn name(&self) -> &'static str {
        REVOKE
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let Some(removal) = nodes::removal(self.0.pool(), &item.key).await? else { return Ok(()) };
        self.0.revoke_removed_node(&item.key, &removal).await.map_err(|p| anyhow::anyhow!("{}", p.chain()))?;
        Ok(())
    }
}
