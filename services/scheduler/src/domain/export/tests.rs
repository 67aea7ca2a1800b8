use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;
use proptest::prelude::*;

use super::*;
use crate::domain::model::*;
use crate::domain::patch;

const FORMATS: [Format; 3] = [Format::Compose, Format::Kubernetes, Format::Gantry];

fn read(format: Format, text: &str) -> Reading {
    format.read(&Document::alone(text))
}

/// Every format gives the same model back.
fn survives(model: &Model) {
    for format in FORMATS {
        let text = export(format, "app", model);
        let back = read(format, &text).finish(true).unwrap_or_else(|r| panic!("{format:?}: {r:#?}\n{text}")).model;
        assert!(back == *model, "{format:?}: {:#?}\n{text}", patch::between(&back, model));
    }
}

#[test]
fn an_import_survives_every_format_and_its_own_needs_no_patch() {
    let model = read(Format::Kubernetes, include_str!("awkward.yaml")).finish(true).unwrap_or_else(|r| panic!("{r:#?}")).model;
    survives(&model);
    let text = export(Format::Kubernetes, "app", &model);
    assert!(!text.contains(kubernetes::MODEL), "Kubernetes says all of it itself:\n{text}");
    let compose = "services:\n  web:\n    image: a/b/c\n    ports: ['8080:80']\n    environment: {A: 'x$$y', B: '1'}\n    configs: [c]\n    depends_on: {db: {condition: service_healthy}}\n    deploy: {replicas: 2}\n  db:\n    image: a/b/d\n    healthcheck: {test: [CMD, /ok], interval: 5s}\n    volumes: [data:/data]\nvolumes: {data: {}}\nconfigs: {c: {content: hello}}\n";
    let model = read(Format::Compose, compose).finish(false).unwrap().model;
    survives(&model);
    let text = export(Format::Compose, "app", &model);
    assert!(!text.contains("model:"), "Compose says all of it itself:\n{text}");
}

/// What the platform adds by itself, or takes from the space.
const NOT_WRITTEN: [&str; 3] = ["pinned", "external", "version"];

#[test]
fn every_property_survives_every_format() {
    let model = read(Format::Gantry, include_str!("whole.yaml")).finish(true).unwrap_or_else(|r| panic!("{r:#?}")).model;
    let (said, schema) = (json(&model), own::schema());
    let all = |part: &Value| part.as_object().unwrap().values().cloned().collect::<Vec<_>>();
    let list = |part: &Value| part.as_array().unwrap().clone();
    let web = &said["workloads"]["web"];
    let containers = [list(&web["init"]), list(&web["sidecars"])].concat();
    // A property that comes to the model comes to this file, too.
    for (kind, parts) in [
        ("Model", vec![said.clone()]),
        ("Workload", all(&said["workloads"])),
        ("Container", containers),
        ("Constraints", vec![web["placement"].clone()]),
        ("Service", list(&said["services"])),
        ("Volume", all(&said["volumes"])),
        ("Config", all(&said["configs"])),
        ("Network", all(&said["networks"])),
        ("Policy", all(&said["policies"])),
    ] {
        let known = schema["$defs"][kind]["properties"].as_object().unwrap().keys();
        let unsaid: Vec<_> = known.filter(|key| !NOT_WRITTEN.contains(&key.as_str()) && !parts.iter().any(|p| p.get(key.as_str()).is_some())).collect();
        assert!(unsaid.is_empty(), "{kind}: {unsaid:?}");
    }
    survives(&model);
}

#[test]
fn secrets_are_not_shown_unless_asked_for() {
    let text = "services: {web: {image: a/b/c, secrets: [key]}}\nsecrets: {key: {content: hush-hush}}\n";
    let model = read(Format::Compose, text).finish(false).unwrap().model;
    for format in FORMATS {
        assert!(export(format, "app", &model).contains("hush-hush"), "{format:?}");
        let shown = export(format, "app", &hidden(&model));
        assert!(!shown.contains("hush-hush") && shown.contains("${KEY_SECRET}"), "{shown}");
    }
    let shown = export(Format::Compose, "app", &hidden(&model));
    let values = BTreeMap::from([("KEY_SECRET".to_owned(), "given".to_owned())]);
    let again = compose::read(&Document { values: &values, ..Document::alone(&shown) }).finish(false).unwrap().model;
    assert_eq!(again.workloads.values().next().unwrap().files[0].content, "given");
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z][a-z0-9]{0,6}".prop_map(|t| Name::parse(&t).unwrap())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9/._:-]{1,10}", "[ -~]{1,12}", Just("$(A) ${B} $$".to_owned()), Just("yes".to_owned()), Just("two\nlines\n".to_owned())]
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[A-Z][A-Z0-9_]{0,5}", text(), 0..4)
}

fn probes() -> impl Strategy<Value = Vec<Probe>> {
    let check = prop_oneof![
        (1_u16..9999).prop_map(|port| Check::Tcp { port }),
        (1_u16..9999, any::<bool>()).prop_map(|(port, https)| Check::Http { path: "/x".into(), port, https, host: String::new(), headers: BTreeMap::new() }),
        (1_u16..9999).prop_map(|port| Check::Grpc { port, service: "s".into() }),
        proptest::collection::vec(text(), 1..3).prop_map(|command| Check::Command { command }),
    ];
    let purpose = prop_oneof![Just(Purpose::Startup), Just(Purpose::Live), Just(Purpose::Ready)];
    let one = (purpose, check, 1_u32..60_000, 1_u32..9).prop_map(|(purpose, check, period_ms, n)| Probe {
        purpose,
        check,
        period_ms,
        timeout_ms: period_ms,
        failure_threshold: n,
        success_threshold: 1,
        initial_delay_ms: n * 700,
    });
    proptest::collection::vec(one, 0..3)
}

fn kind() -> impl Strategy<Value = WorkloadKind> {
    prop_oneof![Just(WorkloadKind::Stateless), Just(WorkloadKind::Stateful), Just(WorkloadKind::Global), Just(WorkloadKind::Job)]
}

fn workload() -> impl Strategy<Value = Workload> {
    let numbers = (0_u32..20, 1_u32..4000, 1_u64..1 << 32, 0_u32..3, 1_u32..3, 0_u32..100);
    let words = (texts(), texts(), proptest::collection::vec(text(), 0..3), text());
    let choices = (prop_oneof![Just(""), Just("root"), Just("7"), Just("7:8")], prop_oneof![Just(""), Just("disable"), Just("u:r:t:s0")]);
    (kind(), numbers, words, choices, probes(), proptest::collection::vec(any::<bool>(), 11)).prop_map(
        |(kind, numbers, words, (user, selinux), probes, flags)| {
            let (replicas, cpu_millis, memory_bytes, surge, max_unavailable, stop_grace_seconds) = numbers;
            let (env, labels, args, content) = words;
            let requests = Resources { cpu_millis, memory_bytes, ..Resources::default() };
            let mut w =
                Workload { kind, replicas, env, labels, args, probes, stop_grace_seconds, requests, image: "acme/shop/web:1".into(), ..Workload::default() };
            if flags[0] {
                w.limits = w.requests;
            }
            (w.update.surge, w.update.max_unavailable, w.update.manual) = (surge, max_unavailable, flags[1]);
            (w.privileged, w.read_only_root, w.tty, w.init_process, w.sharing.host_pid) = (flags[2], flags[3], flags[4], flags[5], flags[6]);
            (w.user, w.selinux) = (user.into(), selinux.into());
            if kind == WorkloadKind::Job {
                w.restart = Restart::OnFailure;
            }
            if flags[7] {
                w.files.push(File { path: "/etc/x".into(), content, mode: 0o444, secret: flags[8], ..File::default() });
                let of = |kind, source: &str, target: &str| Mount::new(kind, source, target);
                w.mounts = vec![
                    of(MountKind::Volume, "data", "/data"),
                    of(MountKind::Scratch, "s", "/s"),
                    of(MountKind::Bind, "/h", "/host"),
                    of(MountKind::Volume, "", "/own"),
                ];
            }
            if flags[10] {
                w.sidecars.push(Container { name: "side".into(), image: "x".into(), run_as_non_root: flags[9], ..Container::default() });
            }
            if flags[8] {
                w.placement.affinity.push(Affinity { apart: flags[9], topology: "node.zone".into(), selector: Selector::default(), weight: None });
                if matches!(kind, WorkloadKind::Stateless | WorkloadKind::Stateful) {
                    let cpu = serde_json::json!({"source": "resource", "name": "cpu", "target": "utilization", "value": "50"});
                    w.scaling = Some(Scaling { min: 1, max: 5, metrics: vec![serde_json::from_value(cpu).unwrap()], ..Scaling::default() });
                }
                w.hooks.pre_stop.push(Hook::Sleep { seconds: 3 });
                w.extended.insert("nvidia.com/gpu".into(), 1);
            }
            w
        },
    )
}

fn model() -> impl Strategy<Value = Model> {
    let workloads = proptest::collection::btree_map(name(), workload(), 1..4);
    let wanted = prop_oneof![Just(None), (0_u16..60_000).prop_map(Some)];
    (workloads, 1_u16..60_000, wanted, "[a-z]{1,5}\\.test", any::<bool>()).prop_map(|(workloads, port, wanted, host, other)| {
        let mut model = Model { workloads, ..Model::default() };
        let first = model.workloads.keys().next().unwrap().clone();
        let publish = wanted.map(|wanted| Publish { wanted, listen: 0 });
        let routes = if other { vec![Route::new(host, "/a")] } else { Vec::new() };
        let protocol = if other { Protocol::Http } else { Protocol::Tcp };
        let service_port = if other { 81 } else { 0 };
        let front = Name::parse("front9999").unwrap();
        let access = if other { Access { allow: vec!["192.0.2.0/24".into()], requests_per_second: 5, ..Access::default() } } else { Access::default() };
        model.services.push(Service { publish, routes, service_port, access, ..Service::plain(front, first.clone(), port, protocol) });
        model.services.push(Service { aliases: BTreeSet::from(["al_ias".to_owned()]), ..Service::plain(first.clone(), first, 53, Protocol::Udp) });
        model.configs.insert("app".into(), Config { entries: BTreeMap::from([("k".into(), "v$".into())]), ..Config::default() });
        model
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_model_survives_every_format(model in model()) {
        survives(&model);
    }
}
