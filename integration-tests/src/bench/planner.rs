//! The placement planner on one core: 5,000 nodes in 20 zones, full filter and score of all of them for every decision, each
//! decision booked. Goals are fixed rates.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gantry_planner::{
    Amounts, Cluster, Effect, Hints, InstanceKey, Match, Near, Node, NodeIx, Operator, Selector, Spec, Spread, Taint, Toleration, UNLIMITED, Weights,
};

use crate::bench::Options;
use crate::bench::figure::Figure;
use crate::bench::results::Figures;

pub const FIGURES: &[&str] = &["planner-plain", "planner-rules", "planner-change"];

const NODES: usize = 5000;
const ZONES: usize = 20;
const INSTANCES: usize = 50_000;
/// Workloads that the decisions go round.
const WORKLOADS: usize = 50;

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Figures::default();
    let wants = |figure| options.wants("planner", figure);
    if wants("planner-plain") {
        let rounds = (0..options.rounds).map(|_| rate(options.round(), plain)).collect::<Result<_>>()?;
        figures.push(Figure::at_least("planner-plain", "decisions/s, 5,000 nodes, one core", rounds, 38_000.0));
    }
    if wants("planner-rules") {
        let rounds = (0..options.rounds).map(|_| rate(options.round(), ruled)).collect::<Result<_>>()?;
        figures.push(Figure::at_least("planner-rules", "decisions/s with affinity, spread and taints, 5,000 nodes", rounds, 6_000.0));
    }
    if wants("planner-change") {
        let rounds = (0..options.rounds).map(|_| change(options.round())).collect::<Result<_>>()?;
        figures.push(Figure::at_most("planner-change", "ms p99 of one change on a full cluster of 5,000 nodes, 50,000 instances", rounds, 5.0));
    }
    figures.all()
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    for n in 0..NODES {
        let size = [4, 8, 16, 32][n % 4];
        let capacity = Amounts {
            cpu_millis: size * 1000,
            memory_bytes: (size * 4) << 30,
            storage_bytes: 500 << 30,
            pids: 32_768,
            bandwidth_kbps: UNLIMITED,
            instances: 250,
        };
        let attributes = [("node.zone", format!("zone-{}", n % ZONES)), ("node.arch", "amd64".to_owned()), ("node.os", "linux".to_owned())];
        let disk = ("node.labels.disk".to_owned(), if n % 3 == 0 { "hdd" } else { "ssd" }.to_owned());
        let taint = Taint { key: "dedicated".into(), value: "batch".into(), effect: Effect::NoSchedule };
        cluster.set_node(&Node {
            name: format!("node-{n:04}"),
            attributes: attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).chain([disk]).collect(),
            taints: if n % 10 == 0 { vec![taint] } else { Vec::new() },
            runtime_classes: BTreeSet::from(["runc".to_owned()]),
            capacity,
            overcommit_percent: Amounts::plain_percent(),
            present: true,
            ..Node::default()
        });
    }
    cluster
}

fn plain(n: usize) -> Spec {
    let requests = Amounts { cpu_millis: 50 + 10 * (n as u64 % 10), memory_bytes: 64 << 20, storage_bytes: 1 << 30, pids: 50, ..Amounts::default() };
    Spec {
        key: format!("workload-{n}"),
        family: format!("workload-{n}"),
        labels: BTreeMap::from([("app".into(), format!("app-{n}"))]),
        requests,
        ..Spec::default()
    }
}

fn ruled(n: usize) -> Spec {
    let mut spec = plain(n);
    let selector = |n: usize| Selector { labels: BTreeMap::from([("app".to_owned(), format!("app-{n}"))]), matches: Vec::new() };
    let near = |apart, topology: &str, other: usize, weight| Near { apart, topology: topology.into(), selector: selector(other), weight };
    spec.rules.near = vec![
        // Near to itself in a zone would end with its zone; near to others is what people write.
        near(false, "node.zone", n, Some(10)),
        near(true, "node.name", (n + 1) % WORKLOADS, None),
        near(false, "node.zone", (n + 2) % WORKLOADS, Some(50)),
    ];
    spec.rules.spread = vec![
        Spread { topology: "node.zone".into(), max_skew: 2, hard: true, selector: Selector::default(), min_places: 0, tainted: false, unchosen: false },
        Spread { topology: "node.name".into(), max_skew: 1, hard: false, selector: Selector::default(), min_places: 0, tainted: false, unchosen: false },
    ];
    spec.rules.tolerations = vec![Toleration { key: "dedicated".into(), value: Some("batch".into()), effect: None }];
    spec.rules.required = vec![Match { attribute: "node.labels.disk".into(), operator: Operator::In, values: vec!["ssd".into()] }];
    spec
}

/// Decisions in a second, each booked; when the cluster has as many as it should, the oldest goes for each that comes.
fn rate(length: Duration, spec: fn(usize) -> Spec) -> Result<f64> {
    let mut cluster = cluster();
    let groups: Vec<_> = (0..WORKLOADS).map(|n| cluster.set_group(&spec(n))).collect();
    let (weights, hints) = (Weights::default(), Hints::default());
    let (mut decisions, started) = (0usize, Instant::now());
    while started.elapsed() < length {
        for _ in 0..100 {
            let group = groups[decisions % WORKLOADS];
            let choice = cluster.choose(group, &weights, &hints);
            ensure!(choice.is_some(), "no node for decision {decisions}");
            if let Some(choice) = choice {
                cluster.place(InstanceKey(decisions as u128), group, choice.node);
            }
            if decisions >= INSTANCES {
                cluster.remove(InstanceKey((decisions - INSTANCES) as u128));
            }
            decisions += 1;
        }
    }
    Ok(decisions as f64 / started.elapsed().as_secs_f64())
}

/// 99th percentile in ms: each time a workload that was not known before comes with rules of its own to a cluster without
/// room and displaces what is of lower priority, and a node changes.
fn change(length: Duration) -> Result<f64> {
    let mut cluster = cluster();
    let (weights, hints) = (Weights::default(), Hints::default());
    let filler: Vec<_> = (0..10)
        .map(|n| {
            let mut spec = plain(n);
            spec.priority = n as i32 - 10;
            spec.requests.cpu_millis = 1400;
            spec.rules.tolerations = ruled(n).rules.tolerations;
            cluster.set_group(&spec)
        })
        .collect();
    let mut key = 0u128;
    for _ in 0..INSTANCES {
        let group = filler[key as usize % filler.len()];
        let Some(choice) = cluster.choose(group, &weights, &hints) else { break };
        cluster.place(InstanceKey(key), group, choice.node);
        key += 1;
    }
    // What is left over is filled up, so that nothing of the size asked below fits anywhere.
    for at in 0..NODES {
        let group = filler[at % filler.len()];
        for _ in 0..20 {
            let only = Hints { only: Some(vec![NodeIx(at as u32)]), except: Vec::new() };
            let Some(choice) = cluster.choose(group, &weights, &only) else { break };
            cluster.place(InstanceKey(key), group, choice.node);
            key += 1;
        }
    }
    let (mut times, started) = (Vec::new(), Instant::now());
    for n in 0.. {
        if started.elapsed() >= length && times.len() >= 200 {
            break;
        }
        let mut spec = ruled(n % WORKLOADS);
        (spec.key, spec.family, spec.priority) = (format!("new-{n}"), format!("new-{n}"), 10);
        spec.requests.cpu_millis = 1500;
        let one = Instant::now();
        let group = cluster.set_group(&spec);
        ensure!(cluster.choose(group, &weights, &hints).is_none(), "the cluster is not full");
        if let Some(plan) = cluster.preempt(group, &weights, &hints) {
            for victim in &plan.victims {
                cluster.remove(*victim);
            }
            key += 1;
            cluster.place(InstanceKey(key), group, plan.node);
        }
        times.push(one.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() * 99 / 100])
}
