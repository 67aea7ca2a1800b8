//! By what workloads are reached: Services, and routes as Ingresses or as HTTPRoutes of the Gateway API.

use std::collections::BTreeMap;

use gantry_kernel::Name;
use serde_json::{Value, json};

use super::object;
use super::policies::block;
use crate::domain::export::Fields;
use crate::domain::model::{Model, PathKind, Protocol, Route, Service};

pub fn service(name: &Name, of: &[&Service], labels: &BTreeMap<String, String>) -> Value {
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
        let plain = (s.protocol == Protocol::Http && s.routes.is_empty()).then_some("http");
        out.put("appProtocol", if s.protocol == Protocol::Http && s.h2 { Some("kubernetes.io/h2c") } else { plain });
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
pub fn routes(model: &Model) -> Vec<Value> {
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
            let tls = simple.iter().filter(|r| !r.tls_secret.is_empty()).map(|r| match r.host.as_str() {
                // That of all hosts; an empty name is none to a cluster.
                "" => json!({ "secretName": r.tls_secret }),
                host => json!({ "hosts": [host], "secretName": r.tls_secret }),
            });
            spec.put("tls", tls.collect::<Vec<_>>());
            out.push(object("networking.k8s.io/v1", "Ingress", &format!("{}-{n}", service.name), vec![("spec", spec.into())]));
        }
        for (r, route) in rich.iter().enumerate() {
            out.push(object("gateway.networking.k8s.io/v1", "HTTPRoute", &format!("{}-{n}-{r}", service.name), vec![("spec", http_route(service, route))]));
        }
    }
    out
}

pub fn http_route(service: &Service, route: &Route) -> Value {
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
        // What is matched as a whole has no prefix; a cluster refuses that.
        let path = match route.path_kind {
            PathKind::Exact => json!({ "type": "ReplaceFullPath", "replaceFullPath": route.rewrite }),
            PathKind::Prefix | PathKind::Pattern => json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": route.rewrite }),
        };
        filters.push(json!({ "type": "URLRewrite", "urlRewrite": { "path": path } }));
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

/// As the Gateway API writes a time (gateway-api.sigs.k8s.io/geps/gep-2257): each number has at most five digits.
fn duration(ms: u64) -> String {
    let (hours, minutes, seconds, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    let parts = [(hours.min(99_999), "h"), (minutes, "m"), (seconds, "s"), (rest, "ms")];
    parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_written_so_that_the_gateway_api_reads_them() {
        let told = [1_500, 100_000, 3_600_000, 7_261_001].map(super::duration);
        assert_eq!(told, ["1s500ms", "1m40s", "1h", "2h1m1s1ms"]);
    }
}
