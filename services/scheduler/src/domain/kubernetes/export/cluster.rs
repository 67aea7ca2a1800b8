//! A model as the objects that stand for it on a cluster: what an export has, under names and labels of the application, with
//! what the platform adds. Several applications share the namespace of their space, so every name begins with the
//! application's.

mod labels;
mod measured;
mod naming;
mod older;
mod pods;
mod quota;
mod reach;
mod release;
mod roles;
mod said;
mod security;
mod space;
mod stopping;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_kernel::{AppId, Name};
use gantry_kubernetes::{KEEP, OPEN_CLASS, OWNER, WORKLOAD};
use serde_json::{Value, json};

use crate::domain::app::Home;
use crate::domain::cluster::ClusterSettings;
use crate::domain::model::{Config, EnvFact, Model, Service, Workload};

pub use naming::{job_name, named, namespace};
pub use older::TOGETHER;
pub use release::{Sets, Shares, is_apart, pause, set_name, shared_service};
pub use space::space;
pub use stopping::Unchanged;

use labels::is_label_value;
use naming::rename_all;
use pods::finish_workload;
use reach::{opened, outside, routes};

/// Where the application stands, and how.
pub struct Place<'a> {
    pub app: AppId,
    pub app_name: &'a Name,
    pub home: &'a Home,
    /// Of the cluster, over all of its imports: it stands in fields that cannot be changed.
    pub scope: &'a str,
    pub revision: u64,
    pub settings: &'a ClusterSettings,
    /// The cluster has HTTPRoutes.
    pub gateway: bool,
    /// And they have time limits.
    pub route_timeouts: bool,
    /// Of Kubernetes 1.<minor>.
    pub minor: u32,
    /// Replicas set by hand.
    pub scale: &'a BTreeMap<Name, u32>,
    /// The log's position of each workload's last restart.
    pub restarts: &'a BTreeMap<Name, i64>,
    /// Services that may also be called by their name alone in the space: no other application was there before with the same.
    pub plain: &'a BTreeSet<Name>,
    /// `.dockerconfigjson`, if there are images of ours.
    pub pull: Option<&'a str>,
    /// Workloads that are not made yet, because what they depend on is not there.
    pub held: &'a BTreeSet<Name>,
    /// Workloads whose pods of this revision are there already.
    pub unchanged: &'a BTreeMap<Name, Unchanged>,
}

/// All objects of an application. `sets` says which of its revisions have the requests while there are several.
pub fn objects(model: &Model, place: &Place<'_>, sets: &Sets) -> Vec<Value> {
    // A claim without a class of its own keeps the one that it was made with, whatever the cluster's settings say later.
    let classless: BTreeSet<&String> = model.volumes.iter().filter(|(_, v)| v.class.is_empty()).map(|(name, _)| name).collect();
    let mut model = prepared(model, place);
    let previews = release::show_previews(&mut model);
    let by_its_name = |name: &Name| place.plain.contains(name) || previews.iter().any(|(of, preview)| preview == name && place.plain.contains(of));
    let namespace = namespace(place.home, place.settings);
    let labels: BTreeMap<Name, BTreeMap<String, String>> = model.workloads.keys().map(|n| (n.clone(), chosen_by(place, n))).collect();
    let mut out = Vec::new();
    let templates = super::templates(&model);
    for (name, w) in model.workloads.iter().filter(|(n, _)| !place.held.contains(*n)) {
        let mut object = super::workload(name, w, &labels[name], &model);
        finish_workload(&mut object, name, w, &model, place);
        out.push(object);
        out.extend(w.scaling.as_ref().map(|s| {
            let mut autoscaler = super::scaling::scaling(name, w, s);
            if s.min == 0 {
                // To none it goes only by a feature that is off (HPAScaleToZero).
                autoscaler["spec"]["minReplicas"] = 1.into();
            }
            autoscaler
        }));
        out.extend(budget(name, w, &labels[name]));
    }
    let mut names: Vec<&Name> = Vec::new();
    for service in &model.services {
        if !names.contains(&&service.name) {
            names.push(&service.name);
        }
    }
    let mut plain = Vec::new();
    for name in names {
        let of: Vec<&Service> = model.services.iter().filter(|s| s.name == *name).collect();
        let Some(labels) = labels.get(&of[0].workload) else { continue };
        let mut object = super::service(name, &of, labels);
        said::of_service(&mut object);
        if of.iter().all(|s| s.port == 0) {
            // The name alone: a Service without ports has to be headless.
            object["spec"]["clusterIP"] = "None".into();
        }
        if by_its_name(name) && of.iter().any(|s| s.port > 0) {
            let mut by_name = object.clone();
            // Reached from inside of the space only; from outside the application's own name for it is.
            if let Some(spec) = by_name["spec"].as_object_mut() {
                spec.remove("type");
                spec.remove("loadBalancerSourceRanges");
                for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                    port.as_object_mut().map(|p| p.remove("nodePort"));
                }
            }
            plain.push(by_name);
        }
        out.push(object);
        if place.settings.isolate {
            out.extend(opened(name, &of, labels));
        }
    }
    plain.extend(accounts(&model, place));
    out.extend(routes(&model, place));
    measured::name_routes(&mut out, &model);
    for (name, volume) in model.volumes.iter().filter(|(n, v)| !templates.contains(n.as_str()) && v.external.is_none()) {
        let mut claim = super::object("v1", "PersistentVolumeClaim", name, vec![("spec", super::claim(volume))]);
        claim["metadata"]["annotations"][KEEP] = "until the application is deleted".into();
        if classless.contains(name) {
            claim["metadata"]["annotations"][OPEN_CLASS] = "the cluster's choice".into();
        }
        out.push(claim);
    }
    out.extend(model.configs.iter().map(|(name, c)| config(name, c)));
    out.extend(super::loose_files(&model));
    let policy =
        |(name, p): (&String, &crate::domain::model::Policy)| super::object("networking.k8s.io/v1", "NetworkPolicy", name, vec![("spec", super::policy(p))]);
    out.extend(model.policies.iter().map(policy));
    out.extend(outside(&model));
    if let Some(pull) = place.pull {
        let mut secret = super::object("v1", "Secret", &pull_name(&model), Vec::new());
        secret["type"] = "kubernetes.io/dockerconfigjson".into();
        secret["data"] = json!({ ".dockerconfigjson": STANDARD.encode(pull) });
        out.push(secret);
    }
    release::divide(&mut out, &mut plain, &model, place, sets);
    rename_all(&mut out, place.app_name);
    // By their names alone, as the document calls them.
    out.extend(plain);
    for object in &mut out {
        object["metadata"]["namespace"] = namespace.as_str().into();
        object["metadata"]["labels"]["gantry.io/application"] = place.app_name.as_str().into();
    }
    out
}

/// Accounts that workloads name, called as they say: others may have bound rights to one, or have made it. Its token is for pods
/// that ask for it.
fn accounts(model: &Model, place: &Place<'_>) -> Vec<Value> {
    let of = model.workloads.iter().filter(|(name, _)| !place.held.contains(*name)).map(|(_, w)| w.service_account.as_str());
    // Every namespace has that one.
    let named: BTreeSet<&str> = of.filter(|account| !matches!(*account, "" | "default")).collect();
    named.into_iter().map(|account| super::object("v1", "ServiceAccount", account, vec![("automountServiceAccountToken", false.into())])).collect()
}

/// Of the Secret with our registry's credential: one that no Secret of the document has.
fn pull_name(model: &Model) -> String {
    let mut name = "pull".to_owned();
    while model.configs.iter().any(|(other, c)| c.secret && super::storage::plain(other) == name) {
        name.insert_str(0, "gantry-");
    }
    name
}

fn chosen_by(place: &Place<'_>, workload: &Name) -> BTreeMap<String, String> {
    BTreeMap::from([(OWNER.to_owned(), place.app.to_string()), (WORKLOAD.to_owned(), workload.to_string())])
}

/// As the engine runs it: images by digest, facts that the cluster knows, replicas as they are set.
fn prepared(model: &Model, place: &Place<'_>) -> Model {
    let mut model = model.clone();
    for (name, w) in &mut model.workloads {
        if let Some(replicas) = place.scale.get(name) {
            w.replicas = *replicas;
        }
        w.image = w.pinned.clone().unwrap_or_else(|| w.image.clone());
        let labels = w.labels.clone();
        let facts = |facts: &mut BTreeMap<String, EnvFact>| {
            for fact in facts.values_mut() {
                match fact {
                    EnvFact::Label(label) if labels.get(label.as_str()).is_some_and(|value| !is_label_value(value)) => {
                        *fact = EnvFact::Annotation(std::mem::take(label));
                    }
                    EnvFact::Application => *fact = EnvFact::Label("gantry.io/application".into()),
                    EnvFact::Workload => *fact = EnvFact::Label(WORKLOAD.into()),
                    EnvFact::Space => *fact = EnvFact::Label("gantry.io/space".into()),
                    _ => {}
                }
            }
        };
        facts(&mut w.env_facts);
        for c in w.others_mut() {
            c.image = c.pinned.clone().unwrap_or_else(|| c.image.clone());
            facts(&mut c.env_facts);
        }
    }
    for volume in model.volumes.values_mut().filter(|v| v.class.is_empty()) {
        volume.class.clone_from(&place.settings.storage_class);
    }
    model
}

fn budget(name: &Name, w: &Workload, labels: &BTreeMap<String, String>) -> Option<Value> {
    let budget = w.budget.as_ref()?;
    let amount = |text: &String| text.parse::<u32>().map_or_else(|_| Value::from(text.as_str()), Value::from);
    let mut spec = json!({ "selector": { "matchLabels": labels } });
    if let Some(least) = &budget.min_available {
        spec["minAvailable"] = amount(least);
    } else if let Some(most) = &budget.max_unavailable {
        spec["maxUnavailable"] = amount(most);
    }
    if !budget.unhealthy.is_empty() {
        spec["unhealthyPodEvictionPolicy"] = budget.unhealthy.as_str().into();
    }
    Some(super::object("policy/v1", "PodDisruptionBudget", name.as_str(), vec![("spec", spec)]))
}

/// Plain texts of a secret are encoded: what is only written cannot be compared.
fn config(name: &str, c: &Config) -> Value {
    let mut object = super::config(name, c);
    if c.secret {
        let mut data = object["data"].take().as_object().cloned().unwrap_or_default();
        for (key, text) in &c.entries {
            data.insert(key.clone(), STANDARD.encode(text).into());
        }
        if let Some(fields) = object.as_object_mut() {
            fields.remove("stringData");
            fields.insert("data".into(), Value::Object(data));
        }
    }
    object
}

#[cfg(test)]
mod tests;
