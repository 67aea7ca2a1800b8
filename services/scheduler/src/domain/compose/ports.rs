//! `ports` of the Compose specification, short and long form.

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
}

impl Port {
    fn plain(target: u16, published: u16, protocol: Protocol) -> Self {
        Self { target, published, protocol, name: String::new() }
    }
}

const MAX_RANGE: u16 = 100;

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
                Ok(ports) => out.extend(ports),
                Err(detail) => remarks.wrong(&path, item.line, detail),
            }
        }
    }
    out
}

fn long(path: &str, node: &Node, remarks: &Remarks) -> Option<Port> {
    let mut port = Port::plain(0, 0, Protocol::Tcp);
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        let text = entry.node.scalar().unwrap_or_default();
        match entry.key.as_str() {
            "target" | "published" => match text.parse::<u16>() {
                Ok(number) if entry.key == "target" && number > 0 => port.target = number,
                Ok(number) if entry.key == "published" => port.published = number,
                Err(_) if entry.key == "published" && text.contains('-') => match range(&text) {
                    Ok(mut ports) => port.published = ports.next().unwrap_or_default(),
                    Err(detail) => remarks.wrong(&at, entry.line, detail),
                },
                _ => remarks.wrong(&at, entry.line, format!("`{text}` is not a port")),
            },
            "protocol" => match text.as_str() {
                "tcp" if port.protocol == Protocol::Http => {}
                "tcp" => port.protocol = Protocol::Tcp,
                "udp" => port.protocol = Protocol::Udp,
                "sctp" => remarks.unsupported(&at, entry.line, "SCTP is not balanced"),
                _ => remarks.wrong(&at, entry.line, "must be tcp or udp"),
            },
            "app_protocol" => match text.as_str() {
                "http" | "http2" => port.protocol = Protocol::Http,
                _ => remarks.note(&at, entry.line, "only `http` changes how the port is balanced"),
            },
            "name" => port.name = text,
            "mode" => remarks.note(&at, entry.line, "every port is balanced by the node"),
            "host_ip" => remarks.note(&at, entry.line, "the node's own listen address is used"),
            _ => remarks.unsupported(&at, entry.line, "is not supported"),
        }
    }
    if port.target == 0 {
        remarks.wrong(path, node.line, "needs `target`");
        return None;
    }
    Some(port)
}

/// `[ip:][published:]target[/protocol]`, each part a port or a range.
fn short(text: &str) -> Result<Vec<Port>, String> {
    let (ports, protocol) = match text.rsplit_once('/') {
        None => (text, Protocol::Tcp),
        Some((ports, "tcp")) => (ports, Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, other)) => return Err(format!("`{other}` is not a protocol: tcp or udp")),
    };
    let (before, target) = ports.rsplit_once(':').unwrap_or(("", ports));
    let published = before.rsplit_once(':').map_or(before, |(_, p)| p).trim_end_matches(']');
    let target = range(target)?;
    if published.is_empty() || published.contains('.') {
        return Ok(target.map(|target| Port::plain(target, 0, protocol)).collect());
    }
    let published = range(published)?;
    // More published than target ports: any of them will do, so the first is taken.
    if published.len() < target.len() {
        return Err(format!("the ranges of `{text}` differ in length"));
    }
    Ok(target.zip(published).map(|(target, published)| Port::plain(target, published, protocol)).collect())
}

pub fn range(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let fault = || format!("`{text}` is not a port or a range of ports");
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to): (u16, u16) = (from.parse().map_err(|_| fault())?, to.parse().map_err(|_| fault())?);
    if from == 0 || to < from || to - from >= MAX_RANGE { Err(fault()) } else { Ok(from..=to) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(u16, u16)> {
        short(text).unwrap().into_iter().map(|p| (p.published, p.target)).collect()
    }

    #[test]
    fn the_short_forms_are_read() {
        assert_eq!(pairs("80"), [(0, 80)]);
        assert_eq!(pairs("8080:80"), [(8080, 80)]);
        assert_eq!(pairs("127.0.0.1:8080:80"), [(8080, 80)]);
        assert_eq!(pairs("127.0.0.1::80"), [(0, 80)]);
        assert_eq!(pairs("8000-8001:80-81"), [(8000, 80), (8001, 81)]);
        assert_eq!(short("53:53/udp").unwrap()[0].protocol, Protocol::Udp);
        for bad in ["", "x", "0:80", "80/sctp", "1:2-3", "70000", "1-500"] {
            assert!(short(bad).is_err(), "{bad}");
        }
    }
}
