//! What a node goes on with of applications of which a revision cannot be read: as it was told last. Left out of its wanted state they
//! would be stopped.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::proto::scheduler as proto;
use gantry_kernel::{AppId, InstanceId, Name};

/// These applications, with the nodes that have instances of them.
pub type Frozen = BTreeMap<AppId, BTreeSet<Name>>;

/// Theirs, out of what a node was told last.
#[derive(Default)]
pub struct Carried {
    instances: Vec<proto::WantedInstance>,
    services: Vec<proto::WantedService>,
    outside: Vec<proto::OutsideName>,
    /// What these instances may send and take in.
    isolations: Vec<proto::Isolation>,
    /// Who took in not everything, and where the nodes were; only where something is isolated.
    guarded: Vec<String>,
    node_addresses: Vec<String>,
}

impl Carried {
    /// `sent`: without credentials. `None`: the node has instances of such an application, and what it was told of them is not known
    /// here any more, so it is told nothing at all.
    pub fn of(sent: Option<&proto::WantedState>, node: &Name, frozen: &Frozen) -> Option<Self> {
        let Some(sent) = sent else {
            let has_some = frozen.values().any(|nodes| nodes.contains(node));
            return (!has_some).then(Self::default);
        };
        let theirs = |labels: Option<&proto::Labels>| labels.and_then(|l| l.app_id.parse::<AppId>().ok()).is_some_and(|app| frozen.contains_key(&app));
        let instances: Vec<_> = sent.instances.iter().filter(|i| theirs(i.labels.as_ref())).cloned().collect();
        let isolations: Vec<_> = sent.isolations.iter().filter(|one| instances.iter().any(|i| i.isolation == one.id)).cloned().collect();
        let isolated = !isolations.is_empty();
        Some(Self {
            instances,
            services: sent.services.iter().filter(|s| theirs(s.labels.as_ref())).cloned().collect(),
            outside: sent.outside.iter().filter(|o| theirs(o.labels.as_ref())).cloned().collect(),
            isolations,
            guarded: if isolated { sent.guarded.clone() } else { Vec::new() },
            node_addresses: if isolated { sent.node_addresses.clone() } else { Vec::new() },
        })
    }

    pub fn add_to(&self, state: &mut proto::WantedState) {
        state.instances.extend(self.instances.iter().cloned());
        state.services.extend(self.services.iter().cloned());
        state.outside.extend(self.outside.iter().cloned());
        let there: BTreeSet<String> = state.isolations.iter().map(|one| one.id.clone()).collect();
        state.isolations.extend(self.isolations.iter().filter(|one| !there.contains(&one.id)).cloned());
        add_missing(&mut state.guarded, &self.guarded);
        add_missing(&mut state.node_addresses, &self.node_addresses);
    }

    pub fn ids(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.instances.iter().filter_map(|i| i.instance_id.parse().ok())
    }
}

fn add_missing(to: &mut Vec<String>, from: &[String]) {
    for one in from {
        if !to.contains(one) {
            to.push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;

    #[test]
    fn what_a_node_was_told_of_a_frozen_application_stays_and_without_that_it_is_told_nothing() {
        let (app, other) = (AppId(Uuid::from_u128(1)), AppId(Uuid::from_u128(2)));
        let (one, two) = (Name::parse("n1").unwrap(), Name::parse("n2").unwrap());
        let labels = |app: AppId| Some(proto::Labels { app_id: app.to_string(), ..proto::Labels::default() });
        let instance = |n: u128, app: AppId| proto::WantedInstance {
            instance_id: Uuid::from_u128(n).to_string(),
            labels: labels(app),
            isolation: format!("{app}.web"),
            ..Default::default()
        };
        let isolation = |app: AppId| proto::Isolation { id: format!("{app}.web"), ..Default::default() };
        let sent = proto::WantedState {
            generation: 0,
            instances: vec![instance(7, app), instance(8, other)],
            services: vec![proto::WantedService { labels: labels(app), ..Default::default() }],
            isolations: vec![isolation(app), isolation(other)],
            guarded: vec!["10.0.0.7".into()],
            node_addresses: vec!["192.0.2.1".into()],
            outside: vec![proto::OutsideName { labels: labels(app), ..Default::default() }, proto::OutsideName { labels: labels(other), ..Default::default() }],
        };
        let frozen = Frozen::from([(app, BTreeSet::from([one.clone()]))]);
        let carried = Carried::of(Some(&sent), &one, &frozen).expect("it is known");
        assert_eq!(carried.ids().collect::<Vec<_>>(), [InstanceId(Uuid::from_u128(7))]);
        let mut next = proto::WantedState { instances: vec![instance(8, other)], isolations: vec![isolation(other)], ..Default::default() };
        carried.add_to(&mut next);
        assert_eq!(next.isolations, [isolation(other), isolation(app)]);
        assert_eq!((next.guarded.as_slice(), next.node_addresses.as_slice()), (["10.0.0.7".to_owned()].as_slice(), ["192.0.2.1".to_owned()].as_slice()));
        assert_eq!((next.instances.len(), next.services.len(), next.outside.len()), (2, 1, 1));
        assert!(Carried::of(None, &one, &frozen).is_none());
        assert!(Carried::of(None, &two, &frozen).is_some_and(|c| c.ids().next().is_none()));
        assert!(Carried::of(None, &one, &Frozen::new()).is_some());
    }
}
