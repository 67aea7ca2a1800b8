//! The part of a round about nodes: who joined, changed, fell silent or came back, and what their reports mean.

use std::time::Duration;

use gantry_contract::scheduler::{InstanceEvent, NodeEvent};
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::Append;
use gantry_kernel::{AppId, InstanceId, Name, OrgId};

use super::reconcile::Reconciler;
use crate::app::nodes::removal;
use crate::domain::engine::{Report, Sign};
use crate::domain::observe::{Known, Phase, changes};
use crate::store;

impl Reconciler {
    pub(super) async fn members(&mut self) -> anyhow::Result<()> {
        let views = self.s.agents.snapshot();
        let rows = store::nodes(self.s.orm()).await?;
        let timeout = self.s.config.node_timeout();
        let leading_for = Duration::try_from(self.s.host.env.now() - self.since).unwrap_or_default();
        let mut events = Vec::new();
        let removed = store::removed_nodes(self.s.orm()).await?;
        for (node, view) in &views {
            if removed.iter().any(|name| name == node.as_str()) {
                self.s.agents.dismiss(node, removal(node));
                continue;
            }
            let facts = serde_json::to_value(&view.facts)?;
            match rows.iter().find(|r| r.name == node.as_str()) {
                None => events.push(NodeEvent::Joined { node: node.clone(), facts }),
                Some(row) => {
                    if row.facts != facts {
                        events.push(NodeEvent::FactsChanged { node: node.clone(), facts });
                    }
                    if row.lost && view.silent_for <= timeout && view.report.is_some() {
                        events.push(NodeEvent::Returned { node: node.clone() });
                    }
                }
            }
        }
        let mut lost = Vec::new();
        for row in rows.iter().filter(|r| !r.lost) {
            let Ok(node) = Name::parse(&row.name) else { continue };
            let silent_for = views.get(&node).map_or(leading_for, |v| v.silent_for);
            if silent_for > timeout {
                events.push(NodeEvent::Lost { node: node.clone() });
                lost.push(node);
            }
        }
        for event in events {
            let node = match &event {
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
            let append = Append::one(StreamId::of::<NodeEvent>(node), None, vec![event.encode()], Meta::system());
            let appended = self.s.host.log().append(append).await?;
            self.settle(appended.position).await?;
        }
        // What was placed in the moment of a removal goes with the node.
        lost.extend(removed.iter().filter_map(|name| Name::parse(name).ok()));
        if !lost.is_empty() {
            let alive = store::all_alive(self.s.orm()).await?;
            let gone = alive.iter().filter_map(|i| lost.iter().find(|n| n.as_str() == i.node).map(|n| (i, n)));
            let events = gone.map(|(i, n)| InstanceEvent::Lost { instance: InstanceId(i.id), app: AppId(i.app), node: n.clone() });
            self.record(events.collect(), Meta::system()).await?;
        }
        Ok(())
    }

    /// Transitions that the reports show become events.
    pub(super) async fn observe(&mut self) -> anyhow::Result<()> {
        let views = self.s.agents.snapshot();
        let timeout = self.s.config.node_timeout();
        let alive = store::all_alive(self.s.orm()).await?;
        let mut events = Vec::new();
        for (node, view) in &views {
            let Some(report) = view.report.as_ref().filter(|_| view.silent_for <= timeout) else { continue };
            let known: Vec<Known> = alive
                .iter()
                .filter(|i| i.node == node.as_str())
                .map(|i| {
                    let (id, phase) = (InstanceId(i.id), Phase::parse(&i.phase));
                    let told = view.told.get(&id).filter(|(stopping, _)| *stopping == (phase == Phase::Stopping)).map(|(_, generation)| *generation);
                    Known { id, app: AppId(i.app), phase, address: i.address.clone(), restarts: i.restarts.unsigned_abs(), told }
                })
                .collect();
            // Also without an event an application may go on: its instances may be in rotation by now.
            self.dirty.extend(known.iter().map(|k| k.app).filter(|a| self.unsettled.contains(a)));
            events.extend(changes(&known, report));
            for row in alive.iter().filter(|i| i.node == node.as_str()) {
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
