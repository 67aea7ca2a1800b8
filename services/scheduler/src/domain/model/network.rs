//! How workloads are reached and what they may reach: services, routes, networks, interfaces, policies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gantry_kernel::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Selector, is_default};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http,
    #[default]
    Tcp,
    Udp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// One container port behind one balanced name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name that others in the space use.
    pub name: Name,
    pub workload: Name,
    /// The container's port; 0: the name alone.
    pub port: u16,
    pub protocol: Protocol,
    /// roundrobin | leastconn | random | source | resources
    #[serde(default = "round_robin")]
    pub balance: String,
    /// To be reachable from outside at a port of the node.
    #[serde(default)]
    pub publish: Option<Publish>,
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The port under the service's name if it differs from the container's; 0: the same.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service_port: u16,
    #[serde(default, skip_serializing_if = "is_default")]
    pub port_name: String,
    /// More names for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aliases: BTreeSet<String>,
    /// The name means the instances themselves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub headless: bool,
    /// For how long requests of one client go to one instance; 0: not so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sticky_seconds: u32,
    /// Instances speak HTTP/2 without encryption, as gRPC does; of the protocol `http`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub h2: bool,
    /// Who may connect from outside, and how much.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: Access,
    /// Where the new revision of a release is seen by itself; the platform adds it where a release exchanges instances.
    #[serde(default, skip_serializing_if = "is_default")]
    pub preview: Option<super::Preview>,
    /// To be reachable from outside at an address of its own, which is one node's at a time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub address: Option<PublicAddress>,
}

impl Service {
    /// With nothing said but the port.
    pub fn plain(name: Name, workload: Name, port: u16, protocol: Protocol) -> Self {
        Self {
            name,
            workload,
            port,
            protocol,
            balance: round_robin(),
            publish: None,
            routes: Vec::new(),
            service_port: 0,
            port_name: String::new(),
            aliases: BTreeSet::new(),
            headless: false,
            sticky_seconds: 0,
            h2: false,
            access: Access::default(),
            preview: None,
            address: None,
        }
    }

    /// What stays the same over revisions, even if the container port changes: the published port, else the first route,
    /// else the container port.
    pub fn key(&self) -> String {
        let transport = if self.protocol == Protocol::Udp { "udp" } else { "tcp" };
        match (self.publish, self.routes.first()) {
            (Some(publish), _) if publish.wanted > 0 => format!("{}.p{}.{transport}", self.name, publish.wanted),
            (_, Some(route)) => format!("{}.r-{}{}", self.name, route.host, route.path.replace(|c: char| !c.is_ascii_alphanumeric(), "-")),
            _ => format!("{}.c{}.{transport}", self.name, self.port),
        }
    }

    /// Does a release wait for the nodes to say that an instance gets its requests? It does for what people reach. Of datagrams, what is ready
    /// has them with the node's next look.
    pub fn has_rotation(&self) -> bool {
        (self.publish.is_some() || self.routes.iter().any(Route::is_served)) && self.protocol != Protocol::Udp
    }

    /// The port under the service's name.
    pub fn called_at(&self) -> u16 {
        if self.service_port > 0 { self.service_port } else { self.port }
    }

    /// The port at an address of its own: the one that was to be published, else that of its name.
    pub fn public_port(&self) -> u16 {
        self.publish.map(|p| p.wanted).filter(|p| *p > 0).unwrap_or_else(|| self.called_at())
    }
}

/// What comes to a service from outside, over its published port and its routes. Calls by name from inside of the space are not
/// measured by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Addresses and networks (`203.0.113.0/24`) that may connect; empty: all.
    #[serde(skip_serializing_if = "is_default")]
    pub allow: Vec<String>,
    /// Those that may not, even if `allow` has them.
    #[serde(skip_serializing_if = "is_default")]
    pub deny: Vec<String>,
    /// Requests (TCP: connections) of one address in a second, as a mean over ten; 0: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub requests_per_second: u32,
    /// Requests (TCP: connections) of one address under way at once; 0: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub concurrent: u32,
}

impl Access {
    /// The first sentence about what is wrong with it; nothing if all is right.
    pub fn fault(&self) -> Option<String> {
        if let Some(bad) = self.allow.iter().chain(&self.deny).find(|text| !is_network(text)) {
            return Some(format!("`{bad}` must be an address or a network such as 203.0.113.0/24"));
        }
        if self.allow.len() > MOST_NETWORKS || self.deny.len() > MOST_NETWORKS {
            return Some(format!("at most {MOST_NETWORKS} networks can be allowed, and as many denied"));
        }
        let most = [("requests_per_second", self.requests_per_second), ("concurrent", self.concurrent)].into_iter().find(|(_, n)| *n > MOST_REQUESTS);
        most.map(|(name, _)| format!("{name} must be 0 to {MOST_REQUESTS}"))
    }
}

/// Each is a line of the balancer's configuration on every node.
const MOST_NETWORKS: usize = 256;
const MOST_REQUESTS: u32 = 1_000_000;

/// An address, or a block of them with its length.
pub(crate) fn is_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.is_none_or(|l| l.parse::<u8>().is_ok_and(|l| l <= most))
}

/// `Wanted` becomes `listen` when the platform has assigned it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// The port that the document asks for; 0 for any.
    pub wanted: u16,
    /// The port that the platform gave; 0 before.
    pub listen: u16,
}

/// A public address from one of the operator's pools. Services of one name that ask for the same have one address together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PublicAddress {
    /// Empty: any that the organisation may use.
    #[serde(skip_serializing_if = "is_default")]
    pub pool: String,
    /// This very one; otherwise any that is free.
    #[serde(skip_serializing_if = "is_default")]
    pub ip: Option<Ipv4Addr>,
    /// The one that the platform gave; nothing before.
    #[serde(skip_serializing_if = "is_default")]
    pub given: Option<Ipv4Addr>,
}

/// Requests on the shared HTTP port that go to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Empty: every host.
    pub host: String,
    #[serde(default = "root_path")]
    pub path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub path_kind: PathKind,
    #[serde(default, skip_serializing_if = "is_default")]
    pub headers: Vec<ValueMatch>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub queries: Vec<ValueMatch>,
    /// Every method if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub method: String,
    /// Of the requests that several services' routes match; none: an equal share.
    #[serde(default, skip_serializing_if = "is_default")]
    pub weight: Option<u32>,
    /// What stands instead of the matched path.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rewrite: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub set_headers: BTreeMap<String, String>,
    /// The secret with certificate and key (`tls.crt`, `tls.key`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls_secret: String,
    /// HTTPS also without a secret: with a certificate of the platform's own authority.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: bool,
    /// Plain HTTP is answered beside HTTPS, rather than led there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub plain_http: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout_ms: u32,
}

impl Route {
    pub fn new(host: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            path: path.into(),
            path_kind: PathKind::Prefix,
            headers: Vec::new(),
            queries: Vec::new(),
            method: String::new(),
            weight: None,
            rewrite: String::new(),
            set_headers: BTreeMap::new(),
            tls_secret: String::new(),
            tls: false,
            plain_http: false,
            timeout_ms: 0,
        }
    }

    /// Can a node's balancer match it? On a port that all tenants share, a route without a host would take everybody's requests.
    pub fn is_served(&self) -> bool {
        !self.host.is_empty()
    }

    /// Is it served over HTTPS?
    pub fn is_secure(&self) -> bool {
        self.tls || !self.tls_secret.is_empty()
    }

    /// Is it of a host and the beginning of a path alone, and are its requests passed on as they are?
    pub fn is_plain(&self) -> bool {
        *self == Self::new(self.host.clone(), self.path.clone()) && !self.host.starts_with('*')
    }

    /// Where a browser finds it; none if it is of many hosts.
    pub fn shown_at(&self) -> Option<(&str, &str)> {
        let path = if self.path_kind == PathKind::Pattern { "/" } else { self.path.as_str() };
        (self.is_served() && !self.host.starts_with('*')).then_some((self.host.as_str(), path))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    #[default]
    Prefix,
    Exact,
    /// A regular expression.
    Pattern,
}

/// A header or query parameter with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueMatch {
    pub name: String,
    pub value: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub pattern: bool,
}

/// A name in the space for something that runs elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Outside {
    /// Host name or address.
    pub address: String,
    #[serde(skip_serializing_if = "is_default")]
    pub ports: BTreeSet<u16>,
}

/// A network of the application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// `bridge` if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    #[serde(skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
    /// Nothing outside of it is reached.
    #[serde(skip_serializing_if = "is_default")]
    pub internal: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub subnets: Vec<Subnet>,
    /// It exists already, under this name.
    #[serde(skip_serializing_if = "is_default")]
    pub external: Option<String>,
}

impl Network {
    /// A network of the nodes that instances are put right into, with an interface of their own.
    pub fn is_of_nodes(&self) -> bool {
        matches!(self.driver.as_str(), "macvlan" | "ipvlan" | "vlan" | "vxlan")
    }

    /// The node's interface that it is reached by; none if it is not said.
    pub fn parent(&self) -> &str {
        self.options.get("parent").map_or("", String::as_str)
    }

    /// Its number, of a VLAN; 0 if it is none.
    pub fn vlan(&self) -> u16 {
        self.options.get("vlan").or_else(|| self.options.get("vlan_id")).and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// Its number, of a VXLAN; 0 if it is none.
    pub fn vni(&self) -> u32 {
        self.options.get("id").or_else(|| self.options.get("vni")).and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The UDP port of a VXLAN; 0: the usual one. None if it is no port.
    pub fn dst_port(&self) -> Option<u16> {
        self.options.get("dstport").map_or(Some(0), |port| port.parse().ok().filter(|p| *p > 0))
    }

    /// An option of a VXLAN that is an address; empty if it is not said.
    pub fn other_end(&self, option: &str) -> &str {
        self.options.get(option).map_or("", String::as_str)
    }

    /// `bridge`, `l2` and the like, of the drivers that have several.
    pub fn mode(&self) -> &str {
        let names = ["mode", "macvlan_mode", "ipvlan_mode"];
        names.iter().find_map(|n| self.options.get(*n)).map_or("", String::as_str)
    }

    /// Options that mean something here.
    pub fn known_option(&self, name: &str) -> bool {
        match self.driver.as_str() {
            "vxlan" => matches!(name, "parent" | "id" | "vni" | "dstport" | "group" | "remote"),
            _ => matches!(name, "parent" | "vlan" | "vlan_id" | "mode" | "macvlan_mode" | "ipvlan_mode"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Subnet {
    pub subnet: String,
    #[serde(skip_serializing_if = "is_default")]
    pub gateway: String,
    #[serde(skip_serializing_if = "is_default")]
    pub range: String,
}

/// One interface of a workload's instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nic {
    /// The space's own network if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub network: String,
    #[serde(skip_serializing_if = "is_default")]
    pub address4: String,
    #[serde(skip_serializing_if = "is_default")]
    pub address6: String,
    #[serde(skip_serializing_if = "is_default")]
    pub mac: String,
    #[serde(skip_serializing_if = "is_default")]
    pub interface: String,
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Bits a second out of the instance; 0: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub up_bps: u64,
    /// Bits a second into the instance; 0: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub down_bps: u64,
}

/// What may reach the selected workloads and what they may reach. `None`: not restricted; empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    pub selector: Selector,
    #[serde(skip_serializing_if = "is_default")]
    pub ingress: Option<Vec<PolicyRule>>,
    #[serde(skip_serializing_if = "is_default")]
    pub egress: Option<Vec<PolicyRule>>,
}

/// Any of the peers at any of the ports; no peers: everybody, no ports: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyRule {
    #[serde(skip_serializing_if = "is_default")]
    pub peers: Vec<Peer>,
    #[serde(skip_serializing_if = "is_default")]
    pub ports: Vec<PolicyPort>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Peer {
    #[serde(skip_serializing_if = "is_default")]
    pub cidr: String,
    #[serde(skip_serializing_if = "is_default")]
    pub except: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub workloads: Option<Selector>,
    #[serde(skip_serializing_if = "is_default")]
    pub spaces: Option<Selector>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyPort {
    /// tcp | udp | sctp
    pub protocol: String,
    /// A number or a port's name; empty: all.
    #[serde(skip_serializing_if = "is_default")]
    pub port: String,
    #[serde(skip_serializing_if = "is_default")]
    pub end_port: u16,
}

pub const BALANCES: [&str; 5] = ["roundrobin", "leastconn", "random", "source", "resources"];

pub fn round_robin() -> String {
    "roundrobin".into()
}

pub fn root_path() -> String {
    "/".into()
}
