use gantry_kernel::Uuid;
use proptest::prelude::*;

use super::super::conntrack::tests::flow_of;
use super::*;

fn id(n: u8) -> InstanceId {
    InstanceId(Uuid::from_u128(u128::from(n)))
}

fn server(n: u8, weight: u32) -> (InstanceId, Server) {
    (id(n), Server { address: format!("10.88.0.{n}"), port: 5353, weight })
}

fn inside(last: u8) -> Door {
    Door { address: Some(Ipv4Addr::new(10, 100, 3, last)), port: 53, published: false }
}

fn relay(algorithm: &str, doors: &[Door], servers: &[u8]) -> Relay {
    let servers = servers.iter().map(|n| server(*n, 100)).collect();
    Relay { doors: doors.iter().copied().collect(), algorithm: algorithm.into(), servers, ..Relay::default() }
}

fn relays(all: impl IntoIterator<Item = (&'static str, Relay)>) -> Relays {
    all.into_iter().map(|(id, relay)| (id.to_owned(), relay)).collect()
}

#[test]
fn each_flow_is_given_one_of_the_instances_at_each_door() {
    let everywhere = Door { address: None, port: 20_053, published: true };
    let text = table("t", &relays([("dns", relay("roundrobin", &[inside(4), everywhere], &[1, 2]))]));
    assert!(text.starts_with("table ip t\ndelete table ip t\ntable ip t {\n"), "{text}");
    for line in [
        "    numgen inc mod 2 vmap { 0 : goto to0, 1 : goto to1 }",
        "    meta l4proto udp dnat to 10.88.0.2:5353",
        "    ip daddr . udp dport vmap { 10.100.3.4 . 53 : goto spread0 }",
        "    fib daddr type local udp dport vmap { 20053 : goto spread0 }",
        "    ct status dnat ip daddr . udp dport { 10.88.0.1 . 5353, 10.88.0.2 . 5353 } masquerade",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    assert!(!text.contains("reject"), "{text}");
    let random = table("t", &relays([("dns", relay("random", &[inside(4)], &[1, 2]))]));
    assert!(random.contains("numgen random mod 2 vmap"), "{random}");
    let one = table("t", &relays([("dns", relay("source", &[inside(4)], &[7]))]));
    assert!(one.contains("chain spread0 {\n    goto to0\n"), "{one}");
}

#[test]
fn a_service_without_instances_refuses_at_once_and_two_at_one_door_do_not_spoil_the_table() {
    let text = table("t", &relays([("a", relay("", &[inside(4)], &[])), ("b", relay("", &[inside(4), inside(5)], &[1]))]));
    assert!(text.contains("chain access {\n    ip daddr . udp dport vmap { 10.100.3.4 . 53 : jump nobody }\n"), "{text}");
    assert!(text.contains("chain pick {\n    ip daddr . udp dport vmap { 10.100.3.5 . 53 : goto spread1 }\n"), "{text}");
    assert!(text.contains("chain nobody {\n    reject\n"), "{text}");
}

#[test]
fn strangers_and_floods_are_kept_out_at_published_doors_alone() {
    let published = Door { address: Some(Ipv4Addr::LOCALHOST), port: 20_053, published: true };
    let access =
        Access { allow: vec!["192.0.2.0/24".into(), "2001:db8::/32".into()], deny: vec!["192.0.2.7".into()], requests_per_second: 20, ..Access::default() };
    let text = table("t", &relays([("dns", Relay { access, ..relay("", &[inside(4), published], &[1]) })]));
    assert!(text.contains("chain access {\n    ip daddr . udp dport vmap { 127.0.0.1 . 20053 : jump access0 }\n"), "{text}");
    for line in [
        "  set allow0 { type ipv4_addr; flags interval; auto-merge; elements = { 192.0.2.0/24 }; }",
        "    ip saddr == @deny0 reject with icmp admin-prohibited",
        "    ip saddr != @allow0 reject with icmp admin-prohibited",
        "    update @rate0 { ip saddr limit rate over 20/second burst 200 packets } drop",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    let six = Access { allow: vec!["2001:db8::/32".into()], ..Access::default() };
    let nobody = table("t", &relays([("dns", Relay { access: six, ..relay("", &[published], &[1]) })]));
    assert!(nobody.contains("chain access0 {\n    reject with icmp admin-prohibited\n"), "{nobody}");
}

#[test]
fn addresses_inside_the_node_are_not_asked_from_beside_it() {
    let unknown = Access { inside: "10.100.0.0/16".into(), ..Access::default() };
    let with = |access: &Access| table("t", &relays([("dns", Relay { access: access.clone(), ..relay("", &[inside(4)], &[1]) })]));
    assert!(!with(&unknown).contains("near"), "it is not known from where they are asked");
    let text = with(&Access { from: ["127.0.0.0/8", "10.88.0.0/16"].map(str::to_owned).to_vec(), ..unknown });
    for line in [
        "  set near { type ipv4_addr; flags interval; auto-merge; elements = { 127.0.0.0/8, 10.88.0.0/16 }; }",
        "    iifname != \"lo\" ip daddr 10.100.0.0/16 ip saddr != @near drop",
        "    iifname != \"lo\" ip daddr 10.100.0.0/16 fib saddr . iif oif missing drop",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
}

#[test]
fn weights_are_shares_and_well_mixed() {
    let order = in_turn(&BTreeMap::from([(id(1), 100), (id(2), 200)]));
    assert_eq!(order, [id(2), id(1), id(2)]);
    assert_eq!(in_turn(&BTreeMap::from([(id(1), 256), (id(2), 255), (id(3), 0)])).len(), PARTS);
}

#[test]
fn an_instance_answers_for_a_moment_after_its_last_flow_was_given_to_it() {
    let none = BTreeSet::new();
    let both = relays([("dns", relay("", &[inside(4)], &[1, 2]))]);
    let one = || relays([("dns", relay("", &[inside(4)], &[2]))]);
    let left = next(&both, one(), &none, 1_000);
    assert!(next(&left, one(), &none, -3_600_000)["dns"].leaving.is_empty(), "nobody waits until a clock that was set back is there again");
    assert_eq!(left["dns"].leaving.keys().collect::<Vec<_>>(), [&id(1)]);
    assert_eq!(table("t", &left), table("t", &one()), "no new flow is its");
    let later = next(&left, one(), &none, 1_900);
    assert_eq!(later, left);
    assert!(next(&later, one(), &none, 2_000)["dns"].leaving.is_empty());
    assert!(next(&both, one(), &BTreeSet::from([id(1)]), 1_000)["dns"].leaving.is_empty(), "it has ended");
    assert!(next(&left, both.clone(), &none, 1_100)["dns"].leaving.is_empty(), "it is back");
    assert!(next(&left, Relays::new(), &none, 1_100).is_empty());
}

#[test]
fn flows_to_who_is_gone_are_led_anew_and_others_are_left_alone() {
    let everywhere = Door { address: None, port: 20_053, published: true };
    let before = relays([("dns", relay("", &[inside(4), everywhere], &[1, 2])), ("old", relay("", &[inside(9)], &[3]))]);
    let now = relays([("dns", relay("", &[inside(4), everywhere], &[2]))]);
    let flows = [
        flow_of("10.88.0.9:4000", "10.100.3.4:53", "10.88.0.1:5353"),        // its instance has left
        flow_of("10.88.0.9:4001", "10.100.3.4:53", "10.88.0.2:5353"),        // serves
        flow_of("10.88.0.9:4002", "10.100.3.4:53", "10.100.3.4:53"),         // began when nobody was there
        flow_of("192.0.2.9:4003", "198.51.100.1:20053", "10.88.0.1:5353"),   // by the published port
        flow_of("10.88.0.9:4004", "203.0.113.1:20053", "203.0.113.1:20053"), // somebody else's, elsewhere
        flow_of("10.88.0.9:4005", "10.100.3.9:53", "10.88.0.3:5353"),        // the service is gone
        flow_of("10.88.0.9:4006", "10.100.3.9:53", "10.100.3.9:53"),         // and its door is somebody else's now
        flow_of("10.88.0.9:4007", "10.100.3.4:54", "10.88.0.1:5353"),        // no door
    ];
    let local = BTreeSet::from([Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(10, 100, 3, 4)]);
    let found: Vec<usize> = stale(&flows, &before, &now, &local).into_iter().filter_map(|f| flows.iter().position(|g| g == f)).collect();
    assert_eq!(found, [0, 2, 3, 5]);
    let draining = next(&before, now, &BTreeSet::new(), 0);
    let found: Vec<usize> = stale(&flows, &before, &draining, &local).into_iter().filter_map(|f| flows.iter().position(|g| g == f)).collect();
    assert_eq!(found, [2, 5], "what leaves is still answering");
}

proptest! {
    #[test]
    fn a_sender_moves_only_when_its_instance_goes(weights in proptest::collection::btree_map(1u8..40, 1u32..=256, 2..12), goes in 0usize..12) {
        let all: BTreeMap<InstanceId, u32> = weights.iter().map(|(n, w)| (id(*n), *w)).collect();
        let gone = *all.keys().nth(goes % all.len()).unwrap();
        let rest: BTreeMap<InstanceId, u32> = all.iter().filter(|(id, _)| **id != gone).map(|(id, w)| (*id, *w)).collect();
        let (before, after) = (by_hash(&all), by_hash(&rest));
        prop_assert_eq!(before.len(), PARTS);
        for (part, chosen) in before.iter().enumerate().filter(|(_, chosen)| **chosen != gone) {
            // One alone needs no parts.
            prop_assert_eq!(after.get(part).unwrap_or(&after[0]), chosen);
        }
    }

    #[test]
    fn everybody_gets_a_share_in_turn(weights in proptest::collection::btree_map(1u8..40, 50u32..=200, 1..20)) {
        let all: BTreeMap<InstanceId, u32> = weights.iter().map(|(n, w)| (id(*n), *w)).collect();
        let given: BTreeSet<InstanceId> = in_turn(&all).into_iter().collect();
        prop_assert_eq!(given.len(), all.len());
    }
}
