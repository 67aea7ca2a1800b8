//! Who may reach whom, kept from one look to the next: to work it out costs much where there are many instances, and in most rounds nothing
//! that it is made of has changed. Each part has a number that moves when the part changes, so that only the nodes are told that it concerns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use gantry_kernel::{AppId, Name};

use super::super::engine::{Isolation, PodRoute, WantedInstance};
use super::super::made::is_same;
use super::super::wanted::{AppView, Reports, Standing};
use super::{Neighbourhood, address_of, current, has_closed, id};

/// What was found at the last look; nothing where no policy selects anybody.
#[derive(Default)]
pub struct Isolated {
    last: u64,
    /// What it was worked out of.
    of: Vec<Part>,
    /// Of each revision's workloads that have instances.
    groups: HashMap<(AppId, u64), BTreeMap<Name, (Isolation, u64)>>,
    guarded: BTreeSet<IpAddr>,
    node_addresses: BTreeSet<String>,
    /// Moves with the two above.
    everywhere: u64,
}

struct Part {
    view: Arc<AppView>,
    /// Of its instances, in their order.
    addresses: Vec<Option<IpAddr>>,
}

impl Part {
    fn is_like(&self, other: &Self) -> bool {
        let groups = |view: &AppView| view.instances.iter().map(|i| (i.workload.clone(), i.revision)).collect::<Vec<_>>();
        let same = |a: &Arc<AppView>, b: &Arc<AppView>| Arc::ptr_eq(a, b) || (a.id == b.id && is_same(a, b) && groups(a) == groups(b));
        self.addresses == other.addresses && same(&self.view, &other.view)
    }
}

impl Isolated {
    /// Looks at everything anew. `apps`: all that have instances on nodes; `routes`: of all nodes.
    pub fn look(&mut self, apps: &[&Arc<AppView>], reports: &Reports, routes: &[PodRoute]) {
        if apps.iter().all(|app| current(app).next().is_none() && !has_closed(app)) {
            *self = Self { last: self.last, ..Self::default() };
            return;
        }
        let part = |app: &&Arc<AppView>| Part { view: Arc::clone(app), addresses: app.instances.iter().map(|i| address_of(i, reports)).collect() };
        let of: Vec<Part> = apps.iter().map(part).collect();
        if of.len() != self.of.len() || !of.iter().zip(&self.of).all(|(now, before)| now.is_like(before)) {
            self.work_out(apps, reports);
        }
        self.of = of;
        let node_addresses: BTreeSet<String> = routes.iter().filter(|_| !self.groups.is_empty()).map(|r| r.address.clone()).collect();
        if self.node_addresses != node_addresses {
            self.node_addresses = node_addresses;
            self.everywhere = self.next();
        }
    }

    fn work_out(&mut self, apps: &[&Arc<AppView>], reports: &Reports) {
        let views: Vec<&AppView> = apps.iter().map(|app| &***app).collect();
        let neighbourhood = Neighbourhood::of(&views, reports);
        let mut before = std::mem::take(&mut self.groups);
        for (app, revision, workload, isolation) in neighbourhood.all() {
            let known = before.get_mut(&(app, revision)).and_then(|of| of.remove(workload)).filter(|(was, _)| *was == isolation);
            let one = match known {
                Some(known) => known,
                None => (isolation, self.next()),
            };
            self.groups.entry((app, revision)).or_default().insert(workload.clone(), one);
        }
        let guarded = neighbourhood.guarded();
        if self.guarded != guarded {
            self.guarded = guarded;
            self.everywhere = self.next();
        }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Moves with what the instance may send and take in; 0: it is not isolated.
    pub fn stamp(&self, app: &AppView, instance: &Standing) -> u64 {
        self.groups.get(&(app.id, instance.revision)).and_then(|of| of.get(&instance.workload)).map_or(0, |(_, stamp)| *stamp)
    }

    /// Moves with what all nodes have to know that have such instances.
    pub fn everywhere(&self) -> u64 {
        self.everywhere
    }

    /// What of the network the instances of one node are given, by [`id`].
    pub fn on(&self, instances: &[WantedInstance]) -> BTreeMap<String, Isolation> {
        let of = |i: &WantedInstance| {
            let (isolation, _) = self.groups.get(&(i.app, i.revision))?.get(&i.workload)?;
            Some((id(i.app, &i.workload, i.revision), isolation.clone()))
        };
        instances.iter().filter_map(of).collect()
    }

    /// The addresses of all instances that do not take in everything, wherever they are.
    pub fn guarded(&self) -> &BTreeSet<IpAddr> {
        &self.guarded
    }

    pub fn node_addresses(&self) -> &BTreeSet<String> {
        &self.node_addresses
    }
}
