//! What closing a node to new instances, or opening it again, would mean. Nothing is written.

use gantry_kernel::Problem;
use serde::Serialize;

use super::context::Scheduler;
use super::deploy::database;
use crate::domain::observe::Phase;
use crate::store;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CordonPreview {
    /// False: it is so already.
    pub changed: bool,
    /// That stand on the node, without those that are being stopped; they stay.
    pub instances: u32,
    /// Other nodes that take new instances.
    pub open_nodes: u32,
    /// What it means; for a person.
    pub reason: String,
}

/// # Errors
/// Not found, or the database is away.
pub async fn close(s: &Scheduler, node: &str) -> Result<CordonPreview, Problem> {
    let seen = see(s, node).await?;
    Ok(CordonPreview { changed: !seen.closed, reason: closed(&seen), ..seen.preview() })
}

/// # Errors
/// As [`close`].
pub async fn open(s: &Scheduler, node: &str) -> Result<CordonPreview, Problem> {
    let seen = see(s, node).await?;
    Ok(CordonPreview { changed: seen.closed || seen.draining, reason: opened(&seen), ..seen.preview() })
}

/// A node as it is.
#[derive(Clone, Copy, Debug)]
struct Seen {
    closed: bool,
    draining: bool,
    instances: u32,
    open_nodes: u32,
}

impl Seen {
    fn preview(&self) -> CordonPreview {
        CordonPreview { changed: false, instances: self.instances, open_nodes: self.open_nodes, reason: String::new() }
    }
}

async fn see(s: &Scheduler, node: &str) -> Result<Seen, Problem> {
    let nodes = store::nodes(s.orm()).await.map_err(database)?;
    let own = nodes.iter().find(|n| n.name == node).ok_or_else(|| Problem::not_found("node", node))?;
    let alive = store::all_alive(s.orm()).await.map_err(database)?;
    let stand = alive.iter().filter(|i| i.node == node && Phase::parse(&i.phase) != Phase::Stopping).count();
    let others = nodes.iter().filter(|n| n.name != node && !n.cordoned && !n.lost).count();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Seen { closed: own.cordoned, draining: own.draining, instances: number(stand), open_nodes: number(others) })
}

fn closed(seen: &Seen) -> String {
    match (seen.closed, seen.open_nodes) {
        (true, _) => "it takes no new instances already".into(),
        (false, 0) => "it takes no new instances, and neither does any other node: what is to be placed waits".into(),
        (false, _) => "it takes no new instances; those that are there stay".into(),
    }
}

fn opened(seen: &Seen) -> String {
    match (seen.closed, seen.draining) {
        (_, true) => "those that have not left it stay, and new ones may come".into(),
        (true, false) => "new instances may come again".into(),
        (false, false) => "it takes new instances already".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_means_is_told() {
        let node = |closed, draining, open_nodes| Seen { closed, draining, instances: 2, open_nodes };
        assert!(closed(&node(false, false, 1)).contains("stay") && closed(&node(false, false, 0)).contains("neither does any other node"));
        assert!(closed(&node(true, false, 1)).contains("already") && opened(&node(false, false, 1)).contains("already"));
        assert!(opened(&node(true, true, 1)).contains("have not left it") && opened(&node(true, false, 1)).contains("again"));
    }
}
