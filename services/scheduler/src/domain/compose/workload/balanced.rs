//! By what a service's workload is reached: its ports, routes and addresses as services of the model, and their names.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;

use super::Beside;
use crate::domain::document::Remarks;
use crate::domain::model::{Model, Protocol, Publish, Service, Workload, round_robin};

/// One service for each port, published, routed or only exposed; one without a port if there is none, for its name.
pub(super) fn services(name: &Name, workload: &mut Workload, beside: Beside) -> Vec<Service> {
    let balance = beside.extension.balance.unwrap_or_else(round_robin);
    let plain = |port, protocol| Service {
        balance: balance.clone(),
        access: beside.extension.access.clone(),
        aliases: beside.aliases.clone(),
        headless: beside.headless,
        ..Service::plain(name.clone(), name.clone(), port, protocol)
    };
    let mut out: Vec<Service> = Vec::new();
    let (local, published): (Vec<_>, Vec<_>) = beside.published.into_iter().partition(|p| p.local);
    for port in published.into_iter().chain(local) {
        workload.ports.insert(port.target);
        let publish = (!port.local).then_some(Publish { wanted: port.published, listen: 0 });
        // The same port at several addresses of the machine is one here.
        let same = |s: &Service| s.port == port.target && s.protocol == port.protocol && (publish.is_none() || (s.publish == publish && port.published > 0));
        if !out.iter().any(same) {
            out.push(Service { publish, port_name: port.name, ..plain(port.target, port.protocol) });
        }
    }
    for port in &workload.ports {
        if !out.iter().any(|s| s.port == *port) {
            out.push(plain(*port, Protocol::Tcp));
        }
    }
    for port in beside.exposed_udp {
        if !out.iter().any(|s| s.port == port && s.protocol == Protocol::Udp) {
            out.push(plain(port, Protocol::Udp));
        }
    }
    for (port, route) in beside.extension.routes {
        let port = if port > 0 { port } else { out.first().map_or(80, |s| s.port) };
        workload.ports.insert(port);
        match out.iter_mut().find(|s| s.port == port && s.protocol != Protocol::Udp) {
            Some(service) => {
                service.protocol = Protocol::Http;
                service.routes.push(route);
            }
            None => out.push(Service { routes: vec![route], ..plain(port, Protocol::Http) }),
        }
    }
    if out.is_empty() {
        out.push(plain(0, Protocol::Tcp));
    }
    if beside.extension.address.is_some() {
        // What is published is to be reached from outside; if nothing is, that is what the address is for.
        let published = out.iter().any(|s| s.publish.is_some());
        for service in out.iter_mut().filter(|s| s.publish.is_some() || !published) {
            service.address.clone_from(&beside.extension.address);
        }
    }
    out
}

/// Links give services more names, and no two of them have the same.
pub fn names(model: &mut Model, links: BTreeMap<Name, BTreeSet<String>>, remarks: &Remarks) {
    for (name, aliases) in links {
        model.services.iter_mut().filter(|s| s.workload == name).for_each(|s| s.aliases.extend(aliases.clone()));
    }
    let mut taken: BTreeMap<String, Name> = model.services.iter().map(|s| (s.name.to_string(), s.name.clone())).collect();
    for (n, service) in model.services.iter_mut().enumerate() {
        let own = service.name.clone();
        service.aliases.remove("");
        service.aliases.retain(|alias| {
            let owner = taken.entry(alias.clone()).or_insert_with(|| own.clone());
            let fits = *owner == own && alias.as_str() != own.as_str();
            if *owner != own {
                remarks.unsupported_at(&format!("services[{n}]"), format!("the name `{alias}` is `{owner}`'s already"));
            }
            fits && !alias.is_empty() && alias.len() < 254 && alias.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        });
    }
}
