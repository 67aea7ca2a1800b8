//! How workloads are reached, and what they reach: the ports that are open to everybody, routes, and names of what runs elsewhere.

use std::collections::BTreeMap;

use gantry_kernel::Name;
use serde_json::{Value, json};

use super::Place;
use crate::domain::kubernetes::export;
use crate::domain::model::{Model, Protocol, Service};

/// Lets everybody reach the ports that are published or routed.
pub(super) fn opened(name: &Name, of: &[&Service], labels: &BTreeMap<String, String>) -> Option<Value> {
    let ports: Vec<Value> = of
        .iter()
        .filter(|s| s.port > 0 && (s.publish.is_some() || !s.routes.is_empty()))
        .map(|s| json!({ "port": s.port, "protocol": if s.protocol == Protocol::Udp { "UDP" } else { "TCP" } }))
        .collect();
    if ports.is_empty() {
        return None;
    }
    let spec = json!({ "podSelector": { "matchLabels": labels }, "policyTypes": ["Ingress"], "ingress": [{ "ports": ports }] });
    Some(export::object("networking.k8s.io/v1", "NetworkPolicy", &format!("{name}-open"), vec![("spec", spec)]))
}

/// HTTPRoutes that join the cluster's gateway where there is one, else Ingresses of what those can say.
pub(super) fn routes(model: &Model, place: &Place<'_>) -> Vec<Value> {
    let mut out = Vec::new();
    if let Some((space, gateway)) = place.settings.gateway.split_once('/').filter(|_| place.gateway) {
        for (n, service) in model.services.iter().enumerate() {
            for (r, route) in service.routes.iter().enumerate() {
                let mut spec = export::http_route(service, route);
                if !place.route_timeouts {
                    // A route with a field that the cluster's schema has not is refused as a whole.
                    spec["rules"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut).for_each(|rule| drop(rule.remove("timeouts")));
                }
                spec["parentRefs"] = json!([{ "namespace": space, "name": gateway }]);
                out.push(export::object("gateway.networking.k8s.io/v1", "HTTPRoute", &format!("{}-{n}-{r}", service.name), vec![("spec", spec)]));
            }
        }
        return out;
    }
    for mut object in export::routes(model).into_iter().filter(|o| o["kind"] == "Ingress") {
        if !place.settings.ingress_class.is_empty() {
            object["spec"]["ingressClassName"] = place.settings.ingress_class.as_str().into();
        }
        out.push(object);
    }
    out
}

/// What runs elsewhere: a name for a name, and endpoints for an address.
pub(super) fn outside(model: &Model) -> Vec<Value> {
    let mut out = Vec::new();
    for (name, other) in &model.outside {
        let port = |p: &u16| json!({ "port": p, "name": format!("p{p}"), "protocol": "TCP" });
        let ports: Vec<Value> = other.ports.iter().map(port).collect();
        let Ok(ip) = other.address.parse::<std::net::IpAddr>() else {
            let mut spec = json!({ "type": "ExternalName", "externalName": other.address });
            if !ports.is_empty() {
                spec["ports"] = ports.into();
            }
            out.push(export::object("v1", "Service", name.as_str(), vec![("spec", spec)]));
            continue;
        };
        out.push(export::object(
            "v1",
            "Service",
            name.as_str(),
            vec![("spec", json!({ "ports": ports, "clusterIP": if ports.is_empty() { "None" } else { "" } }))],
        ));
        let mut slice = export::object("discovery.k8s.io/v1", "EndpointSlice", name.as_str(), Vec::new());
        slice["addressType"] = if ip.is_ipv6() { "IPv6" } else { "IPv4" }.into();
        slice["endpoints"] = json!([{ "addresses": [ip.to_string()], "conditions": { "ready": true } }]);
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
