use std::sync::Arc;

use gantry_kernel::{AppId, InstanceId, ProjectId, SpaceId, Uuid};
use proptest::prelude::*;

use super::*;
use crate::domain::app::Home;
use crate::domain::engine::{Observation, Report, Seen};
use crate::domain::model::{Model, Protocol, PublicAddress, Service, Workload};
use crate::domain::traffic::Traffic;
use crate::domain::wanted::Standing;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn pools(all: &[(&str, &[&str])]) -> Pools {
    let stored = |addresses: &[&str]| Stored { addresses: addresses.iter().map(|a| (*a).to_owned()).collect(), orgs: Vec::new() };
    Pools::of(&all.iter().map(|(name, addresses)| ((*name).to_owned(), stored(addresses))).collect())
}

#[test]
fn a_range_is_a_network_two_ends_or_one_address() {
    for (text, count) in [("203.0.113.0/28", 16), ("203.0.113.10-203.0.113.12", 3), ("203.0.113.10 - 203.0.113.12", 3), ("198.51.100.7", 1), ("10.0.0.0/32", 1)]
    {
        assert_eq!(Range::parse(text).unwrap().count(), count, "{text}");
    }
    for text in [
        "",
        "a",
        "203.0.113.1/28",
        "203.0.113.0/33",
        "203.0.113.0/0",
        "203.0.113.9-203.0.113.1",
        "127.0.0.1",
        "0.0.0.0/1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
    ] {
        assert!(Range::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_read_as_a_range_has_addresses_and_nothing_makes_it_panic(text in "[0-9./ -]{0,40}|[0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,2})?") {
        if let Ok(range) = Range::parse(&text) {
            prop_assert!(range.count() > 0 && range.free(&BTreeSet::new()).is_some_and(|first| range.contains(first)));
        }
    }
}

#[test]
fn no_address_is_in_two_pools() {
    let pools = pools(&[("office", &["203.0.113.0/28"])]);
    let faults = |name: &str, addresses: &[&str]| pools.faults(name, &addresses.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    assert!(faults("office", &["203.0.113.0/27"]).is_empty(), "a pool may grow");
    assert!(faults("other", &["203.0.113.15"])[0].1.contains("`office`"));
    assert!(faults("other", &["198.51.100.0/30", "198.51.100.3"])[0].0.contains("addresses[1]"));
    assert_eq!(faults("other", &[]).len(), 1);
    assert!(faults("other", &["10.0.0.0/8"])[0].1.contains("65536"));
}

#[test]
fn the_lowest_address_that_is_free_is_given_and_a_full_pool_has_none() {
    let pools = pools(&[("office", &["203.0.113.6-203.0.113.7"])]);
    let pool = &pools.0["office"];
    let mut taken = BTreeSet::new();
    for last in [6, 7] {
        let free = pool.free(&taken).unwrap();
        assert_eq!(free, Ipv4Addr::new(203, 0, 113, last));
        taken.insert(free);
    }
    assert_eq!((pool.free(&taken), pool.size()), (None, 2));
    assert_eq!(pools.with(ADDRESS).map(|(name, _)| name), Some("office"));
}

proptest! {
    #[test]
    fn what_is_given_is_the_lowest_that_nobody_has(taken in proptest::collection::btree_set(0_u8..20, 0..20)) {
        let pools = pools(&[("office", &["203.0.113.2-203.0.113.5", "203.0.113.9", "203.0.113.12-203.0.113.15"])]);
        let address = |last: u8| Ipv4Addr::new(203, 0, 113, last);
        let lowest = [2, 3, 4, 5, 9, 12, 13, 14, 15].into_iter().find(|last| !taken.contains(last)).map(address);
        prop_assert_eq!(pools.0["office"].free(&taken.iter().map(|last| address(*last)).collect()), lowest);
    }

    #[test]
    fn the_first_of_all_nodes_in_the_order_has_an_address(draining in proptest::collection::vec(any::<bool>(), 0..6), on in proptest::collection::btree_set(0_usize..6, 0..4)) {
        let names: Vec<String> = (0..6).map(|n| format!("n{n}")).collect();
        let all: Vec<Candidate> = draining.iter().zip(&names).map(|(draining, n)| Candidate { name: name(n), draining: *draining }).collect();
        let here: Vec<&str> = on.iter().map(|n| names[*n].as_str()).collect();
        let first = all.iter().max_by_key(|n| (!n.draining, here.contains(&n.name.as_str()), weight(ADDRESS, &n.name)));
        prop_assert_eq!(holder(&app(&here), &all, &Reports::new()), first.map(|n| n.name.to_string()));
    }
}

#[test]
fn a_pool_is_for_its_organisations_alone_and_without_any_for_all() {
    let org = |n| OrgId(Uuid::from_u128(n));
    let own = Pool { orgs: [org(1)].into(), ..Pool::default() };
    assert!(own.admits(org(1)) && !own.admits(org(2)) && Pool::default().admits(org(2)));
}

/// With an instance on each of these nodes.
fn app(on: &[&str]) -> AppView {
    let uuid = Uuid::from_u128(9);
    let address = Some(PublicAddress { given: Some(ADDRESS), ..PublicAddress::default() });
    let service = Service { address, ..Service::plain(name("web"), name("web"), 80, Protocol::Tcp) };
    let model = Model { workloads: BTreeMap::from([(name("web"), Workload::default())]), services: vec![service], ..Model::default() };
    let instance = |(n, node): (usize, &&str)| Standing {
        id: InstanceId(Uuid::from_u128(n as u128)),
        workload: name("web"),
        index: 0,
        revision: 1,
        node: name(node),
        phase: Phase::Running,
        address: String::new(),
    };
    AppView {
        id: AppId(uuid),
        name: name("shop"),
        home: Home { org: OrgId(uuid), project: ProjectId(uuid), space: SpaceId(uuid), org_name: name("o"), project_name: name("p"), space_name: name("s") },
        current: 1,
        from: None,
        models: BTreeMap::from([(1, Arc::new(model))]),
        instances: on.iter().enumerate().map(instance).collect(),
        traffic: Traffic::default(),
    }
}

fn nodes(names: &[&str]) -> Vec<Candidate> {
    names.iter().map(|n| Candidate { name: name(n), draining: false }).collect()
}

fn holder(app: &AppView, nodes: &[Candidate], reports: &Reports) -> Option<String> {
    holders([app], nodes, reports).get(&ADDRESS).map(Name::to_string)
}

#[test]
fn an_address_is_on_a_node_with_a_ready_instance_and_moves_only_if_that_is_lost() {
    gantry_testkit::clause("6.3.1.e");
    let web = app(&["b", "c"]);
    let first = holder(&web, &nodes(&["a", "b", "c", "d"]), &Reports::new()).unwrap();
    assert!(["b", "c"].contains(&first.as_str()));
    let rest: Vec<Candidate> = nodes(&["a", "b", "c", "d"]).into_iter().filter(|n| n.name.as_str() != first).collect();
    let second = holder(&web, &rest, &Reports::new()).unwrap();
    assert!(["b", "c"].contains(&second.as_str()) && second != first);
    assert_eq!(holder(&web, &nodes(&["b", "c", "e"]), &Reports::new()), Some(first), "another node without instances changes nothing");
    assert_eq!(holder(&web, &[], &Reports::new()), None);
}

#[test]
fn an_instance_that_is_not_ready_does_not_hold_the_address() {
    let web = app(&["a", "b"]);
    let report = |ready| {
        let seen = |n: u128| {
            (
                InstanceId(Uuid::from_u128(n)),
                Observation { seen: Seen::Running, ready, address: String::new(), restarts: 0, exit_code: 0, reason: String::new() },
            )
        };
        Arc::new(Report { instances: [0, 1].map(seen).into_iter().collect(), ..Report::default() })
    };
    let reports = |a, b| Reports::from([(name("a"), report(a)), (name("b"), report(b))]);
    let all = nodes(&["a", "b"]);
    assert_eq!(holder(&web, &all, &reports(true, false)).as_deref(), Some("a"));
    assert_eq!(holder(&web, &all, &reports(false, true)).as_deref(), Some("b"));
    assert!(holder(&web, &all, &reports(false, false)).is_some(), "clients are refused by somebody rather than by nobody");
}

#[test]
fn a_drained_node_gives_the_address_away() {
    let web = app(&["a", "b"]);
    for leaves in ["a", "b"] {
        let mut all = nodes(&["a", "b"]);
        all.iter_mut().for_each(|n| n.draining = n.name.as_str() == leaves);
        assert_ne!(holder(&web, &all, &Reports::new()).as_deref(), Some(leaves));
    }
}
