//! `x-gantry` of a service: what Compose has no word for.

use super::{fields, probes};
use crate::domain::document::Remarks;
use crate::domain::model::{Access, BALANCES, PublicAddress, Route, Workload, WorkloadKind};
use crate::domain::yaml::Node;

/// `x-gantry` of a service.
#[derive(Default)]
pub(super) struct Extension {
    pub routes: Vec<(u16, Route)>,
    pub balance: Option<String>,
    pub access: Access,
    pub address: Option<PublicAddress>,
}

impl Extension {
    pub fn read(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) -> Self {
        let mut out = Self::default();
        for entry in fields::entries(path, node, remarks) {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "routes" => {
                    for (n, item) in fields::items(&at, &entry.node, remarks).iter().enumerate() {
                        out.routes.extend(route(&format!("{at}[{n}]"), item, remarks));
                    }
                }
                "balance" => {
                    let text = fields::text(&at, &entry.node, remarks);
                    if BALANCES.contains(&text.as_str()) {
                        out.balance = Some(text);
                    } else {
                        remarks.wrong(&at, entry.line, format!("must be one of {}", BALANCES.join(", ")));
                    }
                }
                "kind" => match entry.node.scalar().as_deref() {
                    Some("stateless") => workload.kind = WorkloadKind::Stateless,
                    Some("stateful") => workload.kind = WorkloadKind::Stateful,
                    Some("global") => workload.kind = WorkloadKind::Global,
                    Some("job") => workload.kind = WorkloadKind::Job,
                    _ => remarks.wrong(&at, entry.line, "must be stateless, stateful, global or job"),
                },
                "access" => out.access = access(&at, &entry.node, remarks),
                "address" => out.address = Some(address(&at, &entry.node, remarks)),
                "ready" => probes::ready(&at, &entry.node, workload, remarks),
                _ => remarks.wrong(&at, entry.line, "must be routes, balance, access, address, kind or ready"),
            }
        }
        out
    }
}

fn access(path: &str, node: &Node, remarks: &Remarks) -> Access {
    let mut out = Access::default();
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "allow" => out.allow = fields::texts(&at, &entry.node, remarks),
            "deny" => out.deny = fields::texts(&at, &entry.node, remarks),
            "requests_per_second" => out.requests_per_second = fields::count(&at, &entry.node, u32::MAX, remarks),
            "concurrent" => out.concurrent = fields::count(&at, &entry.node, u32::MAX, remarks),
            _ => remarks.wrong(&at, entry.line, "must be allow, deny, requests_per_second or concurrent"),
        }
    }
    if node.entries().is_none() {
        remarks.wrong(path, node.line, "must be a map with allow, deny, requests_per_second or concurrent");
    }
    out
}

/// `address: office`, or `address: {pool: office, ip: 203.0.113.7}`.
fn address(path: &str, node: &Node, remarks: &Remarks) -> PublicAddress {
    let mut out = PublicAddress::default();
    let Some(entries) = node.entries() else {
        return PublicAddress { pool: fields::text(path, node, remarks), ..out };
    };
    for entry in entries {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "pool" => out.pool = fields::text(&at, &entry.node, remarks),
            "ip" => match fields::text(&at, &entry.node, remarks).parse() {
                Ok(ip) => out.ip = Some(ip),
                Err(_) => remarks.wrong(&at, entry.line, "must be an address of IPv4"),
            },
            _ => remarks.wrong(&at, entry.line, "must be pool or ip"),
        }
    }
    out
}

fn route(path: &str, node: &Node, remarks: &Remarks) -> Option<(u16, Route)> {
    let mut port = 0;
    let mut route = Route::new("", "/");
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "host" => route.host = fields::text(&at, &entry.node, remarks).to_ascii_lowercase(),
            "path" => route.path = fields::text(&at, &entry.node, remarks),
            "port" => port = u16::try_from(fields::count(&at, &entry.node, 65535, remarks)).unwrap_or(0),
            _ => remarks.wrong(&at, entry.line, "must be host, path or port"),
        }
    }
    if route.host.is_empty() {
        remarks.wrong(&format!("{path}.host"), node.line, "must be a host name such as shop.example.org");
        return None;
    }
    Some((port, route))
}
