//! The part of a round about nodes: who joined, changed, fell silent or came back, and what their reports mean.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_contract::scheduler::{InstanceEvent, NodeEvent};
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, StreamWrite};
use gantry_kernel::{AppId, InstanceId, Name, OrgId};

use super::reconcile::Reconciler;
use crate::app::nodes::removal;
use crate::domain::engine::{Report, Sign};
use crate::domain::observe::{Known, Phase, changes};
use crate::store;

/// Nodes' events in one append: thousands may come at once.
const TOLD_AT_ONCE: usize = 1_000;
/// A node is lost when it was silent for longer than it may.
const JUST_AFTER: Duration = Duration::from_millis(10);

impl Reconciler {
    pub(super) async fn members(&mut self) -> anyhow::Result<()> {
        let views = self.s.agents.snapshot();
        let rows = self.nodes().await?;
        let known: HashMap<&str, &store::node::Model> = rows.iter().map(|r| (r.name.as_str(), &**r)).collect();
        let timeout = self.s.config.node_timeout();
        let leading_for = self.s.agents.awake().saturating_sub(self.leading);
        let mut events = Vec::new();
        let removed = self.removed_nodes().await?;
        for (node, view) in &views {
            if removed.contains(node.as_str()) {
                self.s.agents.dismiss(node, removal(node));
                continue;
            }
            match known.get(node.as_str()) {
                None => events.push(NodeEvent::Joined { node: node.clone(), facts: serde_json::to_value(&view.facts)? }),
                Some(row) => {
                    if !self.rows.has_facts(node, &view.facts) {
                        let facts = serde_json::to_value(&view.facts)?;
                        if row.facts == facts {
                            self.rows.found_facts(node, &view.facts);
                        } else {
                            events.push(NodeEvent::FactsChanged { node: node.clone(), facts });
                        }
                    }
                    if row.lost && view.silent_for <= timeout && view.report.is_some() {
                        events.push(NodeEvent::Returned { node: node.clone() });
                    }
                }
            }
        }
        let returns = |node: &Name| events.contains(&NodeEvent::Returned { node: node.clone() });
        let is_silent = |node: &Name| views.get(node).map_or(leading_for, |v| v.silent_for) > timeout;
        let (silent, mut lost) = losses(&rows, is_silent, returns);
        events.extend(silent.iter().map(|node| NodeEvent::Lost { node: node.clone() }));
        lost.extend(silent);
        let (mut writes, mut concerned) = (Vec::new(), Vec::new());
        for event in &events {
            let node = match event {
                NodeEvent::Lost { node } | NodeEvent::Joined { node, .. } => {
                    tracing::info!(node.id = %node, event = event.encode().kind, "a node's membership changed");
                    node
                }
                NodeEvent::FactsChanged { node, .. }
                | NodeEvent::Returned { node }
                | NodeEvent::Cordoned { node }
                | NodeEvent::Uncordoned { node }
                | NodeEvent::Drained { node }
                | NodeEvent::Removed { node }
                | NodeEvent::Admitted { node }
                | NodeEvent::Certified { node }
                | NodeEvent::SettingsChanged { node, .. } => node,
            };
            writes.push(StreamWrite { stream: StreamId::of::<NodeEvent>(node), expected: None, events: vec![event.encode()] });
            concerned.push(node);
        }
        if !writes.is_empty() {
            let mut position = 0;
            for some in writes.chunks(TOLD_AT_ONCE) {
                let append = Append { writes: some.to_vec(), claims: Vec::new(), meta: Meta::system() };
                position = self.s.host.log().append(append).await?.position;
            }
            self.settle(position).await?;
            concerned.iter().for_each(|node| self.rows.node_changed(node.as_str()));
        }
        // What was placed in the moment of a removal goes with the node.
        lost.extend(removed.iter().filter_map(|name| Name::parse(name).ok()));
        lost.sort();
        lost.dedup();
        let mut gone = Vec::new();
        for node in &lost {
            let here = self.alive_on(node.as_str()).await?;
            gone.extend(here.iter().map(|i| InstanceEvent::Lost { instance: InstanceId(i.id), app: AppId(i.app), node: node.clone() }));
            // Whoever was to go on there runs on where it stands, and gets no other successor.
            let was_to_come = here.iter().filter_map(|i| Some((self.s.moves.before(InstanceId(i.id))?, AppId(i.app))));
            let elsewhere = was_to_come.filter(|(before, _)| !here.iter().any(|i| i.id == before.0));
            gone.extend(elsewhere.map(|(instance, app)| InstanceEvent::Stayed { instance, app }));
        }
        self.record(gone, Meta::system()).await
    }

    /// How long until the next node has to be looked at because it was silent for too long; `None`: none has to.
    pub(super) fn until_silent(&self) -> Option<Duration> {
        let timeout = self.s.config.node_timeout();
        let leading_for = self.s.agents.awake().saturating_sub(self.leading);
        // Those that have not come back since this process decides are given as long.
        let unheard = timeout.checked_sub(leading_for);
        let next = self.s.agents.until_silent(timeout).into_iter().chain(unheard).min()?;
        Some(next + JUST_AFTER)
    }

    /// Transitions that the reports show become events.
    pub(super) async fn observe(&mut self) -> anyhow::Result<()> {
        let views = self.s.agents.snapshot();
        let timeout = self.s.config.node_timeout();
        let mut events = Vec::new();
        for (node, view) in &views {
            let Some(report) = view.report.as_ref().filter(|_| view.silent_for <= timeout) else { continue };
            let here = self.alive_on(node.as_str()).await?;
            let known: Vec<Known> = here
                .iter()
                .map(|i| {
                    let (id, phase) = (InstanceId(i.id), Phase::parse(&i.phase));
                    let told = view.told.get(&id).filter(|(stopping, _)| *stopping == (phase == Phase::Stopping)).map(|(_, generation)| *generation);
                    Known { id, app: AppId(i.app), phase, address: i.address.clone(), restarts: i.restarts.unsigned_abs(), told }
                })
                .collect();
            // Also without an event an application may go on: its instances may be in rotation by now.
            self.dirty.extend(known.iter().map(|k| k.app).filter(|a| self.unsettled.contains(a)));
            events.extend(changes(&known, report));
            for row in &here {
                events.extend(self.suspicions(node, row, report).await?);
            }
        }
        let signs: Vec<InstanceEvent> = events.iter().filter(|e| matches!(e, InstanceEvent::Suspected { .. })).cloned().collect();
        self.record(events, Meta::system()).await?;
        Ok(store::save_signs(self.s.orm(), &signs, self.s.host.env.now()).await?)
    }

    /// Signs of an intrusion that are not recorded yet.
    async fn suspicions(&self, node: &Name, row: &store::instance::Model, report: &Report) -> anyhow::Result<Vec<InstanceEvent>> {
        let Some(signs) = report.signs.get(&InstanceId(row.id)) else { return Ok(Vec::new()) };
        let known = store::signs_known(self.s.orm(), InstanceId(row.id)).await?;
        let new = signs.iter().filter(|s| !known.contains(&(s.container.clone(), s.sign.clone(), s.detail.clone())));
        let event = |sign: &Sign| InstanceEvent::Suspected {
            instance: InstanceId(row.id),
            app: AppId(row.app),
            org: OrgId(row.org),
            node: node.clone(),
            container: sign.container.clone(),
            sign: sign.sign.clone(),
            detail: sign.detail.clone(),
            action: sign.action.clone(),
        };
        Ok(new.map(event).collect())
    }
}

/// Nodes that are lost now, and those that were lost before and do not return. Also of the latter nothing stands any more: a process that
/// ended when it had written that a node is lost, and not yet what is lost with it, leaves that to the next one.
fn losses(rows: &[Arc<store::node::Model>], is_silent: impl Fn(&Name) -> bool, returns: impl Fn(&Name) -> bool) -> (Vec<Name>, Vec<Name>) {
    let (mut now, mut before) = (Vec::new(), Vec::new());
    for row in rows {
        let Ok(node) = Name::parse(&row.name) else { continue };
        if !row.lost && is_silent(&node) {
            now.push(node);
        } else if row.lost && !returns(&node) {
            before.push(node);
        }
    }
    (now, before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::node::Model;

    #[test]
    fn what_was_left_on_a_node_that_was_lost_before_is_lost_with_it_unless_it_returns() {
        let row = |name: &str, lost: bool| Arc::new(Model { lost, ..Model::named(name) });
        let rows = [row("away", true), row("back", true), row("calm", false), row("silent", false)];
        let is = |of: &'static str| move |node: &Name| node.as_str() == of;
        let (now, before) = losses(&rows, is("silent"), is("back"));
        assert_eq!((now, before), (vec![Name::parse("silent").unwrap()], vec![Name::parse("away").unwrap()]));
    }
}
