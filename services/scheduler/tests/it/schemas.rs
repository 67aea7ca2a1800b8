//! Every object that the engine makes, held against the schemas that Kubernetes publishes, strictly (no field that the schema does
//! not have): of the oldest and of the newest version, by kubernetes-validate, which carries them. HTTPRoute is no part of
//! Kubernetes' own schema; the Gateway API's is its own.
//!
//! `kubectl` checks nothing by itself: since 1.27 `--validate`, and `--dry-run=client` too, ask an API server for the schema and
//! the kinds, and end with an error where none is. So that check is the server's: each apply asks for `fieldValidation=Strict`,
//! which `make test-kubernetes` has answered by a real cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use gantry_kernel::{AppId, Name, OrgId, ProjectId, SpaceId, Uuid};
use gantry_kubernetes::{Account, KINDS, More, Wanted};
use gantry_scheduler::domain::app::Home;
use gantry_scheduler::domain::cluster::ClusterSettings;
use gantry_scheduler::domain::document::{Document, Reading};
use gantry_scheduler::domain::kubernetes::cluster::{Place, Sets, objects, space};
use gantry_scheduler::domain::model::{Model, Outside};
use gantry_scheduler::domain::{compose, kubernetes};
use gantry_servers::Need;
use serde_json::Value;

const VERSIONS: [u32; 2] = [28, 36];
const MORE: More = More { scheduler: true, roles: true };
/// Known elsewhere.
const WITHOUT_SCHEMA: [&str; 1] = ["HTTPRoute"];

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Applications, by name: one with everything that can be said, and files that people wrote.
fn models() -> BTreeMap<String, Model> {
    let whole = |reading: Reading, of: &str| {
        assert!(!reading.remarks.any_wrong(), "{of}: {:#?}", reading.remarks.into_list());
        reading.finish(true).unwrap().model
    };
    let mut everything = whole(kubernetes::read(&Document::alone(include_str!("everything.yaml"))), "everything.yaml");
    everything.outside.insert(name("bank"), Outside { address: "10.9.8.7".into(), ports: BTreeSet::from([443, 8443]) });
    everything.outside.insert(name("bank6"), Outside { address: "fd00::7".into(), ports: BTreeSet::from([443]) });
    let awkward = include_str!("../../src/domain/export/awkward.yaml");
    let mut all =
        BTreeMap::from([("everything".to_owned(), everything), ("awkward".to_owned(), whole(kubernetes::read(&Document::alone(awkward)), "awkward.yaml"))]);
    let fixtures = Path::new("/work/shared/fixtures");
    let part = |file: &str| std::fs::read_to_string(fixtures.join(format!("kubernetes/{file}.yaml"))).ok();
    for (of, parts) in [
        ("cassandra", &["cassandra-statefulset", "cassandra-service"][..]),
        ("tensorflow", &["tensorflow-deployment", "tensorflow-pvc", "tensorflow-ingress"][..]),
    ] {
        let texts: Vec<String> = parts.iter().filter_map(|p| part(p)).collect();
        if let Some((first, rest)) = texts.split_first() {
            all.insert(of.to_owned(), whole(kubernetes::read(&Document { overrides: rest, ..Document::alone(first) }), of));
        }
    }
    for kind in ["kubernetes", "compose"] {
        let Ok(entries) = std::fs::read_dir(fixtures.join(kind)) else {
            println!("{} is not here: passed by", fixtures.join(kind).display());
            continue;
        };
        let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let document = Document::alone(&text);
            let reading = if kind == "compose" { compose::read(&document) } else { kubernetes::read(&document) };
            // A part of an application without the others, and what needs files beside it, is none.
            if let Ok(parsed) = reading.finish(true) {
                all.insert(format!("{kind}-{}", file.file_stem().unwrap().to_string_lossy()), parsed.model);
            }
        }
    }
    all
}

/// What is sent to a cluster of this version.
fn sent(minor: u32) -> Vec<Value> {
    let id = Uuid::from_u128(7);
    let home =
        Home { org: OrgId(id), project: ProjectId(id), space: SpaceId(id), org_name: name("acme"), project_name: name("shop"), space_name: name("test") };
    let quota =
        BTreeMap::from([("requests.cpu".to_owned(), "20".to_owned()), ("pods".to_owned(), "200".to_owned()), ("limits.memory".to_owned(), "64Gi".to_owned())]);
    let plain = ClusterSettings { space_quota: quota, ingress_class: "nginx".into(), storage_class: "slow".into(), ..ClusterSettings::default() };
    let routed =
        ClusterSettings { gateway: "infra/public".into(), isolate: false, roles: true, pod_security: "restricted".into(), ..ClusterSettings::default() };
    let (app_name, scale, restarts, held) = (name("store"), BTreeMap::from([(name("web"), 4)]), BTreeMap::from([(name("web"), 42)]), BTreeSet::new());
    let mut out = Vec::new();
    for settings in [&plain, &routed] {
        out.extend(Wanted::new("c1", "space", space(&home, settings, 100, 1 << 27)).bodies().cloned());
        for model in models().values() {
            let plain: BTreeSet<Name> = model.services.iter().map(|s| s.name.clone()).collect();
            let place = Place {
                app: AppId(id),
                app_name: &app_name,
                home: &home,
                scope: "c1",
                revision: 3,
                settings,
                gateway: !settings.gateway.is_empty(),
                route_timeouts: true,
                minor,
                scale: &scale,
                restarts: &restarts,
                plain: &plain,
                pull: Some("{\"auths\":{}}"),
                held: &held,
                unchanged: &BTreeMap::new(),
            };
            out.extend(Wanted::new("c1", "app", objects(model, &place, &Sets::default())).bodies().cloned());
        }
    }
    out
}

/// What the validator complains about. `more`: YAML.
fn complaints(program: &Path, folder: &Path, minor: u32, all: &[Value], more: &str) -> Vec<String> {
    let mut arguments = vec!["--strict".to_owned(), "--quiet".to_owned(), "-k".to_owned(), format!("1.{minor}")];
    for (n, object) in all.iter().enumerate() {
        let file = folder.join(format!("{minor}-{n}-{}-{}.json", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap()));
        std::fs::write(&file, object.to_string()).unwrap();
        arguments.push(file.display().to_string());
    }
    if !more.is_empty() {
        let file = folder.join("more.yaml");
        std::fs::write(&file, more).unwrap();
        arguments.push(file.display().to_string());
    }
    let output = Command::new(program).args(&arguments).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said: Vec<String> = said.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect();
    assert_eq!(output.status.success(), said.iter().all(|l| l.starts_with("WARN")), "{said:#?}");
    said
}

/// The schemas say nothing of names.
#[test]
fn every_name_is_one_that_an_api_server_takes() {
    let label = |text: &str| {
        let inner = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        inner && !text.is_empty() && text.len() <= 63 && !text.starts_with('-') && !text.ends_with('-')
    };
    for object in sent(VERSIONS[1]) {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        let dots = !matches!(kind, "Service" | "Namespace");
        assert!(if dots { name.split('.').all(label) } else { label(name) }, "{kind}/{name}");
        let template = if kind == "CronJob" { &object["spec"]["jobTemplate"]["spec"]["template"] } else { &object["spec"]["template"] };
        for list in ["volumes", "containers", "initContainers"] {
            for one in template["spec"][list].as_array().into_iter().flatten() {
                assert!(label(one["name"].as_str().unwrap()), "{kind}/{name}: {}", one["name"]);
            }
        }
    }
}

/// Nor of items of a list that an apply cannot tell apart, and of two of what there may be one of.
#[test]
fn every_object_is_one_that_can_be_applied() {
    for minor in VERSIONS {
        for object in sent(minor) {
            let kind = KINDS.iter().find(|k| object["kind"] == k.kind).expect("a kind");
            assert_eq!(gantry_testkit::kubernetes::refused(kind.plural, &object), None, "{}/{}", kind.kind, object["metadata"]["name"]);
        }
    }
}

#[test]
fn every_object_keeps_to_the_schemas_of_the_oldest_and_the_newest_version() {
    let program = match Need::KubernetesValidate.find() {
        Ok(found) => found.path,
        Err(why) => {
            println!("skipped: kubernetes-validate is {why} (`make test` as root installs it)");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    for minor in VERSIONS {
        let mut all = sent(minor);
        let kinds: BTreeSet<&str> = all.iter().map(|o| o["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, KINDS.iter().map(|k| k.kind).collect::<BTreeSet<&str>>(), "each kind that is made is among them");
        all.retain(|o| !WITHOUT_SCHEMA.contains(&o["kind"].as_str().unwrap()));
        // Several applications make the same Namespace and the like.
        let mut seen = BTreeSet::new();
        all.retain(|o| seen.insert(o.to_string()));
        let manifest = gantry_kubernetes::manifest(&Account::default(), MORE);
        assert_eq!(complaints(&program, folder.path(), minor, &all, &manifest), Vec::<String>::new());
    }
    // It does look: a field that is none, and one of a later version.
    let wrong: Value = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dota": {}});
    let later = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "lifecycle": {"stopSignal": "SIGUSR1"}}]}});
    assert!(complaints(&program, folder.path(), 36, &[wrong], "")[0].contains("dota"));
    assert!(complaints(&program, folder.path(), 28, std::slice::from_ref(&later), "")[0].contains("stopSignal"));
    assert!(complaints(&program, folder.path(), 36, &[later], "").is_empty());
}
