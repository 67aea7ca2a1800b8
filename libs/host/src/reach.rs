//! Which addresses a service connects to when somebody outside names a host: names are resolved here, and what is private is
//! left alone unless that was allowed. The address that was checked is the one that is used. For every service that takes
//! addresses from people: directories, providers, other registries, webhooks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// Why a host is not connected to.
#[derive(Debug, Error)]
pub enum ReachError {
    #[error("the name `{0}` is not known: check the spelling, and that the platform's machine can look it up")]
    Unknown(String),
    #[error("looking up `{0}` took too long: the name server of the platform's machine does not answer")]
    Slow(String),
    #[error("`{0}` is at a private address ({1}), which is not allowed for it: a platform administrator can set allow_private")]
    Private(String, IpAddr),
}

/// Every address of `host`; none of them may be private unless `private` says so.
///
/// # Errors
/// When the name is unknown, or leads to a private address.
pub async fn resolve(host: &str, port: u16, private: bool) -> Result<Vec<SocketAddr>, ReachError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => {
            let looked_up = tokio::time::timeout(Duration::from_secs(5), tokio::net::lookup_host((bare, port))).await;
            looked_up.map_err(|_| ReachError::Slow(bare.to_owned()))?.map_err(|_| ReachError::Unknown(bare.to_owned()))?.collect()
        }
    };
    if let Some(bad) = found.iter().find(|a| !private && !is_public(a.ip())) {
        return Err(ReachError::Private(bare.to_owned(), bad.ip()));
    }
    if found.is_empty() {
        return Err(ReachError::Unknown(bare.to_owned()));
    }
    Ok(found)
}

/// Addresses written as numbers do not pass the resolver: they are judged here.
///
/// # Errors
/// When it is a private one, which is not allowed.
pub fn check_url(url: &reqwest::Url, private: bool) -> Result<(), ReachError> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(ip) if !private && !is_public(ip) => Err(ReachError::Private(host.to_owned(), ip)),
        _ => Ok(()),
    }
}

/// Whether an address is out on the internet: not of this machine, its networks, or any special use (RFC 6890).
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => v6(ip),
    }
}

fn v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn v6(ip: Ipv6Addr) -> bool {
    // Addresses that carry an IPv4 address inside are judged by it.
    if let Some(inner) = ip.to_ipv4_mapped() {
        return v4(inner);
    }
    let s = ip.segments();
    if s[0] == 0x64 && s[1] == 0xff9b {
        return v4(Ipv4Addr::new((s[6] >> 8) as u8, s[6] as u8, (s[7] >> 8) as u8, s[7] as u8));
    }
    if s[0] == 0x2002 {
        return v4(Ipv4Addr::new((s[1] >> 8) as u8, s[1] as u8, (s[2] >> 8) as u8, s[2] as u8));
    }
    // Global unicast is 2000::/3; of it, documentation and Teredo are not.
    (s[0] & 0xe000) == 0x2000 && !(s[0] == 0x2001 && (s[1] == 0xdb8 || s[1] < 0x200))
}

/// Trusts the authorities in `pem` and no others.
///
/// # Errors
/// When there is none in it.
pub fn trusting(pem: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The resolver of HTTP clients that talk to upstreams.
pub struct Guarded {
    pub private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, private) = (name.as_str().to_owned(), self.private);
        Box::pin(async move {
            let found = resolve(&host, 0, private).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_special_addresses_are_told_from_public_ones() {
        for public in ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_unless_allowed() {
        assert!(matches!(resolve("localhost", 389, false).await, Err(ReachError::Private(..))));
        assert!(matches!(resolve("127.0.0.1", 389, false).await, Err(ReachError::Private(..))));
        assert!(!resolve("localhost", 389, true).await.unwrap().is_empty());
        assert!(matches!(resolve("no-such-host.invalid", 389, true).await, Err(ReachError::Unknown(_) | ReachError::Slow(_))));
    }
}
