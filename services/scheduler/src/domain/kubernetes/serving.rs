//! Services: names and ports in front of workloads.

use std::net::{IpAddr, Ipv4Addr};

use gantry_kernel::Name;

use super::objects::{Object, note_annotations};
use super::{Known, name_of};
use crate::domain::fields::{At, Fields};
use crate::domain::model::{Access, Model, Outside, Protocol, PublicAddress, Publish, Service};

pub fn service(object: &Object<'_>, model: &mut Model, known: &Known) {
    let Some(name) = name_of(object) else { return object.all_read() };
    note_annotations(object);
    let Some(spec) = object.spec() else { return };
    let kind = spec.take("type").and_then(|at| at.one_of(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])).unwrap_or(0);
    spec.note(
        &[
            "clusterIPs",
            "externalTrafficPolicy",
            "internalTrafficPolicy",
            "ipFamilies",
            "ipFamilyPolicy",
            "healthCheckNodePort",
            "loadBalancerClass",
            "trafficDistribution",
            "publishNotReadyAddresses",
        ],
        "has no effect here",
    );
    spec.unsupported(&["externalIPs"], "ask for an address of a pool: type LoadBalancer, with `loadBalancerIP` or the annotation gantry.io/address-pool");
    let address = address(object, &spec, kind);
    // Without them the address alone leads to it.
    let allocated = spec.take("allocateLoadBalancerNodePorts").filter(|at| !at.flag());
    if let Some(at) = allocated.as_ref().filter(|_| address.is_none()) {
        at.note("has no effect here without an address of a pool: the ports are published on the nodes");
    }
    let on_nodes = allocated.is_none() || address.is_none();
    if kind == 3 {
        object.remarks.place(format!("outside.{name}"), &object.path, object.line);
        let port = |at: &At<'_>| {
            let p = at.fields();
            p.skip(&["name", "protocol", "appProtocol", "targetPort", "nodePort"]);
            u16::try_from(p.number("port", 65_535)?).ok()
        };
        let ports = spec.list("ports").iter().filter_map(port).collect();
        model.outside.insert(name, Outside { address: spec.text("externalName"), ports });
        spec.skip(&["selector", "sessionAffinity", "clusterIP"]);
        return;
    }
    let cluster_ip = spec.take("clusterIP").filter(|at| !at.text().is_empty());
    let headless = cluster_ip.as_ref().is_some_and(|at| at.text() == "None");
    if let Some(at) = cluster_ip.filter(|_| !headless) {
        at.note("has no effect here: the platform gives the address of a name");
    }
    let (balance, sticky_seconds) = affinity(&spec);
    let access = Access { allow: spec.texts("loadBalancerSourceRanges"), ..Access::default() };
    let selector = spec.map("selector");
    let Some(workload) = chosen(object, &selector, model) else {
        drop(spec.rest());
        return;
    };
    let ports = spec.list("ports");
    for at in &ports {
        let Some(mut service) = port(at, &name, &workload, kind, known) else { continue };
        (service.balance, service.sticky_seconds, service.headless) = (balance.clone(), sticky_seconds, headless);
        service.access = access.clone();
        service.address = address.clone();
        if !on_nodes {
            service.publish = None;
        }
        let here = format!("services[{}]", model.services.len());
        at.place(&here);
        if headless {
            object.remarks.place(format!("{here}.headless"), &format!("{}.spec.clusterIP", object.path), object.line);
        }
        if let Some(w) = model.workloads.get_mut(&workload)
            && service.protocol != Protocol::Udp
        {
            w.ports.insert(service.port);
        }
        model.services.push(service);
    }
    if ports.is_empty() {
        let here = format!("services[{}]", model.services.len());
        object.remarks.place(here, &object.path, object.line);
        model.services.push(Service { headless, ..Service::plain(name, workload, 0, Protocol::Tcp) });
    }
}

/// Of Services of balancers that give out addresses on clusters: MetalLB's and OpenELB's are understood as ours.
pub const POOLS: &[&str] = &["gantry.io/address-pool", "metallb.io/address-pool", "metallb.universe.tf/address-pool", "eip.openelb.kubesphere.io/v1alpha2"];
pub const ADDRESSES: &[&str] = &["metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"];

fn address(object: &Object<'_>, spec: &Fields<'_>, kind: usize) -> Option<PublicAddress> {
    let annotated = |keys: &[&str]| keys.iter().find_map(|key| object.annotations.get(*key)).filter(|text| !text.is_empty()).cloned();
    let (pool, annotated) = (annotated(POOLS), annotated(ADDRESSES));
    let asked = spec.text("loadBalancerIP");
    let (asked, at) = match annotated {
        Some(text) => (text, "metadata.annotations"),
        None => (asked, "spec.loadBalancerIP"),
    };
    if kind != 2 || (pool.is_none() && asked.is_empty()) {
        if pool.is_some() || !asked.is_empty() {
            let at = if pool.is_some() { "metadata.annotations" } else { at };
            object.remarks.note(&format!("{}.{at}", object.path), object.line, "has no effect: a Service of type LoadBalancer has an address of its own");
        }
        return None;
    }
    let at = format!("{}.{at}", object.path);
    let mut ip: Option<Ipv4Addr> = None;
    for text in asked.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(one)) if ip.is_none() => ip = Some(one),
            Ok(other) => object.remarks.unsupported(&at, object.line, format!("a service has one address, of IPv4; {other} is left out")),
            Err(_) => object.remarks.wrong(&at, object.line, format!("`{text}` is no address")),
        }
    }
    Some(PublicAddress { pool: pool.unwrap_or_default(), ip, given: None })
}

fn affinity(spec: &Fields<'_>) -> (String, u32) {
    let by_client = spec.take("sessionAffinity").is_some_and(|at| at.one_of(&["None", "ClientIP"]) == Some(1));
    let mut seconds = 0;
    if let Some(config) = spec.below("sessionAffinityConfig")
        && let Some(client) = config.below("clientIP")
    {
        seconds = client.number("timeoutSeconds", 86_400).unwrap_or(0);
    }
    (if by_client { "source".into() } else { crate::domain::model::round_robin() }, seconds)
}

/// The workload that the selector means. Several: the first, and the others are listed.
fn chosen(object: &Object<'_>, selector: &std::collections::BTreeMap<String, String>, model: &Model) -> Option<Name> {
    if selector.is_empty() {
        object.unsupported("has no selector: addresses of its own are not known");
        return None;
    }
    let mut found = model.workloads.iter().filter(|(_, w)| selector.iter().all(|(k, v)| w.labels.get(k) == Some(v))).map(|(name, _)| name);
    let Some(first) = found.next() else {
        object.unsupported("its selector chooses none of the document's workloads");
        return None;
    };
    let others: Vec<String> = found.map(|n| format!("`{n}`")).collect();
    if !others.is_empty() {
        object.unsupported(&format!("chooses several workloads: requests go to `{first}` alone, not to {}", others.join(", ")));
    }
    Some(first.clone())
}

fn port(at: &At<'_>, name: &Name, workload: &Name, kind: usize, known: &Known) -> Option<Service> {
    let p = at.fields();
    let protocol = match p.take("protocol").map(|at| at.text()).as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some(other) => {
            at.unsupported(format!("{other} is not balanced"));
            drop(p.rest());
            return None;
        }
    };
    let app = p.text("appProtocol");
    let http = matches!(app.as_str(), "http" | "http2" | "grpc" | "kubernetes.io/h2c" | "kubernetes.io/ws");
    if !app.is_empty() && !http {
        at.note(format!("the protocol `{app}` has no effect here: it is balanced as a stream of bytes"));
    }
    let Some(port) = p.number("port", 65_535).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0) else {
        at.wrong("needs `port`");
        drop(p.rest());
        return None;
    };
    let target = match p.take("targetPort") {
        None => port,
        Some(at) => {
            let none = std::collections::BTreeMap::new();
            super::container::port_of(&at, known.port_names.get(workload).unwrap_or(&none))?
        }
    };
    let node_port = p.take("nodePort");
    if let Some(at) = node_port.as_ref().filter(|_| kind != 1) {
        at.note("has no effect here: it is that of a Service of type NodePort");
    }
    let wanted = node_port.and_then(|at| at.number(65_535)).and_then(|n| u16::try_from(n).ok());
    let publish = match kind {
        1 => Some(Publish { wanted: wanted.unwrap_or(0), listen: 0 }),
        2 => Some(Publish { wanted: port, listen: 0 }),
        _ => None,
    };
    Some(Service {
        publish,
        service_port: if port == target { 0 } else { port },
        port_name: p.text("name"),
        h2: protocol == Protocol::Tcp && matches!(app.as_str(), "http2" | "grpc" | "kubernetes.io/h2c"),
        ..Service::plain(name.clone(), workload.clone(), target, if http && protocol == Protocol::Tcp { Protocol::Http } else { protocol })
    })
}
