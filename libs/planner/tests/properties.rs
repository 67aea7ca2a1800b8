//! Whatever comes: no node is filled beyond what it has, no hard rule is broken, what is said agrees with what is done, and the
//! same input gives the same output.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use gantry_planner::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct World {
    nodes: Vec<Node>,
    specs: Vec<Spec>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Place(usize),
    Remove(usize),
    Change(usize, Node),
}

prop_compose! {
    fn a_node()(cpu in 0u64..3000, memory in 0u64..4000, zone in 0u8..4, cordoned in prop::bool::weighted(0.1), taint in 0u8..4, arm in any::<bool>(), gpus in 0u64..3)
        -> Node {
        let mut attributes = BTreeMap::from([("node.arch".to_owned(), if arm { "arm64" } else { "amd64" }.to_owned())]);
        if zone > 0 {
            attributes.insert("node.zone".into(), format!("z{zone}"));
        }
        let effect = [None, Some(Effect::NoSchedule), Some(Effect::PreferNoSchedule), None][usize::from(taint)];
        Node {
            attributes,
            taints: effect.map(|effect| Taint { key: "t".into(), value: String::new(), effect }).into_iter().collect(),
            capacity: Amounts { cpu_millis: cpu, memory_bytes: memory << 20, storage_bytes: 10 << 30, pids: UNLIMITED, bandwidth_kbps: UNLIMITED, instances: 6 },
            overcommit_percent: Amounts { cpu_millis: 150, ..Amounts::plain_percent() },
            extended: BTreeMap::from([("gpu".to_owned(), gpus)]),
            present: true,
            cordoned,
            ..Node::default()
        }
    }
}

fn selector(app: u8) -> Selector {
    Selector { labels: BTreeMap::from([("app".into(), format!("a{app}"))]), matches: Vec::new() }
}

prop_compose! {
    fn a_spec()(cpu in 0u64..900, memory in 0u64..900, gpu in prop::bool::weighted(0.2), priority in 0i32..4, arch in prop::option::of(any::<bool>()), tolerant in any::<bool>(),
        near in prop::option::weighted(0.3, (any::<bool>(), any::<bool>(), 0u8..5)), spread in prop::option::weighted(0.3, (any::<bool>(), 1u32..3)),
        port in prop::option::weighted(0.2, 1u16..4), most in prop::option::weighted(0.2, 1u32..3)) -> Spec {
        let topology = |zone: bool| if zone { "node.zone" } else { "node.name" }.to_owned();
        let rules = Rules {
            required: arch.map(|arm| Match { attribute: "node.arch".into(), operator: Operator::In, values: vec![if arm { "arm64" } else { "amd64" }.into()] }).into_iter().collect(),
            tolerations: if tolerant { vec![Toleration { key: "t".into(), value: None, effect: None }] } else { Vec::new() },
            near: near.map(|(apart, zone, app)| Near { apart, topology: topology(zone), selector: selector(app), weight: None }).into_iter().collect(),
            spread: spread.map(|(zone, max_skew)| Spread { topology: topology(zone), max_skew, hard: true, selector: Selector::default(), min_places: 0, tainted: false, unchosen: false }).into_iter().collect(),
            ..Rules::default()
        };
        Spec {
            requests: Amounts { cpu_millis: cpu, memory_bytes: memory << 20, ..Amounts::default() },
            extended: if gpu { BTreeMap::from([("gpu".to_owned(), 1)]) } else { BTreeMap::new() },
            priority,
            rules,
            ports: port.map(HostPort::from).into_iter().collect::<BTreeSet<_>>(),
            max_per_node: most.unwrap_or(0),
            ..Spec::default()
        }
    }
}

fn a_world() -> impl Strategy<Value = World> {
    let step = prop_oneof![6 => (0usize..6).prop_map(Step::Place), 2 => (0usize..40).prop_map(Step::Remove), 1 => ((0usize..7), a_node()).prop_map(|(n, node)| Step::Change(n, node))];
    (prop::collection::vec(a_node(), 1..7), prop::collection::vec(a_spec(), 1..6), prop::collection::vec(step, 1..50)).prop_map(
        |(mut nodes, mut specs, steps)| {
            nodes.iter_mut().enumerate().for_each(|(n, node)| node.name = format!("n{n}"));
            for (n, spec) in specs.iter_mut().enumerate() {
                spec.key = format!("g{n}");
                spec.family = spec.key.clone();
                spec.labels = BTreeMap::from([("app".into(), format!("a{n}"))]);
            }
            World { nodes, specs, steps }
        },
    )
}

/// What is known outside of the planner, to check it against.
struct Books {
    nodes: Vec<Node>,
    standing: BTreeMap<u128, (usize, usize)>,
}

impl Books {
    fn value(&self, node: usize, topology: &str) -> Option<String> {
        if topology == "node.name" { Some(self.nodes[node].name.clone()) } else { self.nodes[node].attributes.get(topology).cloned() }
    }

    fn there(&self, topology: &str, place: &str, specs: impl Fn(usize) -> bool) -> usize {
        self.standing.values().filter(|(s, n)| specs(*s) && self.value(*n, topology).as_deref() == Some(place)).count()
    }

    /// May `spec` come to `node`, by the letter of its rules?
    fn allows(&self, specs: &[Spec], spec: usize, node: usize) -> bool {
        let (own, on) = (&specs[spec], &self.nodes[node]);
        let here: Vec<usize> = self.standing.values().filter(|(_, n)| *n == node).map(|(s, _)| *s).collect();
        let sum = |f: &dyn Fn(&Spec) -> u64| here.iter().map(|s| f(&specs[*s])).sum::<u64>() + f(own);
        let fits = (own.requests.cpu_millis == 0 || sum(&|s| s.requests.cpu_millis) <= on.capacity.cpu_millis * 150 / 100)
            && (own.requests.memory_bytes == 0 || sum(&|s| s.requests.memory_bytes) <= on.capacity.memory_bytes)
            && (own.extended.is_empty() || sum(&|s| s.extended.get("gpu").copied().unwrap_or(0)) <= on.extended["gpu"])
            && here.len() < 6;
        let selects = |near: &Near, s: usize| near.selector.selects(&specs[s].labels);
        let places = |topology: &str| self.value(node, topology);
        let near = own.rules.near.iter().all(|n| {
            let Some(place) = places(&n.topology) else { return n.apart };
            let there = self.there(&n.topology, &place, |s| selects(n, s));
            let anywhere = self.standing.values().filter(|(s, _)| selects(n, *s)).count();
            if n.apart { there == 0 } else { there > 0 || anywhere == 0 && selects(n, spec) }
        });
        let shunned = self.standing.values().any(|(s, n)| {
            specs[*s].rules.near.iter().any(|near| {
                let same = self.value(*n, &near.topology).is_some_and(|place| places(&near.topology) == Some(place));
                near.apart && selects(near, spec) && same
            })
        });
        let open = |n: usize| {
            let node = &self.nodes[n];
            let tainted = node.taints.iter().any(|t| t.effect == Effect::NoSchedule && !own.rules.tolerations.iter().any(|o| o.tolerates(t)));
            !node.cordoned && !tainted && own.rules.required.iter().all(|r| r.holds(self.value(n, &r.attribute).as_deref()))
        };
        let even = own.rules.spread.iter().all(|s| {
            let Some(place) = places(&s.topology) else { return false };
            let all: BTreeSet<String> = (0..self.nodes.len()).filter(|n| open(*n)).filter_map(|n| self.value(n, &s.topology)).collect();
            let least = all.iter().map(|p| self.there(&s.topology, p, |s| s == spec)).min().unwrap_or(0);
            self.there(&s.topology, &place, |s| s == spec) < least + s.max_skew as usize
        });
        let ports = here.iter().all(|s| specs[*s].ports.is_disjoint(&own.ports));
        let most = own.max_per_node == 0 || here.iter().filter(|s| **s == spec).count() < own.max_per_node as usize;
        fits && open(node) && near && !shunned && even && ports && most
    }
}

fn run(world: &World, check: bool) -> Result<Vec<Option<u32>>, TestCaseError> {
    let mut cluster = Cluster::new();
    for node in &world.nodes {
        cluster.set_node(node);
    }
    let mut books = Books { nodes: world.nodes.clone(), standing: BTreeMap::new() };
    let weights = Weights { even: 1, ..Weights::default() };
    let mut log = Vec::new();
    for (n, step) in world.steps.iter().enumerate() {
        match step {
            Step::Place(spec) => {
                let spec = spec % world.specs.len();
                let group = cluster.set_group(&world.specs[spec]);
                let choice = cluster.choose(group, &weights, &Hints::default());
                if check {
                    let findings = cluster.explain(group, &weights, &Hints::default());
                    for finding in &findings {
                        let allowed = books.allows(&world.specs, spec, finding.node.0 as usize);
                        prop_assert_eq!(finding.obstacles.is_empty(), allowed, "{:?} on {:?}", &world.specs[spec], finding);
                    }
                    let best = findings.iter().filter(|f| f.obstacles.is_empty()).reduce(|a, b| if b.score > a.score { b } else { a });
                    prop_assert_eq!(best.map(|f| (f.node, f.score)), choice.map(|c| (c.node, c.score)));
                    if choice.is_none()
                        && let Some(plan) = cluster.preempt(group, &weights, &Hints::default())
                    {
                        let mut after = Books { nodes: books.nodes.clone(), standing: books.standing.clone() };
                        for victim in &plan.victims {
                            let (victim, node) = after.standing.remove(&victim.0).unwrap();
                            prop_assert!(world.specs[victim].priority < world.specs[spec].priority && node == plan.node.0 as usize);
                        }
                        prop_assert!(after.allows(&world.specs, spec, plan.node.0 as usize), "after those have gone, it may come");
                        let needless = plan.victims.iter().any(|v| {
                            let mut with = Books { nodes: after.nodes.clone(), standing: after.standing.clone() };
                            with.standing.insert(v.0, books.standing[&v.0]);
                            with.allows(&world.specs, spec, plan.node.0 as usize)
                        });
                        prop_assert!(!needless, "nobody goes who could stay");
                    }
                }
                if let Some(choice) = choice {
                    cluster.place(InstanceKey(n as u128), group, choice.node);
                    books.standing.insert(n as u128, (spec, choice.node.0 as usize));
                }
                log.push(choice.map(|c| c.node.0));
            }
            Step::Remove(which) => {
                if let Some(key) = books.standing.keys().nth(which % books.standing.len().max(1)).copied() {
                    cluster.remove(InstanceKey(key));
                    books.standing.remove(&key);
                }
            }
            Step::Change(which, node) => {
                let which = which % world.nodes.len();
                let node = Node { name: format!("n{which}"), ..node.clone() };
                cluster.set_node(&node);
                books.nodes[which] = node;
            }
        }
    }
    Ok(log)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn decisions_agree_with_the_rules_by_the_letter(world in a_world()) {
        run(&world, true)?;
    }

    #[test]
    fn the_same_input_gives_the_same_output(world in a_world()) {
        prop_assert_eq!(run(&world, false)?, run(&world, false)?);
    }

    #[test]
    fn rebalancing_ends_breaks_nothing_and_then_has_nothing_to_do(sizes in prop::collection::vec((50u64..400, 0usize..4), 1..40), nodes in 2usize..6) {
        let mut cluster = Cluster::new();
        let one = |n: usize, cordoned| Node {
            name: format!("n{n}"),
            capacity: Amounts { cpu_millis: 8000, memory_bytes: 1 << 30, storage_bytes: 0, pids: UNLIMITED, bandwidth_kbps: UNLIMITED, instances: UNLIMITED },
            overcommit_percent: Amounts::plain_percent(),
            present: true,
            cordoned,
            ..Node::default()
        };
        (0..nodes).for_each(|n| { cluster.set_node(&one(n, n > 0)); });
        let group = |cluster: &mut Cluster, cpu: u64, family: usize| cluster.set_group(&Spec {
            key: format!("{family}-{cpu}"),
            family: format!("{family}"),
            requests: Amounts { cpu_millis: cpu, ..Amounts::default() },
            ..Spec::default()
        });
        let mut placed = 0usize;
        for (n, (cpu, family)) in sizes.iter().enumerate() {
            let group = group(&mut cluster, *cpu, *family);
            if let Some(choice) = cluster.choose(group, &Weights::default(), &Hints::default()) {
                cluster.place(InstanceKey(n as u128), group, choice.node);
                placed += 1;
            }
        }
        (0..nodes).for_each(|n| { cluster.set_node(&one(n, false)); });
        let limits = Limits { moves: 1000, ..Limits::default() };
        let moves = cluster.rebalance(&limits, &Weights::default(), |_| true);
        let moved: BTreeSet<InstanceKey> = moves.iter().map(|m| m.instance).collect();
        prop_assert_eq!(moved.len(), moves.len(), "nobody is moved twice");
        prop_assert!(moves.len() < placed.max(1), "somebody stays where all were");
        let again = cluster.rebalance(&limits, &Weights::default(), |_| true);
        // Whoever has moved once may move again in another round; each still makes it more even, and it ends.
        let mut rounds = 0;
        let mut last = again;
        while !last.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 10);
            last = cluster.rebalance(&limits, &Weights::default(), |_| true);
        }
        for at in 0..nodes {
            let here: u64 = cluster.instances_on(NodeIx(at as u32)).map(|k| sizes[k.0 as usize].0).sum();
            prop_assert!(here <= 8000);
        }
    }
}
