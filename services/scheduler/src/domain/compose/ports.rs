//! `ports` of the Compose specification, short and long form.

use std::net::IpAddr;

use super::fields;
use crate::domain::document::Remarks;
use crate::domain::model::Protocol;
use crate::domain::yaml::Node;

/// One container port to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub target: u16,
    /// 0: any.
    pub published: u16,
    pub protocol: Protocol,
    pub name: String,
    /// Bound to the machine itself, so nobody outside is to reach it.
    pub local: bool,
}

impl Port {
    fn plain(target: u16, published: u16, protocol: Protocol) -> Self {
        Self { target, published, protocol, name: String::new(), local: false }
    }
}

/// Why a port is not read.
#[derive(Debug)]
pub enum Refused {
    Wrong(String),
    /// It could be, but not here.
    Unsupported(String),
}

impl Refused {
    pub fn tell(self, path: &str, line: u64, remarks: &Remarks) {
        match self {
            Self::Wrong(detail) => remarks.wrong(path, line, detail),
            Self::Unsupported(detail) => remarks.unsupported(path, line, detail),
        }
    }
}

const MAX_RANGE: u16 = 100;
const NO_SCTP: &str = "SCTP is not balanced";

pub fn read(path: &str, node: &Node, remarks: &Remarks) -> Vec<Port> {
    let Some(items) = node.list() else {
        remarks.wrong(path, node.line, "must be a list");
        return Vec::new();
    };
    let mut out = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let path = format!("{path}[{n}]");
        if item.entries().is_some() {
            out.extend(long(&path, item, remarks));
        } else {
            match short(&item.scalar().unwrap_or_default()) {
                Ok((mut ports, host)) => {
                    let local = bound(&path, item.line, &host, remarks);
                    ports.iter_mut().for_each(|p| p.local = local);
                    out.extend(ports);
                }
                Err(refused) => refused.tell(&path, item.line, remarks),
            }
        }
    }
    out
}

/// Is the address that a port is bound to the machine's own? What becomes of it is said.
fn bound(path: &str, line: u64, host: &str, remarks: &Remarks) -> bool {
    let address = host.parse::<IpAddr>();
    let local = address.as_ref().is_ok_and(IpAddr::is_loopback);
    if local {
        let detail = format!("is bound to {host}, so it is not published: others of the space reach it by its name; leave the address out to publish it");
        remarks.note(path, line, detail);
    } else if !host.is_empty() && !address.is_ok_and(|a| a.is_unspecified()) {
        remarks.note(path, line, "the node's own listen address is used");
    }
    local
}

fn long(path: &str, node: &Node, remarks: &Remarks) -> Option<Port> {
    let mut port = Port::plain(0, 0, Protocol::Tcp);
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        let text = entry.node.scalar().unwrap_or_default();
        match entry.key.as_str() {
            // As of `${PORT:-}`: any.
            "published" if text.is_empty() => {}
            "target" | "published" => match text.parse::<u16>() {
                Ok(number) if entry.key == "target" && number > 0 => port.target = number,
                Ok(number) if entry.key == "published" => port.published = number,
                Err(_) if entry.key == "published" && text.contains('-') => match range(&text) {
                    Ok(mut ports) => port.published = ports.next().unwrap_or_default(),
                    Err(refused) => refused.tell(&at, entry.line, remarks),
                },
                _ => remarks.wrong(&at, entry.line, format!("`{text}` is not a port")),
            },
            "protocol" => match text.to_ascii_lowercase().as_str() {
                "tcp" if port.protocol == Protocol::Http => {}
                "tcp" => port.protocol = Protocol::Tcp,
                "udp" => port.protocol = Protocol::Udp,
                "sctp" => remarks.unsupported(&at, entry.line, NO_SCTP),
                _ => remarks.wrong(&at, entry.line, "must be tcp or udp"),
            },
            "app_protocol" => match text.as_str() {
                "http" | "http2" => port.protocol = Protocol::Http,
                _ => remarks.note(&at, entry.line, "only `http` changes how the port is balanced"),
            },
            "name" => port.name = text,
            "mode" => remarks.note(&at, entry.line, "every port is balanced by the node"),
            "host_ip" => port.local = bound(&at, entry.line, &text, remarks),
            _ => fields::unknown(&at, entry, remarks),
        }
    }
    if port.target == 0 {
        remarks.wrong(path, node.line, "needs `target`");
        return None;
    }
    Some(port)
}

/// `[ip:][published:]target[/protocol]`, each part a port or a range; and the address.
fn short(text: &str) -> Result<(Vec<Port>, String), Refused> {
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => return Err(Refused::Unsupported(NO_SCTP.into())),
        other => return Err(Refused::Wrong(format!("`{other}` is not a protocol: tcp or udp"))),
    };
    let (before, target) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (host, published) = match before.rsplit_once(':') {
        // The colons are of an address of IPv6.
        Some(_) if before.ends_with(']') => (before, ""),
        Some(both) => both,
        None if before.contains('.') => (before, ""),
        None => ("", before),
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let target = range(target)?;
    if published.is_empty() {
        return Ok((target.map(|target| Port::plain(target, 0, protocol)).collect(), host));
    }
    let published = range(published)?;
    // More published than target ports: any of them will do, so the first is taken.
    if published.len() < target.len() {
        return Err(Refused::Wrong(format!("the ranges of `{text}` differ in length")));
    }
    Ok((target.zip(published).map(|(target, published)| Port::plain(target, published, protocol)).collect(), host))
}

/// # Errors
/// No ports, or more than are published one by one.
pub fn range(text: &str) -> Result<std::ops::RangeInclusive<u16>, Refused> {
    let fault = || Refused::Wrong(format!("`{text}` is not a port or a range of ports"));
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to): (u16, u16) = (from.parse().map_err(|_| fault())?, to.parse().map_err(|_| fault())?);
    if from == 0 || to < from {
        return Err(fault());
    }
    if to - from >= MAX_RANGE {
        return Err(Refused::Unsupported(format!("`{text}`: a range has at most {MAX_RANGE} ports here")));
    }
    Ok(from..=to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(u16, u16)> {
        short(text).unwrap().0.into_iter().map(|p| (p.published, p.target)).collect()
    }

    #[test]
    fn the_short_forms_are_read() {
        assert_eq!(pairs("80"), [(0, 80)]);
        assert_eq!(pairs("8080:80"), [(8080, 80)]);
        assert_eq!(pairs("127.0.0.1:8080:80"), [(8080, 80)]);
        assert_eq!(pairs("127.0.0.1::80"), [(0, 80)]);
        assert_eq!(pairs("8000-8001:80-81"), [(8000, 80), (8001, 81)]);
        assert_eq!(pairs("[::1]:8080:80"), [(8080, 80)]);
        assert_eq!(pairs("[::1]::80"), [(0, 80)]);
        assert_eq!(short("53:53/UDP").unwrap().0[0].protocol, Protocol::Udp);
        let hosts = ["80", "0.0.0.0:80:80", "[::1]:80:80", "127.0.0.1::80"].map(|t| short(t).unwrap().1);
        assert_eq!(hosts, ["", "0.0.0.0", "::1", "127.0.0.1"]);
        for bad in ["", "x", "0:80", "80/sctp", "1:2-3", "70000", "1-500"] {
            assert!(short(bad).is_err(), "{bad}");
        }
        for more in ["80/sctp", "10000-20000:10000-20000/udp"] {
            assert!(matches!(short(more), Err(Refused::Unsupported(_))), "{more}");
        }
    }
}
