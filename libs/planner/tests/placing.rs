//! The planner by example: what each rule does, and what is said when it is in the way.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use gantry_planner::*;

fn node(name: &str, cpu_millis: u64) -> Node {
    let capacity = Amounts { cpu_millis, memory_bytes: 8 << 30, storage_bytes: 100 << 30, pids: UNLIMITED, bandwidth_kbps: UNLIMITED, instances: UNLIMITED };
    Node { name: name.into(), capacity, overcommit_percent: Amounts::plain_percent(), present: true, ..Node::default() }
}

fn zoned(name: &str, zone: &str) -> Node {
    Node { attributes: BTreeMap::from([("node.zone".into(), zone.into())]), ..node(name, 4000) }
}

fn spec(key: &str, cpu_millis: u64) -> Spec {
    let labels = BTreeMap::from([("app".into(), key.into())]);
    Spec { key: key.into(), family: key.into(), labels, requests: Amounts { cpu_millis, ..Amounts::default() }, ..Spec::default() }
}

fn selector(app: &str) -> Selector {
    Selector { labels: BTreeMap::from([("app".into(), app.into())]), matches: Vec::new() }
}

fn rule(attribute: &str, operator: Operator, values: &[&str]) -> Match {
    Match { attribute: attribute.into(), operator, values: values.iter().map(|v| (*v).into()).collect() }
}

struct Ground {
    cluster: Cluster,
    next: u128,
    weights: Weights,
}

impl Ground {
    fn new(nodes: &[Node]) -> Self {
        let mut cluster = Cluster::new();
        nodes.iter().for_each(|n| {
            cluster.set_node(n);
        });
        Self { cluster, next: 0, weights: Weights::default() }
    }

    fn put(&mut self, spec: &Spec) -> Option<String> {
        let group = self.cluster.set_group(spec);
        let choice = self.cluster.choose(group, &self.weights, &Hints::default())?;
        self.next += 1;
        self.cluster.place(InstanceKey(self.next), group, choice.node);
        Some(self.cluster.node_name(choice.node).to_owned())
    }

    fn put_on(&mut self, spec: &Spec, node: &str) -> InstanceKey {
        let group = self.cluster.set_group(spec);
        let node = self.cluster.node(node).unwrap();
        self.next += 1;
        self.cluster.place(InstanceKey(self.next), group, node);
        InstanceKey(self.next)
    }

    fn all(&mut self, spec: &Spec, times: usize) -> Vec<Option<String>> {
        (0..times).map(|_| self.put(spec)).collect()
    }

    fn against(&mut self, spec: &Spec) -> Vec<Vec<Obstacle>> {
        let group = self.cluster.set_group(spec);
        let findings = self.cluster.explain(group, &self.weights, &Hints::default());
        findings.into_iter().map(|f| f.obstacles).collect()
    }
}

fn some(names: &[&str]) -> Vec<Option<String>> {
    names.iter().map(|n| if n.is_empty() { None } else { Some((*n).to_owned()) }).collect()
}

#[test]
fn instances_of_a_workload_are_spread_and_then_packed() {
    let mut ground = Ground::new(&[node("a", 1000), node("b", 1000), node("c", 4000)]);
    assert_eq!(ground.all(&spec("web", 100), 4), some(&["a", "b", "c", "a"]));
}

#[test]
fn packing_fills_one_node_and_spreading_load_fills_all() {
    let mut ground = Ground::new(&[node("a", 1000), node("b", 1000)]);
    ground.weights = Weights { spread: 0, pack: 1, ..Weights::default() };
    assert_eq!(ground.all(&spec("web", 300), 4), some(&["a", "a", "a", "b"]));
    let mut ground = Ground::new(&[node("a", 1000), node("b", 1000)]);
    ground.weights = Weights { spread: 0, pack: 0, load: 1, ..Weights::default() };
    assert_eq!(ground.all(&spec("web", 300), 4), some(&["a", "b", "a", "b"]));
}

#[test]
fn zones_are_filled_evenly_before_nodes() {
    let mut ground = Ground::new(&[zoned("a1", "a"), zoned("a2", "a"), zoned("b1", "b")]);
    assert_eq!(ground.all(&spec("web", 100), 3), some(&["a1", "b1", "a2"]));
}

#[test]
fn every_obstacle_is_named_and_counted() {
    let mut only = node("a", 100);
    only.cordoned = true;
    only.present = false;
    only.taints = vec![Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoSchedule }];
    let mut ground = Ground::new(&[only, node("b", 100), node("c", 150)]);
    let mut web = spec("web", 200);
    web.rules.required = vec![rule("node.arch", Operator::In, &["arm64"])];
    web.rules.runtime_class = "kata".into();
    let all = ground.against(&web);
    let kinds: Vec<String> = all[0].iter().map(Obstacle::kind).collect();
    assert_eq!(kinds, ["absent", "cordoned", "taint gpu", "runtime class", "rule node.arch == arm64", "cpu"]);
    let group = ground.cluster.set_group(&spec("small", 200));
    let findings = ground.cluster.explain(group, &Weights::default(), &Hints::default());
    let (summary, remedies) = summarise(&findings);
    assert_eq!((summary[0].kind.as_str(), summary[0].nodes), ("cpu", 3));
    assert_eq!((remedies[0].nodes, remedies[0].change.as_str()), (2, "free 50 millicores of cpu, or ask for so much less"));
    assert_eq!(ground.cluster.node_name(remedies[0].example), "c");
}

#[test]
fn taints_keep_away_unless_they_are_tolerated_and_soft_ones_only_if_there_is_another_place() {
    let taint = |effect| Taint { key: "gpu".into(), value: "yes".into(), effect };
    let hard = Node { taints: vec![taint(Effect::NoSchedule)], ..node("a", 1000) };
    let soft = Node { taints: vec![taint(Effect::PreferNoSchedule)], ..node("b", 1000) };
    let mut ground = Ground::new(&[hard, soft, node("c", 100)]);
    assert_eq!(ground.all(&spec("web", 100), 3), some(&["c", "b", "b"]));
    let mut tolerant = spec("tolerant", 100);
    tolerant.rules.tolerations = vec![Toleration { key: "gpu".into(), value: Some("yes".into()), effect: None }];
    assert_eq!(ground.put(&tolerant).as_deref(), Some("b"), "soft taints do not matter to it, so the fuller node is better");
    assert_eq!(ground.put(&tolerant).as_deref(), Some("a"));
}

#[test]
fn near_and_apart_are_kept_in_both_directions() {
    let mut ground = Ground::new(&[zoned("a1", "a"), zoned("a2", "a"), zoned("b1", "b")]);
    let mut cache = spec("cache", 100);
    let near = |apart, app: &str| Near { apart, topology: "node.zone".into(), selector: selector(app), weight: None };
    cache.rules.near = vec![near(false, "db")];
    assert_eq!(ground.put(&cache), None, "there is no db yet");
    assert!(ground.against(&cache).iter().all(|o| matches!(o[0], Obstacle::NotNear { .. })));
    ground.put_on(&spec("db", 100), "b1");
    assert_eq!(ground.put(&cache).as_deref(), Some("b1"));
    let mut alone = spec("alone", 100);
    alone.rules.near = vec![near(true, "db")];
    assert_eq!(ground.put(&alone).as_deref(), Some("a1"));
    // Another db would stand where somebody wants to be apart from it.
    assert_eq!(ground.all(&Spec { key: "db2".into(), ..spec("db", 3000) }, 2), some(&["b1", ""]));
    let reasons = ground.against(&spec("db", 100));
    assert_eq!(reasons[0], [Obstacle::Shunned { place: "a".into(), there: 1 }]);
}

#[test]
fn the_first_of_those_who_want_to_be_together_goes_anywhere() {
    let mut ground = Ground::new(&[zoned("a", "x"), zoned("b", "y")]);
    let mut web = spec("web", 100);
    web.rules.near = vec![Near { apart: false, topology: "node.zone".into(), selector: selector("web"), weight: None }];
    assert_eq!(ground.all(&web, 3), some(&["a", "a", "a"]));
}

#[test]
fn a_hard_spread_waits_and_a_soft_one_goes_on() {
    let mut ground = Ground::new(&[zoned("a", "a"), zoned("b", "b"), node("nowhere", 4000)]);
    ground.put_on(&spec("big", 3950), "b");
    let mut web = spec("web", 100);
    let spread =
        Spread { topology: "node.zone".into(), max_skew: 1, hard: true, selector: Selector::default(), min_places: 0, tainted: false, unchosen: false };
    web.rules.spread = vec![spread.clone()];
    assert_eq!(ground.all(&web, 2), some(&["a", ""]));
    let reasons = ground.against(&web);
    assert_eq!(reasons[0], [Obstacle::Uneven { topology: "node.zone".into(), place: "a".into(), there: 1, least: 0, most: 1 }]);
    assert_eq!(reasons[2], [Obstacle::NoPlace { topology: "node.zone".into() }]);
    web.key = "web2".into();
    web.rules.spread = vec![Spread { hard: false, ..spread }];
    assert_eq!(ground.put(&web).as_deref(), Some("a"));
}

#[test]
fn places_that_take_nothing_count_if_the_rule_says_so() {
    let taint = Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoSchedule };
    let kept = Node { taints: vec![taint], ..zoned("b", "b") };
    for (tainted, expected) in [(false, ["a", "a"]), (true, ["a", ""])] {
        let mut ground = Ground::new(&[zoned("a", "a"), kept.clone()]);
        let mut web = spec("web", 100);
        web.rules.spread =
            vec![Spread { topology: "node.zone".into(), max_skew: 1, hard: true, selector: Selector::default(), min_places: 0, tainted, unchosen: false }];
        assert_eq!(ground.all(&web, 2), some(&expected), "{tainted}");
    }
}

#[test]
fn ports_limits_per_node_and_extended_resources_are_kept() {
    let gpu = Node { extended: BTreeMap::from([("gpu".into(), 2)]), ..node("a", 4000) };
    let mut ground = Ground::new(&[gpu, node("b", 4000)]);
    let web = Spec { ports: BTreeSet::from([HostPort::from(80_u16)]), ..spec("web", 100) };
    assert_eq!(ground.all(&web, 3), some(&["a", "b", ""]));
    let once = Spec { max_per_node: 1, ..spec("once", 100) };
    assert_eq!(ground.all(&once, 3), some(&["a", "b", ""]));
    let train = Spec { extended: BTreeMap::from([("gpu".into(), 1)]), ..spec("train", 100) };
    assert_eq!(ground.all(&train, 3), some(&["a", "a", ""]));
}

#[test]
fn a_port_is_one_of_a_protocol_and_an_address() {
    let mut ground = Ground::new(&[node("a", 4000), node("b", 4000)]);
    let mut placed = |name: &str, port: HostPort| ground.all(&Spec { ports: BTreeSet::from([port]), ..spec(name, 100) }, 3).iter().flatten().count();
    let at = |n: u8| HostPort { address: Some(std::net::IpAddr::from([10, 0, 0, n])), ..HostPort::from(90_u16) };
    assert_eq!(placed("web", HostPort::from(80_u16)), 2, "one on each node");
    assert_eq!(placed("datagrams", HostPort { transport: Transport::Udp, ..HostPort::from(80_u16) }), 2, "another protocol");
    assert_eq!((placed("first", at(1)), placed("second", at(2))), (2, 2), "each at an address of its own");
    assert_eq!(placed("everywhere", HostPort::from(90_u16)), 0, "somebody has one of all");
    assert_eq!((placed("all", HostPort::from(91_u16)), placed("one", HostPort { number: 91, ..at(1) })), (2, 0), "somebody has all");
}

#[test]
fn overcommitment_and_the_systems_share_change_what_there_is() {
    let wide = Node { overcommit_percent: Amounts { cpu_millis: 200, ..Amounts::plain_percent() }, ..node("a", 100) };
    let mut ground = Ground::new(&[Node { system: Amounts { cpu_millis: 60, ..Amounts::default() }, ..wide }]);
    assert_eq!(ground.all(&spec("web", 70), 3), some(&["a", "a", ""]));
}

#[test]
fn preferred_nodes_and_nodes_with_the_image_come_first() {
    let labelled = Node { attributes: BTreeMap::from([("node.labels.disk".into(), "ssd".into())]), ..node("c", 1000) };
    let pulled = Node { images: BTreeSet::from(["app:1".into()]), ..node("b", 1000) };
    let mut ground = Ground::new(&[node("a", 1000), pulled, labelled]);
    let web = Spec { image: "app:1".into(), ..spec("web", 100) };
    assert_eq!(ground.put(&web).as_deref(), Some("b"));
    let mut db = spec("db", 100);
    db.rules.preferred = vec![Preference { weight: 50, matches: vec![rule("node.labels.disk", Operator::Exists, &[])] }];
    assert_eq!(ground.put(&db).as_deref(), Some("c"));
    db.key = "db2".into();
    db.rules.any_of = vec![vec![rule("node.labels.disk", Operator::In, &["hdd"])], vec![rule("node.name", Operator::In, &["a"])]];
    assert_eq!(ground.put(&db).as_deref(), Some("a"));
}

#[test]
fn the_lowest_and_fewest_make_room_and_budgets_are_respected() {
    let mut ground = Ground::new(&[node("a", 1000), node("b", 1000)]);
    let low = |key: &str, cpu, priority| Spec { priority, ..spec(key, cpu) };
    let first = ground.put_on(&low("one", 500, 1), "a");
    let second = ground.put_on(&low("two", 500, 5), "a");
    ground.put_on(&low("three", 1000, 5), "b");
    let vip = Spec { priority: 10, ..spec("vip", 400) };
    let group = ground.cluster.set_group(&vip);
    let plan = ground.cluster.preempt(group, &Weights::default(), &Hints::default()).unwrap();
    assert_eq!((ground.cluster.node_name(plan.node), plan.victims), ("a", vec![first]));
    let one = ground.cluster.set_group(&low("one", 500, 1));
    ground.cluster.set_allowance(one, Some(0));
    let plan = ground.cluster.preempt(group, &Weights::default(), &Hints::default()).unwrap();
    assert_eq!(plan.victims, [second], "the first may not lose any");
    let meek = ground.cluster.set_group(&Spec { never_preempts: true, ..Spec { key: "meek".into(), ..vip.clone() } });
    assert_eq!(ground.cluster.preempt(meek, &Weights::default(), &Hints::default()), None);
    let stranger = ground.cluster.set_group(&Spec { tenant: "other".into(), key: "stranger".into(), ..vip.clone() });
    assert_eq!(ground.cluster.preempt(stranger, &Weights::default(), &Hints::default()), None);
    let equal = ground.cluster.set_group(&Spec { priority: 1, key: "equal".into(), ..vip });
    assert_eq!(ground.cluster.preempt(equal, &Weights::default(), &Hints::default()), None);
}

#[test]
fn who_is_displaced_counts_against_the_budget_of_its_family() {
    let mut ground = Ground::new(&[node("a", 1000)]);
    let low = Spec { priority: 1, ..spec("low", 500) };
    let pair = [ground.put_on(&low, "a"), ground.put_on(&low, "a")];
    let known = ground.cluster.set_group(&low);
    ground.cluster.set_allowance(known, Some(1));
    let vip = ground.cluster.set_group(&Spec { priority: 10, ..spec("vip", 500) });
    let plan = ground.cluster.preempt(vip, &Weights::default(), &Hints::default()).unwrap();
    assert_eq!(plan.victims, [pair[0]]);
    ground.cluster.displace(pair[0]);
    ground.cluster.place(InstanceKey(100), vip, plan.node);
    let next = ground.cluster.set_group(&Spec { priority: 10, ..spec("next", 500) });
    assert_eq!(ground.cluster.preempt(next, &Weights::default(), &Hints::default()), None, "the other one has to stay");
}

#[test]
fn a_gang_comes_whole_or_not_at_all() {
    let mut ground = Ground::new(&[node("a", 1000), node("b", 1000)]);
    let (big, small) = (ground.cluster.set_group(&spec("big", 900)), ground.cluster.set_group(&spec("small", 100)));
    let members = |n: u128| vec![(InstanceKey(1), small), (InstanceKey(2), big), (InstanceKey(n), big)];
    let nodes = ground.cluster.gang(&members(3), &Weights::default(), &Hints::default()).unwrap();
    assert_eq!(nodes.len(), 3);
    let late = vec![(InstanceKey(10), small), (InstanceKey(11), big)];
    let refused = ground.cluster.gang(&late, &Weights::default(), &Hints::default()).unwrap_err();
    assert_eq!((refused.placed, refused.wanted), (0, 2));
    assert_eq!(ground.cluster.place_of(InstanceKey(10)), None);
}

#[test]
fn reserved_room_is_for_those_who_name_it_and_comes_back() {
    let mut ground = Ground::new(&[node("a", 1000)]);
    let a = ground.cluster.node("a").unwrap();
    ground.cluster.reserve("team", a, &Amounts { cpu_millis: 800, ..Amounts::default() });
    assert_eq!(ground.put(&spec("other", 300)), None);
    let team = Spec { reservation: "team".into(), ..spec("team-web", 700) };
    assert_eq!(ground.put(&team).as_deref(), Some("a"));
    assert_eq!(ground.put(&spec("other", 200)).as_deref(), Some("a"), "what was never reserved is still there");
    ground.cluster.remove(InstanceKey(1)).unwrap();
    assert_eq!(ground.put(&spec("other2", 100)), None, "reserved again");
    ground.cluster.unreserve("team");
    assert_eq!(ground.put(&spec("other2", 800)).as_deref(), Some("a"));
}

#[test]
fn nobody_goes_whose_room_is_reserved_for_others() {
    let mut ground = Ground::new(&[node("a", 1000)]);
    let a = ground.cluster.node("a").unwrap();
    ground.cluster.reserve("team", a, &Amounts { cpu_millis: 800, ..Amounts::default() });
    let low = ground.put_on(&Spec { reservation: "team".into(), priority: 1, ..spec("team-web", 800) }, "a");
    let vip = Spec { priority: 10, ..spec("vip", 500) };
    let group = ground.cluster.set_group(&vip);
    assert_eq!(ground.cluster.preempt(group, &Weights::default(), &Hints::default()), None, "its room would be reserved again");
    let own = ground.cluster.set_group(&Spec { reservation: "team".into(), key: "own".into(), ..vip });
    assert_eq!(ground.cluster.preempt(own, &Weights::default(), &Hints::default()).unwrap().victims, [low]);
}

#[test]
fn a_drain_moves_what_it_may_and_says_what_waits() {
    let mut ground = Ground::new(&[node("a", 1000), node("b", 1000)]);
    let web = ground.put_on(&spec("web", 400), "a");
    let kept = ground.put_on(&spec("kept", 100), "a");
    let large = ground.put_on(&spec("large", 450), "a");
    ground.put_on(&spec("there", 550), "b");
    let kept_group = ground.cluster.set_group(&spec("kept", 100));
    ground.cluster.set_allowance(kept_group, Some(0));
    let a = ground.cluster.node("a").unwrap();
    let drain = ground.cluster.drain(a, &Weights::default());
    assert_eq!(drain.moves.iter().map(|m| m.instance).collect::<Vec<_>>(), [web]);
    assert_eq!(drain.held, [(kept, Held::Budget), (large, Held::NoPlace)]);
}

#[test]
fn a_node_that_comes_gets_its_share_and_no_more() {
    let mut ground = Ground::new(&[node("a", 1000)]);
    for _ in 0..6 {
        ground.put_on(&spec("web", 100), "a");
    }
    assert!(ground.cluster.rebalance(&Limits::default(), &Weights::default(), |_| true).is_empty());
    ground.cluster.set_node(&node("b", 1000));
    let moves = ground.cluster.rebalance(&Limits::default(), &Weights::default(), |_| true);
    assert_eq!(moves.len(), 3);
    assert!(moves.iter().all(|m| ground.cluster.node_name(m.to) == "b"));
    assert_eq!(moves[0].reason.to_string(), "6 of its workload stand on its node, 0 on the other one");
    assert!(ground.cluster.rebalance(&Limits::default(), &Weights::default(), |_| true).is_empty(), "it is even now");
}

#[test]
fn counts_follow_a_node_that_changes_its_zone_and_forget_one_that_goes() {
    let mut ground = Ground::new(&[zoned("a", "x"), zoned("b", "y")]);
    let mut web = spec("web", 100);
    web.rules.near = vec![Near { apart: true, topology: "node.zone".into(), selector: selector("web"), weight: None }];
    ground.put_on(&web, "a");
    ground.cluster.set_node(&zoned("a", "y"));
    ground.cluster.set_node(&zoned("c", "x"));
    assert_eq!(ground.put(&web).as_deref(), Some("c"));
    let c = ground.cluster.node("c").unwrap();
    ground.cluster.remove(InstanceKey(2));
    ground.cluster.remove_node(c);
    assert_eq!(ground.put(&web), None);
    assert_eq!(ground.against(&web).len(), 2, "a node that is gone is not explained");
}

#[test]
fn what_users_write_rules_nodes_out_prefers_others_and_is_explained() {
    let disk = |name: &str, disk: &str| Node { attributes: BTreeMap::from([("node.labels.disk".into(), disk.into())]), ..node(name, 4000) };
    let mut ground = Ground::new(&[node("bare", 4000), disk("slow", "hdd"), disk("fast", "ssd"), disk("full", "ssd")]);
    ground.put_on(&spec("filler", 3500), "full");
    let is_ssd = Expr::Compare(Comparison::Equal, Box::new(Expr::Label("node.labels.disk".into())), Box::new(Expr::Text("ssd".into())));
    let has_room = Expr::Compare(Comparison::Greater, Box::new(Expr::Free(Resource::Cpu)), Box::new(Expr::Int(1000)));
    let formula = |text: &str, root: &Expr| Some(Formula { text: text.into(), root: root.clone() });
    let rule = |text: &str, root: &Expr| UserRule { holds: formula(text, root), worth: None };
    let web = Spec { formulas: vec![rule("ssd", &is_ssd), rule("room", &has_room)], ..spec("web", 100) };
    let group = ground.cluster.set_group(&web);
    let found = ground.cluster.explain(group, &ground.weights, &Hints::default());
    let told: Vec<Vec<String>> = found.iter().map(|f| f.obstacles.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(told[0], ["the rule `ssd` says nothing here: there is no label `disk`"]);
    assert_eq!(told[1], ["the rule `ssd` does not hold"]);
    assert!(told[2].is_empty(), "{told:?}");
    assert_eq!(told[3], ["the rule `room` does not hold"], "500 millicores are enough for it, but not for the rule");
    let chosen = ground.cluster.choose(group, &ground.weights, &Hints::default()).unwrap();
    assert_eq!(ground.cluster.node_name(chosen.node), "fast");
    assert!(!ground.cluster.eligible(group, found[1].node) && ground.cluster.eligible(group, found[3].node), "its room may change");

    // Better where more is free, whatever else is packed.
    let worth = Expr::Calculate(Calculation::Divide, Box::new(Expr::Free(Resource::Cpu)), Box::new(Expr::Int(4)));
    let wide = Spec { formulas: vec![UserRule { holds: None, worth: formula("free", &worth) }], ..spec("wide", 100) };
    let group = ground.cluster.set_group(&wide);
    let weights = Weights { spread: 0, pack: 1, load: 0, even: 0, image: 0, prefer: 10 };
    let chosen = ground.cluster.choose(group, &weights, &Hints::default()).unwrap();
    assert_eq!(ground.cluster.node_name(chosen.node), "bare", "the first of the empty ones");
    let narrow = Spec { formulas: Vec::new(), ..spec("narrow", 100) };
    let group = ground.cluster.set_group(&narrow);
    let chosen = ground.cluster.choose(group, &weights, &Hints::default()).unwrap();
    assert_eq!(ground.cluster.node_name(chosen.node), "full", "without it, the fullest is the best");
}
