use proptest::prelude::*;

use super::*;

fn site(name: &str, weight: u32) -> Site {
    Site { name: name.into(), weight, ..Site::default() }
}

fn free(count: u32) -> Asked {
    Asked { kind: WorkloadKind::Stateless, bound: Bound::Free, count, home: None, done: false }
}

fn numbers(policy: FleetPolicy, asked: &Asked, sites: &[Site]) -> Vec<Option<u32>> {
    shares(policy, asked, sites).into_iter().map(|s| s.replicas).collect()
}

#[test]
fn a_lost_clusters_share_moves_and_comes_back_as_it_was() {
    let mut sites = [site("a", 3), site("b", 2), site("c", 1)];
    assert_eq!(numbers(FleetPolicy::Spread, &free(12), &sites), [Some(6), Some(4), Some(2)]);
    sites[1].lost = true;
    let told = shares(FleetPolicy::Spread, &free(12), &sites);
    assert_eq!(told.iter().map(|s| s.replicas).collect::<Vec<_>>(), [Some(9), None, Some(3)]);
    assert_eq!(told[0].reason, "6 of 12 by its weight of 3 in 6, and 3 of b, which is lost");
    assert_eq!(told[1].reason, "the cluster is lost");
    sites[1].lost = false;
    assert_eq!(numbers(FleetPolicy::Spread, &free(12), &sites), [Some(6), Some(4), Some(2)]);
}

#[test]
fn replicas_go_over_zones_first_and_a_lost_share_stays_in_its_zone() {
    let at = |name: &str, zone: &str| Site { region: "eu".into(), zone: zone.into(), ..site(name, 1) };
    let mut sites = [at("a1", "a"), at("a2", "a"), at("b1", "b")];
    assert_eq!(numbers(FleetPolicy::Spread, &free(2), &sites), [Some(1), None, Some(1)], "one in each zone");
    assert_eq!(numbers(FleetPolicy::Spread, &free(6), &sites), [Some(2), Some(2), Some(2)]);
    sites[0].lost = true;
    assert_eq!(numbers(FleetPolicy::Spread, &free(6), &sites), [None, Some(4), Some(2)]);
    sites[1].lost = true;
    assert_eq!(numbers(FleetPolicy::Spread, &free(6), &sites), [None, None, Some(6)]);
    sites[2].lost = true;
    let told = shares(FleetPolicy::Spread, &free(6), &sites);
    assert_eq!(told.iter().map(|s| s.replicas).collect::<Vec<_>>(), [Some(2), Some(2), Some(2)], "there is nowhere to go");
    assert!(told[0].reason.contains("what is there stays"));
}

#[test]
fn failover_goes_in_order_and_duplicate_is_everywhere() {
    let mut sites = [site("a", 1), site("b", 9), site("c", 0)];
    assert_eq!(numbers(FleetPolicy::Failover, &free(3), &sites), [Some(3), None, None]);
    assert_eq!(numbers(FleetPolicy::Duplicate, &free(3), &sites), [Some(3), Some(3), None]);
    sites[0].lost = true;
    let told = shares(FleetPolicy::Failover, &free(3), &sites);
    assert_eq!((told[1].replicas, told[1].reason.as_str()), (Some(3), "the first that is not lost, after a"));
    let global = Asked { kind: WorkloadKind::Global, ..free(0) };
    assert_eq!(numbers(FleetPolicy::Failover, &global, &sites), [None, Some(1), None]);
}

#[test]
fn data_waits_for_its_cluster_and_a_job_runs_once() {
    let mut sites = [site("a", 1), site("b", 9)];
    let data = Asked { kind: WorkloadKind::Stateful, bound: Bound::Data, ..free(3) };
    assert_eq!(numbers(FleetPolicy::Spread, &data, &sites), [None, Some(3)], "the heaviest for what has no home yet");
    let at_home = Asked { home: Some(0), ..data };
    assert_eq!(numbers(FleetPolicy::Spread, &at_home, &sites), [Some(3), None]);
    sites[0].lost = true;
    let told = shares(FleetPolicy::Duplicate, &at_home, &sites);
    assert!(told[0].replicas == Some(3) && told[0].reason.contains("volumes do not move"), "{told:?}");
    let job = Asked { kind: WorkloadKind::Job, bound: Bound::Once, home: Some(0), ..free(1) };
    assert_eq!(numbers(FleetPolicy::Spread, &job, &sites), [None, Some(1)]);
    assert_eq!(numbers(FleetPolicy::Spread, &Asked { done: true, ..job }, &sites), [Some(1), None], "it is not run again");
    let fenced = Asked { bound: Bound::Fenced, home: Some(0), ..free(1) };
    assert!(shares(FleetPolicy::Failover, &fenced, &sites)[0].reason.contains("never run twice"));
}

#[test]
fn a_number_that_is_said_counts_before_the_weights() {
    let mut sites = [site("a", 1), site("b", 1), site("c", 1)];
    sites[0].fixed = Some(1);
    assert_eq!(numbers(FleetPolicy::Spread, &free(7), &sites), [Some(1), Some(3), Some(3)]);
    assert_eq!(numbers(FleetPolicy::Failover, &free(7), &sites), [Some(1), None, None]);
    sites[0].lost = true;
    assert_eq!(numbers(FleetPolicy::Spread, &free(7), &sites).into_iter().flatten().sum::<u32>(), 7, "its number moves, too");
}

#[test]
fn what_is_scaled_to_nothing_keeps_a_place() {
    assert_eq!(numbers(FleetPolicy::Spread, &free(0), &[site("a", 1), site("b", 2)]), [None, Some(0)]);
}

fn sites() -> impl Strategy<Value = Vec<Site>> {
    let one = (0_u32..6, "[ab]?", "[xyz]?", any::<bool>());
    proptest::collection::vec(one, 1..8).prop_map(|all| {
        let named = all.into_iter().enumerate();
        named.map(|(n, (weight, region, zone, lost))| Site { name: format!("c{n}"), weight, region, zone, lost, fixed: None }).collect()
    })
}

proptest! {
    #[test]
    fn parts_sum_exactly_and_are_quotas_rounded(count in 0_u32..10_000, weights in proptest::collection::vec(0_u64..1000, 0..12)) {
        let parts = divide(count, &weights);
        let total: u64 = weights.iter().sum();
        prop_assert_eq!(parts.iter().sum::<u32>(), if total == 0 { 0 } else { count });
        for (part, weight) in parts.iter().zip(&weights).filter(|_| total > 0) {
            let floor = u64::from(count) * weight / total;
            prop_assert!(u64::from(*part) == floor || u64::from(*part) == floor + 1);
            prop_assert!(*weight > 0 || *part == 0);
        }
    }

    #[test]
    fn shares_sum_exactly_and_nobody_without_weight_or_lost_gets_any(count in 1_u32..200, sites in sites()) {
        let got = numbers(FleetPolicy::Spread, &free(count), &sites);
        let sum: u32 = got.iter().flatten().sum();
        prop_assert_eq!(sum, if sites.iter().any(|s| s.weight > 0) { count } else { 0 });
        let nowhere = !sites.iter().any(Site::takes);
        for (n, site) in got.iter().zip(&sites) {
            prop_assert!(site.takes() || (nowhere && site.weight > 0) || n.is_none());
        }
        prop_assert_eq!(numbers(FleetPolicy::Spread, &free(count), &sites), got.clone(), "the same question has the same answer");
    }

    #[test]
    fn who_is_not_lost_loses_nothing_by_it(count in 1_u32..200, sites in sites(), which in 0_usize..8) {
        let plain: Vec<Site> = sites.iter().map(|s| Site { lost: false, ..s.clone() }).collect();
        let which = which % plain.len();
        let before = numbers(FleetPolicy::Spread, &free(count), &plain);
        let mut without = plain.clone();
        without[which].lost = true;
        let after = numbers(FleetPolicy::Spread, &free(count), &without);
        for at in (0..plain.len()).filter(|at| *at != which && without.iter().any(Site::takes)) {
            prop_assert!(after[at] >= before[at], "{before:?} {after:?}");
        }
    }
}
