//! `[gateway]`: where the door is and how much it lets in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gantry_host::Section;
use serde::{Deserialize, Serialize};

use crate::app::door::Limits;
use crate::app::listen::Patience;
use crate::app::proxy::Bounds;
use crate::app::sessions::Lifetimes;
use crate::domain::gcra::Limit;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where the public door listens.
    pub listen: SocketAddr,
    /// A second door that asks clients for their certificate (RFC 8705); none: such clients cannot come in.
    pub certificates_listen: Option<SocketAddr>,
    /// PEM files of the door's own certificate; empty: one from the installation's authority.
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    /// Per client address and per credential; 0: no limit.
    pub requests_per_second: u32,
    pub request_burst: u32,
    /// Per client address: changes at sign-in pages and token endpoints; as many again for exchanges of kept tokens that are not remembered.
    pub sign_ins_per_second: u32,
    pub sign_in_burst: u32,
    /// Largest body of a REST request. Image layers and git packs have no bound here.
    pub max_body_bytes: usize,
    /// All headers of one request together.
    pub max_header_bytes: usize,
    pub max_connections: usize,
    /// Until a service begins to answer.
    pub answer_seconds: u64,
    /// The same when the request brings a body, which has to arrive first.
    pub upload_seconds: u64,
    /// A browser's session ends after so long without use, and after so long in any case.
    pub session_idle_minutes: u64,
    pub session_hours: u64,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7443)),
            certificates_listen: None,
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            requests_per_second: 2_000,
            request_burst: 10_000,
            sign_ins_per_second: 10,
            sign_in_burst: 100,
            max_body_bytes: 4 << 20,
            max_header_bytes: 32 << 10,
            max_connections: 8_192,
            answer_seconds: 60,
            upload_seconds: 3_600,
            session_idle_minutes: 240,
            session_hours: 12,
        }
    }
}

impl Section for GatewayConfig {
    fn validate(&self, faults: &mut Vec<String>) {
        let mut within = |name: &str, value: u64, from: u64, to: u64| {
            if !(from..=to).contains(&value) {
                faults.push(format!("{name} = {value}: must be {from} to {to}"));
            }
        };
        within("request_burst", self.request_burst.into(), 1, 10_000_000);
        within("sign_ins_per_second", self.sign_ins_per_second.into(), 1, 100_000);
        within("sign_in_burst", self.sign_in_burst.into(), 1, 1_000_000);
        within("max_body_bytes", self.max_body_bytes as u64, 1_024, 1 << 30);
        within("max_header_bytes", self.max_header_bytes as u64, 8 << 10, 1 << 20);
        within("max_connections", self.max_connections as u64, 1, 1_000_000);
        within("answer_seconds", self.answer_seconds, 1, 3_600);
        within("upload_seconds", self.upload_seconds, 1, 86_400);
        within("session_idle_minutes", self.session_idle_minutes, 1, 60 * 24 * 30);
        within("session_hours", self.session_hours, 1, 24 * 30);
        if self.certificate_file.as_os_str().is_empty() != self.key_file.as_os_str().is_empty() {
            faults.push("certificate_file and key_file: set both or none".into());
        }
    }
}

impl GatewayConfig {
    pub(crate) fn limits(&self) -> Option<Limits> {
        (self.requests_per_second > 0).then(|| Limits {
            requests: Limit { rate: self.requests_per_second.into(), burst: self.request_burst },
            sign_ins: Limit { rate: self.sign_ins_per_second.into(), burst: self.sign_in_burst },
        })
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { body: self.max_body_bytes, head: Duration::from_secs(self.answer_seconds), upload: Duration::from_secs(self.upload_seconds) }
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience { connections: self.max_connections, header_bytes: self.max_header_bytes, headers: Duration::from_secs(15), drain: Duration::from_secs(10) }
    }

    pub(crate) fn lifetimes(&self) -> Lifetimes {
        Lifetimes { idle: Duration::from_secs(self.session_idle_minutes * 60), whole: Duration::from_secs(self.session_hours * 3_600) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_listed_at_once() {
        let config = GatewayConfig { request_burst: 0, session_hours: 0, key_file: "x".into(), ..GatewayConfig::default() };
        let mut faults = Vec::new();
        config.validate(&mut faults);
        assert_eq!(faults.len(), 3, "{faults:?}");
        let mut none = Vec::new();
        GatewayConfig::default().validate(&mut none);
        assert!(none.is_empty());
    }
}
