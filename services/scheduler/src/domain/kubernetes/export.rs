//! A model as Kubernetes manifests: one document per object.

pub mod cluster;
mod pod;
mod policies;
mod scaling;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_kernel::Name;
use serde_json::{Map, Value, json};

use super::{MODEL, of_bytes, storage};
use crate::domain::document::Document;
use crate::domain::export::Fields;
use crate::domain::model::{Config, Model, MountKind, Overlap, Service, Volume, Workload, WorkloadKind};
use crate::domain::{patch, yaml};

pub use pod::host_name;

use policies::policy;
use services::{http_route, routes, service};

pub fn export(model: &Model) -> String {
    let mut objects = objects(model);
    let read = super::read(&Document::alone(&text(&objects))).model;
    if let Some(change) = patch::between(&read, model)
        && let Some(first) = objects.first_mut()
    {
        first["metadata"]["annotations"][MODEL] = change.to_string().into();
    }
    text(&objects)
}

fn text(objects: &[Value]) -> String {
    objects.iter().map(yaml::to_yaml).collect::<Vec<_>>().join("---\n")
}

fn object(api: &str, kind: &str, name: &str, rest: Vec<(&str, Value)>) -> Value {
    let mut out = Map::new();
    out.insert("apiVersion".into(), api.into());
    out.insert("kind".into(), kind.into());
    out.insert("metadata".into(), json!({ "name": name }));
    out.extend(rest.into_iter().map(|(k, v)| (k.to_owned(), v)));
    Value::Object(out)
}

/// Workloads first: the first object carries what Kubernetes has no word for.
fn objects(model: &Model) -> Vec<Value> {
    let mut out = Vec::new();
    let labels = labels(model);
    for (name, w) in &model.workloads {
        out.push(workload(name, w, &labels[name], model));
        out.extend(w.scaling.as_ref().map(|s| scaling::scaling(name, w, s)));
        if let Some(budget) = &w.budget {
            let mut spec = Fields::default();
            spec.put("selector", json!({ "matchLabels": labels[name] }));
            for (key, text) in [("minAvailable", &budget.min_available), ("maxUnavailable", &budget.max_unavailable)] {
                spec.put(key, text.as_deref().map(|t| t.parse::<u32>().map_or_else(|_| Value::from(t), Value::from)));
            }
            spec.put("unhealthyPodEvictionPolicy", budget.unhealthy.as_str());
            out.push(object("policy/v1", "PodDisruptionBudget", name.as_str(), vec![("spec", spec.into())]));
        }
    }
    let mut names: Vec<&Name> = Vec::new();
    for service in &model.services {
        if !names.contains(&&service.name) {
            names.push(&service.name);
        }
    }
    for name in names {
        let of: Vec<&Service> = model.services.iter().filter(|s| s.name == *name).collect();
        out.extend(labels.get(&of[0].workload).map(|labels| service(name, &of, labels)));
    }
    out.extend(routes(model));
    let templates: BTreeSet<&str> = templates(model);
    for (name, volume) in model.volumes.iter().filter(|(n, _)| !templates.contains(n.as_str())) {
        out.push(object("v1", "PersistentVolumeClaim", name, vec![("spec", claim(volume))]));
    }
    // What the space keeps is named, and not written down.
    out.extend(model.configs.iter().filter(|(_, c)| c.external.is_none()).map(|(name, c)| config(name, c)));
    out.extend(loose_files(model));
    out.extend(model.policies.iter().map(|(name, p)| object("networking.k8s.io/v1", "NetworkPolicy", name, vec![("spec", policy(p))])));
    for (name, outside) in &model.outside {
        let ports: Vec<Value> = outside.ports.iter().map(|p| json!({ "port": p, "name": format!("p{p}") })).collect();
        let mut spec = Fields::default();
        spec.put("type", "ExternalName");
        spec.put("externalName", outside.address.as_str());
        spec.put("ports", ports);
        out.push(object("v1", "Service", name.as_str(), vec![("spec", spec.into())]));
    }
    out
}

/// Labels by which each workload, and no other, is chosen.
fn labels(model: &Model) -> BTreeMap<Name, BTreeMap<String, String>> {
    let of = |(name, w): (&Name, &Workload)| {
        let chosen = |l: &BTreeMap<String, String>| model.workloads.values().filter(|o| l.iter().all(|(k, v)| o.labels.get(k) == Some(v))).count();
        let mut own = w.labels.clone();
        if own.is_empty() || chosen(&own) > 1 {
            own.insert("app.kubernetes.io/name".into(), name.to_string());
        }
        (name.clone(), own)
    };
    model.workloads.iter().map(of).collect()
}

/// Volumes that each number of a stateful workload has for itself.
fn templates(model: &Model) -> BTreeSet<&str> {
    let stateful = model.workloads.values().filter(|w| w.kind == WorkloadKind::Stateful);
    stateful.flat_map(|w| &w.mounts).filter(|m| m.kind == MountKind::Volume).map(|m| m.source.as_str()).filter(|s| model.volumes.contains_key(*s)).collect()
}

fn workload(name: &Name, w: &Workload, labels: &BTreeMap<String, String>, model: &Model) -> Value {
    let template = pod::template(name, w, labels, model);
    let selector = json!({ "matchLabels": labels });
    let u = &w.update;
    let mut spec = Fields::default();
    let (api, kind) = match w.kind {
        WorkloadKind::Stateless => {
            spec.set("replicas", w.replicas);
            spec.put("selector", selector);
            spec.put("strategy", json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": u.surge, "maxUnavailable": u.max_unavailable } }));
            spec.put("progressDeadlineSeconds", u.progress_deadline_seconds);
            spec.put("paused", u.manual);
            ("apps/v1", "Deployment")
        }
        WorkloadKind::Stateful => {
            spec.set("replicas", w.replicas);
            spec.put("selector", selector);
            spec.put("serviceName", model.services.iter().find(|s| s.workload == *name).map_or(name.as_str(), |s| s.name.as_str()));
            spec.put("podManagementPolicy", u.parallel.then_some("Parallel"));
            spec.put("updateStrategy", strategy(w));
            let mine = templates(model);
            let claims = w.mounts.iter().filter(|m| mine.contains(m.source.as_str()));
            let claims = claims.filter_map(|m| Some(json!({ "metadata": { "name": m.source }, "spec": claim(model.volumes.get(&m.source)?) })));
            spec.put("volumeClaimTemplates", claims.collect::<Vec<_>>());
            ("apps/v1", "StatefulSet")
        }
        WorkloadKind::Global => {
            spec.put("selector", selector);
            spec.put("updateStrategy", strategy(w));
            ("apps/v1", "DaemonSet")
        }
        WorkloadKind::Job => return object("batch/v1", "Job", name.as_str(), vec![("spec", job(w, template))]),
        WorkloadKind::CronJob => return cron(name, w, template),
    };
    spec.put("minReadySeconds", w.min_ready_seconds);
    spec.put("template", template);
    object(api, kind, name.as_str(), vec![("spec", spec.into())])
}

fn strategy(w: &Workload) -> Value {
    if w.update.manual {
        return json!({ "type": "OnDelete" });
    }
    let mut rolling = Fields::default();
    rolling.put("maxUnavailable", if w.update.max_unavailable == 1 { 0 } else { w.update.max_unavailable });
    // Only pods with numbers can be parted.
    rolling.put("partition", if w.kind == WorkloadKind::Stateful { w.update.partition } else { 0 });
    let mut out = Fields::default();
    out.put("type", "RollingUpdate");
    out.put("rollingUpdate", rolling);
    out.into()
}

fn job(w: &Workload, template: Value) -> Value {
    let job = w.job.clone().unwrap_or_default();
    let mut spec = Fields::default();
    spec.set("parallelism", if job.parallelism == 0 { w.replicas } else { job.parallelism });
    spec.set("completions", w.replicas);
    if let Some(retries) = job.retries {
        spec.set("backoffLimit", retries);
    }
    spec.put("activeDeadlineSeconds", job.deadline_seconds);
    if let Some(seconds) = job.keep_seconds {
        spec.set("ttlSecondsAfterFinished", seconds);
    }
    spec.put("completionMode", job.indexed.then_some("Indexed"));
    spec.put("suspend", job.suspended);
    spec.put("template", template);
    spec.into()
}

fn cron(name: &Name, w: &Workload, template: Value) -> Value {
    let schedule = w.schedule.clone().unwrap_or_default();
    let mut spec = Fields::default();
    spec.put("schedule", schedule.cron);
    spec.put("timeZone", schedule.time_zone);
    spec.put(
        "concurrencyPolicy",
        match schedule.overlap {
            Overlap::Allow => Value::Null,
            Overlap::Forbid => "Forbid".into(),
            Overlap::Replace => "Replace".into(),
        },
    );
    spec.put("suspend", schedule.suspended);
    for (key, number) in [
        ("startingDeadlineSeconds", schedule.start_within_seconds),
        ("successfulJobsHistoryLimit", schedule.keep_succeeded),
        ("failedJobsHistoryLimit", schedule.keep_failed),
    ] {
        if let Some(number) = number {
            spec.set(key, number);
        }
    }
    spec.put("jobTemplate", json!({ "spec": job(w, template) }));
    object("batch/v1", "CronJob", name.as_str(), vec![("spec", spec.into())])
}

fn claim(v: &Volume) -> Value {
    let mut spec = Fields::default();
    let access = if v.access.is_empty() { json!(["ReadWriteOnce"]) } else { json!(v.access) };
    spec.put("accessModes", access);
    spec.put("storageClassName", v.class.as_str());
    let size = if v.size_bytes > 0 { of_bytes(v.size_bytes) } else { "1Gi".into() };
    spec.put("resources", json!({ "requests": { "storage": size } }));
    spec.into()
}

fn config(name: &str, c: &Config) -> Value {
    let mut out = Fields::default();
    if c.secret {
        out.put("type", c.kind.as_str());
        out.put("stringData", json!(c.entries));
        out.put("data", json!(c.binary));
    } else {
        out.put("data", json!(c.entries));
        out.put("binaryData", json!(c.binary));
    }
    out.put("immutable", c.immutable);
    let Value::Object(rest) = Value::from(out) else { return Value::Null };
    let mut whole = object("v1", if c.secret { "Secret" } else { "ConfigMap" }, storage::plain(name), Vec::new());
    if let Value::Object(map) = &mut whole {
        map.extend(rest);
    }
    whole
}

/// Files that come from no config get one each per workload.
fn loose_files(model: &Model) -> Vec<Value> {
    let mut out = Vec::new();
    for (name, w) in &model.workloads {
        let (mut text, mut binary) = (Map::new(), Map::new());
        for (n, file) in w.files.iter().enumerate().filter(|(_, f)| f.source.is_empty()) {
            let into = if file.base64 { &mut binary } else { &mut text };
            into.insert(format!("file-{n}"), file.content.clone().into());
        }
        let encoded =
            |m: Map<String, Value>| -> Map<String, Value> { m.into_iter().map(|(k, v)| (k, STANDARD.encode(v.as_str().unwrap_or_default()).into())).collect() };
        if text.is_empty() && binary.is_empty() {
            continue;
        }
        let secret = w.files.iter().any(|f| f.source.is_empty() && f.secret);
        let mut data = Fields::default();
        if secret {
            let mut all = encoded(text);
            all.extend(binary);
            data.put("data", all);
        } else {
            data.put("data", text);
            data.put("binaryData", binary);
        }
        let Value::Object(rest) = Value::from(data) else { continue };
        let kind = if secret { "Secret" } else { "ConfigMap" };
        out.push(object("v1", kind, &pod::files_name(name), rest.iter().map(|(k, v)| (k.as_str(), v.clone())).collect()));
    }
    out
}
