//! Where the services of an application on a Kubernetes cluster are reached from outside, as the cluster has arranged it.

use gantry_kubernetes::Kind;
use serde_json::Value;

use super::view::EndpointBody;
use crate::adapters::clusters::Running;
use crate::domain::kubernetes::cluster;
use crate::domain::model::{Model, Protocol, Service};
use crate::domain::wanted::AppView;

/// Published ports: the load balancer's address once it has one, else the node port at the API server's host (every node has
/// it). Routes: their host, at the ports of the cluster's own ingress.
pub fn endpoints(model: &Model, view: &AppView, running: &Running) -> Vec<EndpointBody> {
    let namespace = cluster::namespace(&view.home, &running.settings);
    let mut out = Vec::new();
    for service in &model.services {
        if service.publish.is_some()
            && let Some(kind) = Kind::of("v1", "Service")
            && let Some(object) = running.engine.object(kind, &namespace, &cluster::named(&view.name, service.name.as_str()))
            && let Some((host, port)) = published(service, &object, running.engine.client().server())
        {
            let scheme = if service.protocol == Protocol::Udp { "udp" } else { "http" };
            out.push(EndpointBody { service: service.name.to_string(), url: format!("{scheme}://{host}:{port}"), host, port, protocol: service.protocol });
        }
        for route in service.routes.iter().filter(|r| !r.host.is_empty()) {
            let (scheme, port) = if route.tls_secret.is_empty() { ("http", 80) } else { ("https", 443) };
            let url = format!("{scheme}://{}{}", route.host, route.path);
            out.push(EndpointBody { service: service.name.to_string(), host: route.host.clone(), port, protocol: Protocol::Http, url });
        }
    }
    out
}

fn published(service: &Service, object: &Value, server: &str) -> Option<(String, u16)> {
    let balancer = &object["status"]["loadBalancer"]["ingress"][0];
    if let Some(host) = balancer["ip"].as_str().or(balancer["hostname"].as_str()) {
        return Some((host.to_owned(), service.called_at()));
    }
    let port = object["spec"]["ports"].as_array()?.iter().find(|p| p["port"] == service.called_at())?;
    let host = reqwest::Url::parse(server).ok()?.host_str()?.to_owned();
    Some((host, u16::try_from(port["nodePort"].as_u64()?).ok()?))
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Name;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_balancers_address_comes_before_a_node_port() {
        let name = |text: &str| Name::parse(text).unwrap();
        let service = Service::plain(name("web"), name("web"), 8080, Protocol::Tcp);
        let node = json!({"spec": {"ports": [{"port": 8080, "nodePort": 31000}]}});
        assert_eq!(published(&service, &node, "https://10.0.0.1:6443"), Some(("10.0.0.1".into(), 31000)));
        let mut balanced = node.clone();
        balanced["status"]["loadBalancer"]["ingress"] = json!([{"hostname": "lb.example.org"}]);
        assert_eq!(published(&service, &balanced, "https://10.0.0.1:6443"), Some(("lb.example.org".into(), 8080)));
        assert_eq!(published(&service, &json!({"spec": {"ports": [{"port": 8080}]}}), "https://x"), None, "not given one yet");
    }
}
