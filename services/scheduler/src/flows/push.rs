//! The part of a round that tells the nodes: each attached node's whole wanted state, sent only if it differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_contract::proto::scheduler::ImageCredential;
use gantry_kernel::{AppId, Name, SpaceId};
use serde_json::Value;

use super::ahead::images_of;
use super::reconcile::Reconciler;
use crate::adapters::carried::Frozen;
use crate::adapters::images;
use crate::app::kept::filling;
use crate::app::view;
use crate::domain::engine::{PodRoute, WantedNode};
use crate::domain::isolation::Neighbourhood;
use crate::domain::placement::{Guard, SpaceRules};
use crate::domain::wanted::AppView;
use crate::store;

impl Reconciler {
    pub(super) async fn push(&mut self) -> anyhow::Result<()> {
        let attached = self.s.agents.attached();
        if attached.is_empty() {
            return Ok(());
        }
        let reports = view::reports(&self.s);
        let rules = self.space_rules().await?;
        let mut ahead = self.kept(&attached, &rules).await?;
        let (mut apps, mut frozen) = (Vec::new(), Frozen::new());
        let mut credentials = BTreeMap::new();
        for id in store::cared_for(self.s.orm()).await? {
            let Some(row) = store::app_by_id(self.s.orm(), id).await?.filter(|r| r.current > 0) else { continue };
            // The cluster balances what runs there itself.
            if self.s.clusters.has(id) {
                continue;
            }
            let off = row.deleted || row.stopped;
            let mut seeing = view::see(&self.s, row, &reports).await?;
            let mut whole = seeing.unreadable.is_none();
            // With the values and contents that the outlines lack.
            for (revision, model) in &mut seeing.view.models {
                match self.s.models.get(&self.s.host, id, *revision).await {
                    Ok(full) => *model = filling::fill(&self.s, id, *revision, &full).await?.map_or(full, Arc::new),
                    Err(error) => {
                        self.s.unreadable.tell(
                            "revision",
                            format_args!("{id}/{revision}"),
                            format_args!("{error:#}"),
                            "nodes go on with what they were told last",
                        );
                        whole = false;
                    }
                }
            }
            // Rather as it was than without what it needs: instances would start with nothing in its place, or be stopped.
            if !whole && !off {
                frozen.insert(id, seeing.view.instances.iter().map(|i| i.node.clone()).collect());
                continue;
            }
            if let Some(credential) = self.credential(id, &seeing.view).await {
                credentials.insert(id, credential);
            }
            if !off {
                ahead.of_app(&seeing, credentials.get(&id), &attached, self.s.host.platform.public_host());
            }
            apps.push((seeing.view, off));
        }
        let routes = self.routes().await?;
        let views: Vec<&AppView> = apps.iter().map(|(view, _)| view).collect();
        let neighbourhood = Neighbourhood::of(&views, &reports);
        for node in attached {
            self.s.agents.route(&node, routes.iter().filter(|r| r.node != node).cloned().collect());
            let guards = rules.iter().filter_map(|(space, r)| Some((*space, r.guard.clone()?))).collect();
            let mut wanted = WantedNode { guards, ..WantedNode::default() };
            for (app, off) in &apps {
                wanted.instances.extend(app.instances_on(&node, &reports));
                if !off {
                    wanted.services.extend(app.wanted_services(&node, &reports));
                }
            }
            wanted.isolations = neighbourhood.on(&wanted.instances);
            if !wanted.isolations.is_empty() {
                wanted.guarded = neighbourhood.guarded();
                wanted.node_addresses = routes.iter().map(|r| r.address.clone()).collect();
            }
            let here: BTreeSet<AppId> = wanted.instances.iter().map(|i| i.app).collect();
            let mine = credentials.iter().filter(|(app, _)| here.contains(app)).map(|(app, c)| (*app, c.clone())).collect();
            self.s.agents.apply(&node, &wanted, &mine, &frozen);
            if let Some(images) = ahead.on(&node) {
                self.s.agents.ahead(&node, &images);
            }
        }
        Ok(())
    }

    /// Of every space that has some. Those that cannot be read are told of where instances are placed.
    async fn space_rules(&self) -> anyhow::Result<BTreeMap<SpaceId, SpaceRules>> {
        let all = store::all_space_rules(self.s.orm()).await?.into_iter();
        Ok(all.map(|(space, rules)| (space, serde_json::from_value(rules.clone()).unwrap_or_else(|_| self.readable_part(space, &rules)))).collect())
    }

    /// Rules that cannot be read as a whole still say what instances are watched for, what they may reach, and that images are to be
    /// everywhere: that must not fall away. Where nothing is placed by them otherwise is told there.
    fn readable_part(&self, space: SpaceId, rules: &Value) -> SpaceRules {
        let guard = rules.get("guard").filter(|g| !g.is_null()).map(|guard| {
            serde_json::from_value(guard.clone()).unwrap_or_else(|error| {
                self.s.unreadable.tell("space's guard", space, error, "what can be read of it goes on to count, and what it opens otherwise stays closed");
                Guard::readable_part(guard)
            })
        });
        SpaceRules { guard, prepull: rules.get("prepull") == Some(&Value::Bool(true)), ..SpaceRules::default() }
    }

    /// Of every node that says where its pods are, also of one that is away: it may come back at any time.
    async fn routes(&self) -> anyhow::Result<Vec<PodRoute>> {
        let route = |row: store::node::Model| {
            // Whatever else it says may not be readable: what is sent there goes on to arrive.
            let said = |key: &str| row.facts.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
            Some(PodRoute { node: Name::parse(&row.name).ok()?, address: said("address")?, pod_network: said("pod_network")? })
        };
        Ok(store::nodes(self.s.orm()).await?.into_iter().filter_map(route).collect())
    }

    /// Without one the node is told all the same: it may have the image already.
    async fn credential(&self, app: AppId, view: &AppView) -> Option<ImageCredential> {
        let registry = self.s.host.platform.public_host();
        let pinned = view.models.values().flat_map(|m| m.workloads.values()).flat_map(images_of);
        let repositories: BTreeSet<String> = pinned.filter_map(|p| images::repository(p, registry)).map(str::to_owned).collect();
        if repositories.is_empty() || view.instances.is_empty() {
            return None;
        }
        match self.s.credentials.get(app, &repositories).await {
            Ok(credential) => Some(credential),
            Err(problem) => {
                tracing::warn!(app.id = %app, error = problem.chain(), "no credential for the application's images could be had");
                None
            }
        }
    }
}
