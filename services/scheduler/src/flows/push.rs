//! The part of a round that tells the nodes: each attached node's whole wanted state, made only if what it is made of has changed, and
//! sent only if it differs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use gantry_contract::proto::scheduler::ImageCredential;
use gantry_kernel::{AppId, Name, SpaceId};
use serde_json::Value;

use super::ahead::images_of;
use super::cut::Cut;
use super::reconcile::Reconciler;
use super::sites::Sites;
use crate::adapters::carried::Frozen;
use crate::adapters::images;
use crate::app::pools::candidates;
use crate::app::view;
use crate::domain::engine::{PodRoute, WantedNode};
use crate::domain::isolation::Isolated;
use crate::domain::made::Stamps;
use crate::domain::placement::{Guard, SpaceRules};
use crate::domain::wanted::{AppView, Reports, Standing};
use crate::domain::{pools, sites};
use crate::store;

/// What the last push was made of.
#[derive(Default)]
pub(super) struct Pushed {
    pub cuts: BTreeMap<AppId, Cut>,
    stamps: Stamps,
    isolated: Isolated,
    sites: Sites,
    routes: Arc<Vec<PodRoute>>,
    /// The rows that the routes are of.
    routed: Option<Arc<Vec<Arc<store::node::Model>>>>,
}

impl Reconciler {
    pub(super) async fn push(&mut self) -> anyhow::Result<()> {
        let attached = self.s.agents.attached();
        if attached.is_empty() {
            return Ok(());
        }
        let reports = view::reports(&self.s);
        let rules = self.space_rules().await?;
        let mut ahead = self.kept(&attached, &rules).await?;
        let (mut apps, mut frozen, mut as_told) = (Vec::new(), Frozen::new(), Vec::new());
        let mut credentials = BTreeMap::new();
        let rows: Vec<store::app::Model> = store::apps_cared_for(self.s.orm()).await?.into_iter().filter(|r| r.current > 0).collect();
        let there: BTreeSet<AppId> = rows.iter().map(|r| AppId(r.id)).collect();
        self.pushed.cuts.retain(|id, _| there.contains(id));
        for row in rows {
            let id = AppId(row.id);
            // The cluster balances what runs there itself.
            if self.s.clusters.has(id) {
                continue;
            }
            let off = row.deleted || row.stopped;
            let (view, whole) = self.cut(&row).await?;
            // Rather as it was than without what it needs: instances would start with nothing in its place, or be stopped.
            if !whole && !off {
                frozen.insert(id, view.instances.iter().map(|i| i.node.clone()).collect());
                as_told.push(self.pushed.cuts.get(&id).map_or(view, |cut| Arc::clone(&cut.view)));
                continue;
            }
            if let Some(credential) = self.credential(id, &view).await {
                credentials.insert(id, credential);
            }
            if !off {
                ahead.of_app(&row, &view, credentials.get(&id), &attached, self.s.host.platform.public_host());
            }
            apps.push((view, off));
        }
        let routes = self.routes().await?;
        // Others go on not to reach what these do not take in: that is kept where they ask.
        let around: Vec<&Arc<AppView>> = apps.iter().map(|(view, _)| view).chain(&as_told).collect();
        self.pushed.isolated.look(&around, &reports, &routes);
        let guards: BTreeMap<SpaceId, Guard> = rules.iter().filter_map(|(space, r)| Some((*space, r.guard.clone()?))).collect();
        self.pushed.stamps.look(&apps, &reports, &guards);
        let holders = self.holders(&apps, &reports).await?;
        self.pushed.stamps.look_at_holders(&holders);
        let hosts: BTreeSet<String> = apps.iter().filter(|(_, off)| !off).flat_map(|(view, _)| sites::own(view)).collect();
        self.pushed.sites.look(&hosts, &self.s.host.pki, self.s.host.env.now());
        self.pushed.stamps.look_at_sites(self.pushed.sites.untils());
        // Only they can keep an instance from being stopped.
        let busy: Reports = reports.iter().filter(|(_, r)| !r.rotation.is_empty() || !r.draining.is_empty()).map(|(n, r)| (n.clone(), Arc::clone(r))).collect();
        let standing = by_node(&apps);
        // What goes on as it was told depends on more.
        let compared = frozen.is_empty();
        let isolated = &self.pushed.isolated;
        for node in attached {
            self.s.agents.route(&node, &routes);
            let here = standing.get(&node).map(Vec::as_slice).unwrap_or_default();
            let mine: BTreeMap<AppId, ImageCredential> = here.iter().filter_map(|(app, _)| Some((app.id, credentials.get(&app.id)?.clone()))).collect();
            let made = compared.then(|| self.pushed.stamps.made(here, &busy, isolated));
            if !made.as_ref().is_some_and(|made| self.s.agents.is_told(&node, made, &mine)) {
                let mut wanted = WantedNode { made, guards: guards.clone(), ..WantedNode::default() };
                wanted.instances.extend(here.iter().filter_map(|(app, instance)| app.wanted_instance(instance, &busy)));
                for (app, _) in apps.iter().filter(|(_, off)| !off) {
                    wanted.services.extend(app.wanted_services(&node, &reports));
                    wanted.outside.extend(app.outside());
                }
                for service in &mut wanted.services {
                    service.public = service.public.filter(|(address, _)| holders.get(address) == Some(&node));
                    self.pushed.sites.give(&mut service.certificates);
                }
                wanted.isolations = isolated.on(&wanted.instances);
                if !wanted.isolations.is_empty() {
                    wanted.guarded.clone_from(isolated.guarded());
                    wanted.node_addresses.clone_from(isolated.node_addresses());
                }
                self.s.agents.apply(&node, &wanted, &mine, &frozen);
            }
            if let Some(images) = ahead.on(&node) {
                self.s.agents.ahead(&node, &images);
            }
        }
        Ok(())
    }

    /// Which node has each public address.
    async fn holders(&mut self, apps: &[(Arc<AppView>, bool)], reports: &Reports) -> anyhow::Result<BTreeMap<Ipv4Addr, Name>> {
        let serving = || apps.iter().filter(|(_, off)| !off).map(|(view, _)| view.as_ref());
        if !serving().any(|view| view.services().iter().any(|(_, s)| s.address.is_some())) {
            return Ok(BTreeMap::new());
        }
        let nodes = candidates(self.nodes().await?.iter().map(|row| &**row));
        Ok(pools::holders(serving(), &nodes, reports))
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
    async fn routes(&mut self) -> anyhow::Result<Arc<Vec<PodRoute>>> {
        let rows = self.nodes().await?;
        if self.pushed.routed.as_ref().is_some_and(|of| Arc::ptr_eq(of, &rows)) {
            return Ok(Arc::clone(&self.pushed.routes));
        }
        let route = |row: &Arc<store::node::Model>| {
            // Whatever else it says may not be readable: what is sent there goes on to arrive.
            let said = |key: &str| row.facts.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
            Some(PodRoute { node: Name::parse(&row.name).ok()?, address: said("address")?, pod_network: said("pod_network")? })
        };
        let all: Vec<PodRoute> = rows.iter().filter_map(route).collect();
        if *self.pushed.routes != all {
            self.pushed.routes = Arc::new(all);
        }
        self.pushed.routed = Some(rows);
        Ok(Arc::clone(&self.pushed.routes))
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

/// The instances that shall be on each node, in the order of their applications.
fn by_node(apps: &[(Arc<AppView>, bool)]) -> HashMap<&Name, Vec<(&AppView, &Standing)>> {
    let mut out: HashMap<&Name, Vec<(&AppView, &Standing)>> = HashMap::new();
    for (app, _) in apps {
        for instance in app.instances.iter().filter(|i| app.is_known(i)) {
            out.entry(&instance.node).or_default().push((app.as_ref(), instance));
        }
    }
    out
}
