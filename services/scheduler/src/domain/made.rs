//! What a node's wanted state is made of. To make it and put it into words costs much where there are thousands of nodes, and in most
//! rounds nothing changes for most of them: as long as what it is made of is the same, so is the state. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use gantry_kernel::{AppId, InstanceId, Name, SpaceId};

use super::isolation::Isolated;
use super::model::Model;
use super::placement::Guard;
use super::wanted::{AppView, Reports, Standing};

/// Of one node. Where two are equal, the same is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Moves with everything that is the same on all nodes.
    everywhere: u64,
    /// Moves with what of others has to be known where somebody is isolated; 0: nobody here is.
    guarded: u64,
    here: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    /// Moves with what the application's instances have in common.
    app: u64,
    instance: InstanceId,
    index: u32,
    revision: u64,
    stopping: bool,
    /// Moves with what it may send and take in.
    isolation: u64,
}

/// What was there at the last look, with a number for each part that moves when the part changes.
#[derive(Default)]
pub struct Stamps {
    last: u64,
    apps: BTreeMap<AppId, Stamped>,
    guards: BTreeMap<SpaceId, Guard>,
    /// Who has each public address.
    holders: BTreeMap<Ipv4Addr, Name>,
    /// Until when the certificates last that the platform has given to hosts.
    sites: BTreeMap<String, i64>,
    /// Applications with balanced names or names for what runs elsewhere, in their order.
    serving: Vec<(AppId, u64)>,
    everywhere: u64,
}

struct Stamped {
    view: Arc<AppView>,
    off: bool,
    stamp: u64,
    /// Of its instances, if it has balanced names.
    seen: Vec<Seen>,
    serving: u64,
}

/// Address and readiness as a node reported them.
type Seen = Option<(String, bool)>;

/// Is what all instances and services of an application depend on the same? Nearly always it is the very same, and to compare two
/// models takes its time.
pub(super) fn is_same(a: &AppView, b: &AppView) -> bool {
    let same = |(a, b): ((&u64, &Arc<Model>), (&u64, &Arc<Model>))| a.0 == b.0 && (Arc::ptr_eq(a.1, b.1) || a.1 == b.1);
    (a.current, a.from) == (b.current, b.from)
        && a.name == b.name
        && a.home == b.home
        && a.traffic == b.traffic
        && a.models.len() == b.models.len()
        && a.models.iter().zip(&b.models).all(same)
}

impl Stamps {
    /// Looks at everything anew. `apps`: in the order in which nodes are told of them, and whether each is switched off.
    pub fn look(&mut self, apps: &[(Arc<AppView>, bool)], reports: &Reports, guards: &BTreeMap<SpaceId, Guard>) {
        let mut serving = Vec::new();
        for (view, off) in apps {
            let stamped = self.look_at(view, *off, reports);
            serving.extend(stamped.map(|stamp| (view.id, stamp)));
        }
        let there: BTreeSet<AppId> = apps.iter().map(|(view, _)| view.id).collect();
        self.apps.retain(|app, _| there.contains(app));
        if self.serving != serving || self.guards != *guards {
            (self.serving, self.guards) = (serving, guards.clone());
            self.everywhere = self.next();
        }
    }

    /// Looks at who has the public addresses, after [`Self::look`].
    pub fn look_at_holders(&mut self, holders: &BTreeMap<Ipv4Addr, Name>) {
        if self.holders != *holders {
            self.holders = holders.clone();
            self.everywhere = self.next();
        }
    }

    /// Looks at the certificates that the platform gives, after [`Self::look`].
    pub fn look_at_sites(&mut self, sites: BTreeMap<String, i64>) {
        if self.sites != sites {
            self.sites = sites;
            self.everywhere = self.next();
        }
    }

    /// The number of what its services are made of; `None`: nothing of it is told to nodes that do not run it.
    fn look_at(&mut self, view: &Arc<AppView>, off: bool, reports: &Reports) -> Option<u64> {
        let before = self.apps.remove(&view.id);
        let stamp = match &before {
            Some(known) if known.off == off && (Arc::ptr_eq(&known.view, view) || is_same(&known.view, view)) => known.stamp,
            _ => self.next(),
        };
        let balanced = !off && view.services().iter().any(|(_, service)| service.port > 0);
        // Names for what runs elsewhere are told to all nodes as well, and have no instances.
        let serves = balanced || (!off && view.outside().next().is_some());
        let of = |i: &Standing| reports.get(&i.node).and_then(|r| r.instances.get(&i.id)).map(|o| (o.address.clone(), o.ready));
        let seen: Vec<Seen> = if balanced { view.instances.iter().map(of).collect() } else { Vec::new() };
        let stand = |known: &Stamped| !balanced || Arc::ptr_eq(&known.view, view) || known.view.instances == view.instances;
        let kept = before.filter(|known| known.stamp == stamp && known.seen == seen && stand(known)).map(|known| known.serving);
        let serving = kept.unwrap_or_else(|| self.next());
        self.apps.insert(view.id, Stamped { view: Arc::clone(view), off, stamp, seen, serving });
        serves.then_some(serving)
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What a node's state is made of. `here`: the instances that shall be on it, in their order; `reports`: at least of the nodes that
    /// balance something or wait for answers.
    pub fn made(&self, here: &[(&AppView, &Standing)], reports: &Reports, isolated: &Isolated) -> Made {
        let piece = |(app, instance): &(&AppView, &Standing)| Piece {
            app: self.apps.get(&app.id).map_or(0, |known| known.stamp),
            instance: instance.id,
            index: instance.index,
            revision: instance.revision,
            stopping: app.is_stopping(instance, reports),
            isolation: isolated.stamp(app, instance),
        };
        let here: Vec<Piece> = here.iter().map(piece).collect();
        let guarded = if here.iter().any(|p| p.isolation > 0) { isolated.everywhere() } else { 0 };
        Made { everywhere: self.everywhere, guarded, here }
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::{OrgId, ProjectId, Uuid};

    use super::*;
    use crate::domain::app::Home;
    use crate::domain::engine::{Observation, Report, Seen as State};
    use crate::domain::model::{Outside, Protocol, Publish, Service, Workload};
    use crate::domain::observe::Phase;
    use crate::domain::traffic::Traffic;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn standing(n: u128, node: &str, phase: Phase) -> Standing {
        Standing { id: InstanceId(Uuid::from_u128(n)), workload: name("web"), index: 0, revision: 1, node: name(node), phase, address: String::new() }
    }

    fn app(id: u128, balanced: bool, instances: Vec<Standing>) -> Arc<AppView> {
        let uuid = Uuid::nil();
        let home =
            Home { org: OrgId(uuid), project: ProjectId(uuid), space: SpaceId(uuid), org_name: name("o"), project_name: name("p"), space_name: name("s") };
        let service = Service { publish: Some(Publish { wanted: 80, listen: 20_000 }), ..Service::plain(name("web"), name("web"), 80, Protocol::Tcp) };
        let services = if balanced { vec![service] } else { Vec::new() };
        let model = Model { workloads: BTreeMap::from([(name("web"), Workload::default())]), services, ..Model::default() };
        Arc::new(AppView {
            id: AppId(Uuid::from_u128(id)),
            name: name("shop"),
            home,
            current: 1,
            from: None,
            models: BTreeMap::from([(1, Arc::new(model))]),
            instances,
            traffic: Traffic::default(),
        })
    }

    fn ready(n: u128, node: &str, ready: bool) -> Reports {
        let seen = Observation { seen: State::Running, ready, address: "10.0.0.1".into(), restarts: 0, exit_code: 0, reason: String::new() };
        Reports::from([(name(node), Arc::new(Report { instances: BTreeMap::from([(InstanceId(Uuid::from_u128(n)), seen)]), ..Report::default() }))])
    }

    /// What is made for a node, as it is told of these.
    fn on(stamps: &Stamps, apps: &[(Arc<AppView>, bool)], node: &str) -> Made {
        let here: Vec<(&AppView, &Standing)> =
            apps.iter().flat_map(|(app, _)| app.instances.iter().filter(move |i| i.node.as_str() == node).map(move |i| (app.as_ref(), i))).collect();
        stamps.made(&here, &Reports::new(), &Isolated::default())
    }

    #[test]
    fn a_node_is_concerned_by_its_own_instances_only_as_long_as_nothing_is_balanced() {
        let mut stamps = Stamps::default();
        let before = vec![(app(1, false, vec![standing(1, "a", Phase::Placed), standing(2, "b", Phase::Placed)]), false)];
        stamps.look(&before, &Reports::new(), &BTreeMap::new());
        let (a, b) = (on(&stamps, &before, "a"), on(&stamps, &before, "b"));
        // The same model made anew, one instance runs, and the other is to stop.
        let after = vec![(app(1, false, vec![standing(1, "a", Phase::Running), standing(2, "b", Phase::Stopping)]), false)];
        stamps.look(&after, &ready(1, "a", true), &BTreeMap::new());
        assert_eq!(on(&stamps, &after, "a"), a, "whether it runs its node knows best");
        assert_ne!(on(&stamps, &after, "b"), b);
    }

    #[test]
    fn every_node_is_concerned_by_what_is_balanced() {
        let mut stamps = Stamps::default();
        let apps = vec![(app(1, true, vec![standing(1, "a", Phase::Placed)]), false)];
        stamps.look(&apps, &ready(1, "a", false), &BTreeMap::new());
        let before = on(&stamps, &apps, "b");
        stamps.look(&apps, &ready(1, "a", false), &BTreeMap::new());
        assert_eq!(on(&stamps, &apps, "b"), before, "nothing has changed");
        stamps.look(&apps, &ready(1, "a", true), &BTreeMap::new());
        let served = on(&stamps, &apps, "b");
        assert_ne!(served, before, "it is ready by now");
        let off = vec![(apps[0].0.clone(), true)];
        stamps.look(&off, &ready(1, "a", true), &BTreeMap::new());
        assert_ne!(on(&stamps, &off, "b"), served, "it is switched off");
        let off = on(&stamps, &off, "b");
        stamps.look(&[], &Reports::new(), &BTreeMap::new());
        assert_eq!(on(&stamps, &[], "b"), off, "what is not balanced and not here concerns nobody");
    }

    #[test]
    fn every_node_is_concerned_by_names_for_what_runs_elsewhere() {
        let mut stamps = Stamps::default();
        let named = |address: &str| {
            let outside = BTreeMap::from([(name("bank"), Outside { address: address.into(), ..Outside::default() })]);
            let mut one = app(1, false, Vec::new());
            Arc::make_mut(&mut one).models.insert(1, Arc::new(Model { outside, ..Model::default() }));
            vec![(one, false)]
        };
        let (first, second) = (named("one.example.org"), named("two.example.org"));
        stamps.look(&first, &Reports::new(), &BTreeMap::new());
        let before = on(&stamps, &first, "b");
        stamps.look(&first, &Reports::new(), &BTreeMap::new());
        assert_eq!(on(&stamps, &first, "b"), before, "nothing has changed");
        stamps.look(&second, &Reports::new(), &BTreeMap::new());
        assert_ne!(on(&stamps, &second, "b"), before, "it leads elsewhere by now");
    }

    #[test]
    fn a_changed_model_and_a_changed_guard_concern_who_has_the_instances() {
        let mut stamps = Stamps::default();
        let mut apps = vec![(app(1, false, vec![standing(1, "a", Phase::Placed)]), false)];
        let mut guards = BTreeMap::new();
        stamps.look(&apps, &Reports::new(), &guards);
        let (a, b) = (on(&stamps, &apps, "a"), on(&stamps, &apps, "b"));
        let model = Model { workloads: BTreeMap::from([(name("web"), Workload { image: "other".into(), ..Workload::default() })]), ..Model::default() };
        Arc::make_mut(&mut apps[0].0).models.insert(1, Arc::new(model));
        stamps.look(&apps, &Reports::new(), &guards);
        let changed = on(&stamps, &apps, "a");
        assert_ne!(changed, a);
        assert_eq!(on(&stamps, &apps, "b"), b);
        guards.insert(SpaceId(Uuid::nil()), Guard { closed: true, ..Guard::default() });
        stamps.look(&apps, &Reports::new(), &guards);
        assert_ne!(on(&stamps, &apps, "a"), changed);
    }

    #[test]
    fn another_certificate_of_the_platform_concerns_every_node() {
        let mut stamps = Stamps::default();
        stamps.look_at_sites(BTreeMap::from([("a.test".to_owned(), 1)]));
        let before = stamps.made(&[], &Reports::new(), &Isolated::default());
        stamps.look_at_sites(BTreeMap::from([("a.test".to_owned(), 1)]));
        assert_eq!(stamps.made(&[], &Reports::new(), &Isolated::default()), before);
        stamps.look_at_sites(BTreeMap::from([("a.test".to_owned(), 2)]));
        assert_ne!(stamps.made(&[], &Reports::new(), &Isolated::default()), before);
    }

    #[test]
    fn a_public_address_that_moves_concerns_every_node() {
        let mut stamps = Stamps::default();
        let on = |node: &str| BTreeMap::from([(Ipv4Addr::new(203, 0, 113, 7), name(node))]);
        stamps.look_at_holders(&on("a"));
        let before = stamps.made(&[], &Reports::new(), &Isolated::default());
        stamps.look_at_holders(&on("a"));
        assert_eq!(stamps.made(&[], &Reports::new(), &Isolated::default()), before);
        stamps.look_at_holders(&on("b"));
        assert_ne!(stamps.made(&[], &Reports::new(), &Isolated::default()), before);
    }
}
