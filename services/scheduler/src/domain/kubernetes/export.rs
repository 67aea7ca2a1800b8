//! A model as Kubernetes manifests: one document per object.

pub mod cluster;
mod pod;
mod scaling;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_kernel::Name;
use serde_json::{Map, Value, json};

use super::{MODEL, of_bytes, storage};
use crate::domain::document::Document;
use crate::domain::export::Fields;
use crate::domain::model::{Config, Model, MountKind, Overlap, PathKind, Policy, Protocol, Route, Selector, Service, Volume, Workload, WorkloadKind};
use crate::domain::{patch, yaml};

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
        out.extend(labels.get(&of[0].workload).map(|labels| self::service(name, &of, labels)));
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

fn service(name: &Name, of: &[&Service], labels: &BTreeMap<String, String>) -> Value {
    let mut spec = Fields::default();
    let published = |s: &&&Service| s.publish.is_some();
    let balanced = of.iter().filter(published).all(|s| s.publish.is_some_and(|p| p.wanted == s.called_at()));
    let public = of.iter().find_map(|s| s.address.as_ref());
    let kind = match (public.is_some() || of.iter().any(|s| s.publish.is_some()), balanced || public.is_some()) {
        (false, _) => None,
        (true, true) => Some("LoadBalancer"),
        (true, false) => Some("NodePort"),
    };
    spec.put("type", kind);
    spec.put("clusterIP", of[0].headless.then_some("None"));
    if of[0].balance == "source" {
        spec.put("sessionAffinity", "ClientIP");
        if of[0].sticky_seconds > 0 {
            spec.put("sessionAffinityConfig", json!({ "clientIP": { "timeoutSeconds": of[0].sticky_seconds } }));
        }
    }
    if kind == Some("LoadBalancer") {
        spec.put("loadBalancerSourceRanges", of[0].access.allow.iter().map(|network| block(network)).collect::<Vec<_>>());
    }
    if let Some(address) = public {
        spec.put("loadBalancerIP", address.ip.map(|ip| ip.to_string()));
        if of.iter().all(|s| s.publish.is_none()) {
            spec.set("allocateLoadBalancerNodePorts", false);
        }
    }
    spec.put("selector", json!(labels));
    let port = |s: &&Service| {
        let mut out = Fields::default();
        out.put("port", s.called_at());
        out.put("targetPort", if s.service_port > 0 { s.port } else { 0 });
        // With several ports each needs a name.
        let unnamed = s.port_name.is_empty() && of.len() > 1;
        out.put("name", if unnamed { format!("{}-{}", s.protocol.as_str(), s.called_at()) } else { s.port_name.clone() });
        out.put("protocol", (s.protocol == Protocol::Udp).then_some("UDP"));
        out.put("appProtocol", (s.protocol == Protocol::Http && s.routes.is_empty()).then_some("http"));
        let node_port = s.publish.map(|p| p.wanted).filter(|p| (30_000..32_768).contains(p) && kind == Some("NodePort"));
        out.put("nodePort", node_port.unwrap_or(0));
        Value::from(out)
    };
    spec.put("ports", of.iter().filter(|s| s.port > 0).map(port).collect::<Vec<_>>());
    let mut service = object("v1", "Service", name.as_str(), vec![("spec", spec.into())]);
    if let Some(pool) = public.map(|a| a.pool.as_str()).filter(|pool| !pool.is_empty()) {
        // Where MetalLB gives out addresses, its pools are meant.
        service["metadata"]["annotations"] = json!({ "gantry.io/address-pool": pool, "metallb.io/address-pool": pool });
    }
    service
}

/// Simple routes as one Ingress per service, others as HTTPRoutes.
fn routes(model: &Model) -> Vec<Value> {
    let mut out = Vec::new();
    let plain = |r: &&Route| {
        r.path_kind != PathKind::Pattern
            && r.headers.is_empty()
            && r.queries.is_empty()
            && r.method.is_empty()
            && r.weight.is_none()
            && r.rewrite.is_empty()
            && r.set_headers.is_empty()
            && r.timeout_ms == 0
    };
    for (n, service) in model.services.iter().enumerate() {
        let (simple, rich): (Vec<&Route>, Vec<&Route>) = service.routes.iter().partition(plain);
        if !simple.is_empty() {
            let rule = |r: &&Route| {
                let mut out = Fields::default();
                out.put("host", r.host.as_str());
                let kind = if r.path_kind == PathKind::Exact { "Exact" } else { "Prefix" };
                let backend = json!({ "service": { "name": service.name, "port": { "number": service.called_at() } } });
                out.put("http", json!({ "paths": [{ "path": r.path, "pathType": kind, "backend": backend }] }));
                Value::from(out)
            };
            let mut spec = Fields::default();
            spec.put("rules", simple.iter().map(rule).collect::<Vec<_>>());
            let tls = simple.iter().filter(|r| !r.tls_secret.is_empty()).map(|r| json!({ "hosts": [r.host], "secretName": r.tls_secret }));
            spec.put("tls", tls.collect::<Vec<_>>());
            out.push(object("networking.k8s.io/v1", "Ingress", &format!("{}-{n}", service.name), vec![("spec", spec.into())]));
        }
        for (r, route) in rich.iter().enumerate() {
            out.push(object("gateway.networking.k8s.io/v1", "HTTPRoute", &format!("{}-{n}-{r}", service.name), vec![("spec", http_route(service, route))]));
        }
    }
    out
}

fn http_route(service: &Service, route: &Route) -> Value {
    let values = |list: &[crate::domain::model::ValueMatch]| -> Vec<Value> {
        list.iter().map(|v| json!({ "type": if v.pattern { "RegularExpression" } else { "Exact" }, "name": v.name, "value": v.value })).collect()
    };
    let mut matched = Fields::default();
    let kind = match route.path_kind {
        PathKind::Prefix => "PathPrefix",
        PathKind::Exact => "Exact",
        PathKind::Pattern => "RegularExpression",
    };
    matched.put("path", json!({ "type": kind, "value": route.path }));
    matched.put("headers", values(&route.headers));
    matched.put("queryParams", values(&route.queries));
    matched.put("method", route.method.as_str());
    let mut filters = Vec::new();
    if !route.set_headers.is_empty() {
        let set: Vec<Value> = route.set_headers.iter().map(|(n, v)| json!({ "name": n, "value": v })).collect();
        filters.push(json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": set } }));
    }
    if !route.rewrite.is_empty() {
        filters.push(json!({ "type": "URLRewrite", "urlRewrite": { "path": { "type": "ReplacePrefixMatch", "replacePrefixMatch": route.rewrite } } }));
    }
    let mut backend = Fields::default();
    backend.put("name", service.name.as_str());
    backend.put("port", service.called_at());
    if let Some(weight) = route.weight {
        backend.set("weight", weight);
    }
    let mut rule = Fields::default();
    rule.put("matches", vec![Value::from(matched)]);
    rule.put("filters", filters);
    rule.put("backendRefs", vec![Value::from(backend)]);
    if route.timeout_ms > 0 {
        rule.put("timeouts", json!({ "request": duration(route.timeout_ms.into()) }));
    }
    let mut spec = Fields::default();
    spec.put("parentRefs", json!([{ "name": "gantry" }]));
    spec.put("hostnames", if route.host.is_empty() { Value::Null } else { json!([route.host]) });
    spec.put("rules", vec![Value::from(rule)]);
    spec.into()
}

/// A network as the API takes it: with its length, and nothing behind that (KEP-4858; newer servers refuse `192.0.2.7/24`).
fn block(network: &str) -> String {
    let (address, length) = network.split_once('/').map_or((network, None), |(address, length)| (address, length.parse::<u32>().ok()));
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            let length = length.unwrap_or(32).min(32);
            format!("{}/{length}", Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)))
        }
        Ok(IpAddr::V6(ip)) => {
            let length = length.unwrap_or(128).min(128);
            format!("{}/{length}", Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)))
        }
        // The cluster says what is wrong with it.
        Err(_) => network.to_owned(),
    }
}

/// As the Gateway API writes a time (gateway-api.sigs.k8s.io/geps/gep-2257): each number has at most five digits.
fn duration(ms: u64) -> String {
    let (hours, minutes, seconds, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    let parts = [(hours.min(99_999), "h"), (minutes, "m"), (seconds, "s"), (rest, "ms")];
    parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
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

pub(super) fn selector(s: &Selector) -> Value {
    let mut out = Fields::default();
    out.put("matchLabels", json!(s.labels));
    out.put("matchExpressions", pod::expressions(&s.matches, str::to_owned));
    out.into()
}

fn policy(p: &Policy) -> Value {
    let mut spec = Fields::default();
    spec.set("podSelector", selector(&p.selector));
    let mut types = Vec::new();
    for (key, kind, peers, rules) in [("ingress", "Ingress", "from", &p.ingress), ("egress", "Egress", "to", &p.egress)] {
        let Some(rules) = rules else { continue };
        types.push(kind);
        let one = |rule: &crate::domain::model::PolicyRule| {
            let mut out = Fields::default();
            let peer = |p: &crate::domain::model::Peer| {
                let mut out = Fields::default();
                if let Some(s) = &p.workloads {
                    out.set("podSelector", selector(s));
                }
                if let Some(s) = &p.spaces {
                    out.set("namespaceSelector", selector(s));
                }
                if !p.cidr.is_empty() {
                    let mut blocks = Fields::default();
                    blocks.put("cidr", block(&p.cidr));
                    blocks.put("except", json!(p.except.iter().map(|network| block(network)).collect::<Vec<_>>()));
                    out.put("ipBlock", blocks);
                }
                Value::from(out)
            };
            let port = |p: &crate::domain::model::PolicyPort| {
                let mut out = Fields::default();
                out.put("protocol", p.protocol.to_uppercase());
                out.put("port", p.port.parse::<u32>().map_or_else(|_| Value::from(p.port.as_str()), Value::from));
                out.put("endPort", p.end_port);
                Value::from(out)
            };
            out.put(peers, rule.peers.iter().map(peer).collect::<Vec<_>>());
            out.put("ports", rule.ports.iter().map(port).collect::<Vec<_>>());
            Value::from(out)
        };
        spec.set(key, rules.iter().map(one).collect::<Vec<_>>());
    }
    spec.set("policyTypes", json!(types));
    spec.into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_written_so_that_the_gateway_api_reads_them() {
        let told = [1_500, 100_000, 3_600_000, 7_261_001].map(super::duration);
        assert_eq!(told, ["1s500ms", "1m40s", "1h", "2h1m1s1ms"]);
    }

    #[test]
    fn networks_are_written_as_newer_servers_take_them() {
        let told = ["192.0.2.0/24", "192.0.2.7/24", "192.0.2.7", "0.0.0.0/0", "2001:DB8::7/32", "2001:db8::7", "::/0", "any"].map(super::block);
        let expected = ["192.0.2.0/24", "192.0.2.0/24", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8::7/128", "::/0", "any"];
        assert_eq!(told, expected);
    }
}
