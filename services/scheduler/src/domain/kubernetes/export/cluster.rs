//! A model as the objects that stand for it on a cluster: what an export has, under names and labels of the application, with
//! what the platform adds. Several applications share the namespace of their space, so every name begins with the
//! application's.

mod release;
mod roles;
mod stopping;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_kernel::{AppId, Name};
use gantry_kubernetes::{KEEP, OWNER, REVISION, SCOPE, WORKLOAD};
use serde_json::{Value, json};

use super::super::{of_bytes, of_millis};
use crate::domain::app::Home;
use crate::domain::cluster::ClusterSettings;
use crate::domain::model::{Config, EnvFact, Model, Service, Workload, WorkloadKind};

pub use release::{Sets, Shares, is_apart, pause, set_name, shared_service};

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
}

/// The application as its namespace's name.
pub fn namespace(home: &Home, settings: &ClusterSettings) -> String {
    short(&format!("{}{}-{}-{}", settings.namespace_prefix, home.org_name, home.project_name, home.space_name), 63)
}

/// `<app>-<name>`, short enough for what is made of it.
pub fn named(app: &Name, name: &str) -> String {
    short(&format!("{app}-{name}"), 52)
}

/// Of a job's object, before the application's name comes to it. `restarted`: the log's position of its last restart; 0: none.
pub fn job_name(name: &Name, revision: u64, restarted: i64) -> String {
    let restart = if restarted > 0 { format!("-{restarted}") } else { String::new() };
    format!("{}-r{revision}{restart}", short(name.as_str(), 30))
}

/// A longer one ends with a mark of the whole, so that no two become the same.
fn short(text: &str, most: usize) -> String {
    use sha2::{Digest, Sha256};
    if text.len() <= most {
        return text.to_owned();
    }
    let mark = hex::encode(&Sha256::digest(text.as_bytes())[..4]);
    let head = text[..most - 9].trim_end_matches('-');
    format!("{head}-{mark}")
}

/// What a space has for all of its applications.
pub fn space(home: &Home, settings: &ClusterSettings, default_cpu_millis: u32, default_memory_bytes: u64) -> Vec<Value> {
    let namespace = namespace(home, settings);
    let level = settings.pod_security.as_str();
    let mut out = vec![json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": namespace, "labels": {
            "pod-security.kubernetes.io/enforce": level,
            "pod-security.kubernetes.io/warn": level,
            "gantry.io/org": home.org_name, "gantry.io/project": home.project_name, "gantry.io/space": home.space_name,
        } },
    })];
    let within = |api: &str, kind: &str, spec: Value| json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "gantry-space", "namespace": namespace }, "spec": spec });
    let requests = json!({ "cpu": of_millis(default_cpu_millis), "memory": of_bytes(default_memory_bytes) });
    out.push(within("v1", "LimitRange", json!({ "limits": [{ "type": "Container", "defaultRequest": requests }] })));
    if !settings.space_quota.is_empty() {
        out.push(within("v1", "ResourceQuota", json!({ "hard": settings.space_quota })));
    }
    if settings.isolate {
        // From the space itself, and from nowhere else; what is published or routed opens its own ports.
        let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "from": [{ "podSelector": {} }] }] });
        out.push(within("networking.k8s.io/v1", "NetworkPolicy", spec));
    }
    if settings.roles {
        out.extend(roles::bindings(home, settings, &namespace));
    }
    out
}

/// All objects of an application. `sets` says which of its revisions have the requests while there are several.
pub fn objects(model: &Model, place: &Place<'_>, sets: &Sets) -> Vec<Value> {
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
        out.extend(w.scaling.as_ref().map(|s| super::pod::scaling(name, w, s)));
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
    out.extend(routes(&model, place));
    for (name, volume) in model.volumes.iter().filter(|(n, v)| !templates.contains(n.as_str()) && v.external.is_none()) {
        let mut claim = super::object("v1", "PersistentVolumeClaim", name, vec![("spec", super::claim(volume))]);
        claim["metadata"]["annotations"][KEEP] = "until the application is deleted".into();
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

/// Of the Secret with our registry's credential: one that no Secret of the document has.
fn pull_name(model: &Model) -> String {
    let mut name = "pull".to_owned();
    while model.configs.iter().any(|(other, c)| c.secret && super::storage::plain(other) == name) {
        name.insert_str(0, "gantry-");
    }
    name
}

/// What of a name is no part of a Kubernetes label or annotation (kubernetes.io/docs/concepts/overview/working-with-objects/labels).
const UNFIT: &str = "gantry.io/labels";

fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    text.is_empty() || (text.len() <= 63 && inner && ends(text.chars().next()) && ends(text.chars().last()))
}

fn is_key(text: &str) -> bool {
    let part = |p: &str| {
        let ends = !p.is_empty() && !p.starts_with('-') && !p.ends_with('-');
        ends && p.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(|p| p.len() <= 253 && p.split('.').all(part))
}

/// Labels as they can stand on a pod: those that Kubernetes does not take become annotations, and what has no key for it either
/// stands in one of ours.
fn put_labels(metadata: &mut Value, labels: &BTreeMap<String, String>) {
    let mut unfit = serde_json::Map::new();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        let wrong: Vec<String> = annotations.keys().filter(|key| !is_key(key)).cloned().collect();
        unfit.extend(wrong.into_iter().filter_map(|key| annotations.remove_entry(&key)));
    }
    for (key, value) in labels {
        match (is_key(key), is_label_value(value)) {
            (true, true) => metadata["labels"][key.as_str()] = value.as_str().into(),
            (true, false) => metadata["annotations"][key.as_str()] = value.as_str().into(),
            (false, _) => {
                unfit.insert(key.clone(), value.as_str().into());
            }
        }
    }
    if !unfit.is_empty() {
        metadata["annotations"][UNFIT] = Value::Object(unfit).to_string().into();
    }
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

fn finish_workload(object: &mut Value, name: &Name, w: &Workload, model: &Model, place: &Place<'_>) {
    let spec = &mut object["spec"];
    let pod = match w.kind {
        WorkloadKind::CronJob => &mut spec["jobTemplate"]["spec"]["template"],
        _ => &mut spec["template"],
    };
    let metadata = &mut pod["metadata"];
    put_labels(metadata, &w.labels);
    let own = [
        (SCOPE, place.scope.to_owned()),
        (OWNER, place.app.to_string()),
        (WORKLOAD, name.to_string()),
        (REVISION, place.revision.to_string()),
        ("gantry.io/application", place.app_name.to_string()),
        ("gantry.io/space", place.home.space_name.to_string()),
    ];
    for (key, value) in own {
        metadata["labels"][key] = value.into();
    }
    if let Some(position) = place.restarts.get(name) {
        metadata["annotations"]["gantry.io/restarted"] = position.to_string().into();
    }
    finish_pod(&mut pod["spec"], w, model, place);
    stopping::wait_for_balancers(&mut pod["spec"], name, w, model, place.minor);
    match w.kind {
        WorkloadKind::Stateless => {
            spec["revisionHistoryLimit"] = 2.into();
            if w.is_exchanged() {
                // Another one may take its place: until then it is spared by this.
                object["metadata"]["labels"][REVISION] = place.revision.to_string().into();
            }
        }
        WorkloadKind::Stateful => {
            spec["revisionHistoryLimit"] = 2.into();
            for claim in spec["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
                claim["metadata"]["labels"] = json!({ SCOPE: place.scope, OWNER: place.app.to_string() });
                claim["metadata"]["annotations"] = json!({ KEEP: "until the application is deleted" });
            }
        }
        WorkloadKind::Job => {
            // A job that is done cannot be changed: each revision has its own.
            object["metadata"]["name"] = job_name(name, place.revision, place.restarts.get(name).copied().unwrap_or(0)).into();
            // If the cluster took it away after its end, it would be made, and run, again.
            object["spec"].as_object_mut().map(|s| s.remove("ttlSecondsAfterFinished"));
        }
        WorkloadKind::Global | WorkloadKind::CronJob => {}
    }
}

fn finish_pod(pod: &mut Value, w: &Workload, model: &Model, place: &Place<'_>) {
    if matches!(w.kind, WorkloadKind::Job | WorkloadKind::CronJob) && pod["restartPolicy"].is_null() {
        pod["restartPolicy"] = "OnFailure".into();
    }
    if w.service_account.is_empty() {
        pod["automountServiceAccountToken"] = false.into();
    }
    if place.pull.is_some() {
        let secrets = pod["imagePullSecrets"].as_array().cloned().unwrap_or_default();
        pod["imagePullSecrets"] = std::iter::once(json!({ "name": pull_name(model) })).chain(secrets).collect();
    }
    if pod["securityContext"]["seccompProfile"].is_null() && !w.privileged {
        pod["securityContext"]["seccompProfile"] = json!({ "type": "RuntimeDefault" });
    }
    for list in ["containers", "initContainers"] {
        for container in pod[list].as_array_mut().into_iter().flatten() {
            let security = &mut container["securityContext"];
            let adds = security["capabilities"]["add"].as_array().is_some_and(|a| a.iter().any(|c| c == "SYS_ADMIN" || c == "CAP_SYS_ADMIN"));
            if security["allowPrivilegeEscalation"].is_null() && security["privileged"] != true && !adds {
                security["allowPrivilegeEscalation"] = false.into();
            }
        }
    }
    // A stop signal of one's own came with 1.33, for pods that name their system; before, the image's counts.
    for list in ["containers", "initContainers"] {
        let mut signals = false;
        for container in pod[list].as_array_mut().into_iter().flatten() {
            signals |= container["lifecycle"]["stopSignal"].is_string();
            if place.minor < 33
                && let Some(lifecycle) = container["lifecycle"].as_object_mut()
            {
                lifecycle.remove("stopSignal");
            }
        }
        if signals && place.minor >= 33 {
            pod["os"] = json!({ "name": "linux" });
        }
    }
    // Volumes that belong to nobody here keep their own names.
    for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
        let claim = volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned);
        if let Some(external) = claim.and_then(|name| model.volumes.get(&name)).and_then(|v| v.external.clone()) {
            volume["persistentVolumeClaim"]["claimName"] = external.into();
        }
    }
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

/// Lets everybody reach the ports that are published or routed.
fn opened(name: &Name, of: &[&Service], labels: &BTreeMap<String, String>) -> Option<Value> {
    let ports: Vec<Value> = of
        .iter()
        .filter(|s| s.port > 0 && (s.publish.is_some() || !s.routes.is_empty()))
        .map(|s| json!({ "port": s.port, "protocol": if s.protocol == crate::domain::model::Protocol::Udp { "UDP" } else { "TCP" } }))
        .collect();
    if ports.is_empty() {
        return None;
    }
    let spec = json!({ "podSelector": { "matchLabels": labels }, "policyTypes": ["Ingress"], "ingress": [{ "ports": ports }] });
    Some(super::object("networking.k8s.io/v1", "NetworkPolicy", &format!("{name}-open"), vec![("spec", spec)]))
}

/// HTTPRoutes that join the cluster's gateway where there is one, else Ingresses of what those can say.
fn routes(model: &Model, place: &Place<'_>) -> Vec<Value> {
    let mut out = Vec::new();
    if let Some((space, gateway)) = place.settings.gateway.split_once('/').filter(|_| place.gateway) {
        for (n, service) in model.services.iter().enumerate() {
            for (r, route) in service.routes.iter().enumerate() {
                let mut spec = super::http_route(service, route);
                spec["parentRefs"] = json!([{ "namespace": space, "name": gateway }]);
                out.push(super::object("gateway.networking.k8s.io/v1", "HTTPRoute", &format!("{}-{n}-{r}", service.name), vec![("spec", spec)]));
            }
        }
        return out;
    }
    for mut object in super::routes(model).into_iter().filter(|o| o["kind"] == "Ingress") {
        if !place.settings.ingress_class.is_empty() {
            object["spec"]["ingressClassName"] = place.settings.ingress_class.as_str().into();
        }
        out.push(object);
    }
    out
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

/// What runs elsewhere: a name for a name, and endpoints for an address.
fn outside(model: &Model) -> Vec<Value> {
    let mut out = Vec::new();
    for (name, other) in &model.outside {
        let port = |p: &u16| json!({ "port": p, "name": format!("p{p}"), "protocol": "TCP" });
        let ports: Vec<Value> = other.ports.iter().map(port).collect();
        let Ok(ip) = other.address.parse::<std::net::IpAddr>() else {
            let mut spec = json!({ "type": "ExternalName", "externalName": other.address });
            if !ports.is_empty() {
                spec["ports"] = ports.into();
            }
            out.push(super::object("v1", "Service", name.as_str(), vec![("spec", spec)]));
            continue;
        };
        out.push(super::object(
            "v1",
            "Service",
            name.as_str(),
            vec![("spec", json!({ "ports": ports, "clusterIP": if ports.is_empty() { "None" } else { "" } }))],
        ));
        let mut slice = super::object("discovery.k8s.io/v1", "EndpointSlice", name.as_str(), Vec::new());
        slice["addressType"] = if ip.is_ipv6() { "IPv6" } else { "IPv4" }.into();
        slice["endpoints"] = json!([{ "addresses": [other.address], "conditions": { "ready": true } }]);
        slice["ports"] = ports.into();
        slice["metadata"]["labels"]["kubernetes.io/service-name"] = name.as_str().into();
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "gantry".into();
        out.push(slice);
    }
    for service in out.iter_mut().filter(|o| o["kind"] == "Service") {
        if service["spec"]["clusterIP"] == "" {
            service["spec"].as_object_mut().map(|s| s.remove("clusterIP"));
        }
    }
    out
}

/// Puts the application's name before every object's, and wherever one names another.
fn rename_all(objects: &mut [Value], app: &Name) {
    let known: BTreeSet<(String, String)> =
        objects.iter().filter_map(|o| Some((o["kind"].as_str()?.to_owned(), o["metadata"]["name"].as_str()?.to_owned()))).collect();
    for object in objects.iter_mut() {
        if let Some(name) = object["metadata"]["name"].as_str() {
            object["metadata"]["name"] = named(app, name).into();
        }
        if let Some(service) = object["metadata"]["labels"]["kubernetes.io/service-name"].as_str() {
            object["metadata"]["labels"]["kubernetes.io/service-name"] = named(app, service).into();
        }
        rename(object, &|kind, name| known.contains(&(kind.to_owned(), name.to_owned())).then(|| named(app, name)));
    }
}

/// Wherever an object names another, by its kind and name: `new` gives the name that it has now.
fn rename(value: &mut Value, new: &dyn Fn(&str, &str) -> Option<String>) {
    let renamed = |kind: &str, text: &mut Value| {
        if let Some(name) = text.as_str().and_then(|name| new(kind, name)) {
            *text = name.into();
        }
    };
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields.iter_mut() {
                match key.as_str() {
                    "claimName" => renamed("PersistentVolumeClaim", inner),
                    "secretName" => renamed("Secret", inner),
                    "serviceName" => renamed("Service", inner),
                    "labels" | "annotations" | "matchLabels" | "data" | "binaryData" => {}
                    "configMap" | "configMapKeyRef" | "configMapRef" if inner["name"].is_string() => renamed("ConfigMap", &mut inner["name"]),
                    "secret" | "secretKeyRef" | "secretRef" if inner["name"].is_string() => renamed("Secret", &mut inner["name"]),
                    "service" if inner["name"].is_string() => renamed("Service", &mut inner["name"]),
                    "backendRefs" => inner.as_array_mut().into_iter().flatten().filter(|b| b.is_object()).for_each(|b| renamed("Service", &mut b["name"])),
                    "imagePullSecrets" => inner.as_array_mut().into_iter().flatten().filter(|s| s.is_object()).for_each(|s| renamed("Secret", &mut s["name"])),
                    "scaleTargetRef" if inner.is_object() => {
                        let kind = inner["kind"].as_str().unwrap_or_default().to_owned();
                        renamed(&kind, &mut inner["name"]);
                    }
                    _ => rename(inner, new),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, new)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
