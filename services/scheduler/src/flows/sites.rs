//! Certificates of the platform's own authority for hosts that bring none. They are kept in memory alone: who decides next makes others.

use std::collections::{BTreeMap, BTreeSet};

use gantry_host::Pki;
use gantry_kernel::OffsetDateTime;
use time::Duration;

use crate::domain::engine::RouteCertificate;

const LIFE: Duration = Duration::days(90);
/// What is left of it when the next one is made.
const LEFT: Duration = Duration::days(30);

#[derive(Default)]
pub(super) struct Sites {
    by_host: BTreeMap<String, Site>,
    /// Hosts that none could be made for; told in the log once.
    refused: BTreeSet<String>,
}

struct Site {
    chain: Vec<u8>,
    key: Vec<u8>,
    until: OffsetDateTime,
}

impl Sites {
    /// Has one for each of `hosts`, and no others.
    pub fn look(&mut self, hosts: &BTreeSet<String>, pki: &Pki, now: OffsetDateTime) {
        self.by_host.retain(|host, _| hosts.contains(host));
        self.refused.retain(|host| hosts.contains(host));
        for host in hosts {
            let lasts = |site: &Site| site.until - now > LEFT;
            if self.by_host.get(host).is_some_and(lasts) {
                continue;
            }
            match pki.site(host, now, LIFE) {
                Ok(leaf) => {
                    let site = Site { chain: leaf.chain_pem.into_bytes(), key: leaf.key_pem.into_bytes(), until: now + LIFE };
                    self.refused.remove(host);
                    self.by_host.insert(host.clone(), site);
                }
                Err(error) => {
                    if self.refused.insert(host.clone()) {
                        tracing::error!(host, error = format!("{error:#}"), "no certificate could be made for a route; it needs a `tls_secret`");
                    }
                }
            }
        }
    }

    /// Until when each lasts: tells another one from the one before.
    pub fn untils(&self) -> BTreeMap<String, i64> {
        self.by_host.iter().map(|(host, site)| (host.clone(), site.until.unix_timestamp())).collect()
    }

    /// Gives those that bring none theirs.
    pub fn give(&self, certificates: &mut [RouteCertificate]) {
        for certificate in certificates.iter_mut().filter(|c| c.pem.is_none()) {
            certificate.pem = self.by_host.get(&certificate.host).map(|site| (site.chain.clone(), site.key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_certificate_until_nobody_asks_for_it_and_another_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (hosts, mut sites) = (BTreeSet::from(["a.test".to_owned()]), Sites::default());
        let given = |sites: &Sites| {
            let mut all = [RouteCertificate { host: "a.test".into(), pem: None, plain_http: false }];
            sites.give(&mut all);
            all[0].pem.clone()
        };
        assert_eq!(given(&sites), None);
        sites.look(&hosts, &pki, now);
        let (first, until) = (given(&sites), sites.untils());
        assert!(first.is_some());
        sites.look(&hosts, &pki, now + Duration::days(59));
        assert!(given(&sites) == first && sites.untils() == until);
        sites.look(&hosts, &pki, now + Duration::days(60));
        assert!(given(&sites) != first && sites.untils() != until);
        sites.look(&BTreeSet::new(), &pki, now);
        assert_eq!(given(&sites), None);
    }
}
