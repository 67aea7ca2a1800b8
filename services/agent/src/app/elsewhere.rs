//! Where the host names lead that the space's names for what runs elsewhere stand for. Instances get addresses in their hosts file, so
//! the node looks the names up, and again now and then: what runs elsewhere moves without telling anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::keeper::Shared;
use crate::domain::wanted::Wanted;

/// Resolvers seldom let anybody keep an answer for less.
const LOOK: Duration = Duration::from_secs(30);
/// A name that was not found is looked for again sooner.
const AGAIN: Duration = Duration::from_secs(5);
/// One resolver that does not answer must not hold up the other names.
const LIMIT: Duration = Duration::from_secs(5);

pub struct Elsewhere {
    pub shared: Shared,
}

impl Elsewhere {
    /// Until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut word = self.shared.wanted.subscribe();
        let mut missing = BTreeSet::new();
        loop {
            let hosts = word.borrow_and_update().as_deref().map(hosts).unwrap_or_default();
            let whole = tokio::select! {
                () = cancel.cancelled() => return,
                whole = self.round(&hosts, &mut missing) => whole,
            };
            let pause = tokio::time::sleep(if whole { LOOK } else { AGAIN });
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = &mut pause => break,
                    changed = word.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        // Words come often; most of them are about something else.
                        if word.borrow_and_update().as_deref().map(self::hosts).unwrap_or_default() != hosts {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Looks all of them up. True: each was found.
    async fn round(&self, hosts: &BTreeSet<String>, missing: &mut BTreeSet<String>) -> bool {
        let before = self.shared.elsewhere.borrow().clone();
        let mut now = BTreeMap::new();
        let mut whole = true;
        for host in hosts {
            let found: Vec<IpAddr> = match tokio::time::timeout(LIMIT, tokio::net::lookup_host((host.as_str(), 0))).await {
                Ok(Ok(found)) => found.map(|at| at.ip()).collect(),
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            match chosen(before.get(host).copied(), &found) {
                Some(address) => {
                    missing.remove(host);
                    now.insert(host.clone(), address);
                }
                None => {
                    whole = false;
                    if missing.insert(host.clone()) {
                        tracing::warn!(host, "a name for what runs elsewhere leads nowhere: this node does not find its host");
                    }
                    // A resolver that is away does not take away what was reached so far.
                    now.extend(before.get(host).map(|address| (host.clone(), *address)));
                }
            }
        }
        missing.retain(|host| hosts.contains(host));
        if now != before {
            self.shared.elsewhere.send_replace(now);
            self.shared.wake.notify_one();
        }
        whole
    }
}

/// The host names that names for what runs elsewhere stand for; addresses need no looking up.
fn hosts(wanted: &Wanted) -> BTreeSet<String> {
    wanted.outside.iter().map(|o| &o.address).filter(|address| address.parse::<IpAddr>().is_err()).cloned().collect()
}

/// The same as before as long as it is among them, so that hosts files do not change with the order of an answer; otherwise rather one
/// of IPv4, which every instance has. This machine itself is nowhere else.
fn chosen(before: Option<IpAddr>, found: &[IpAddr]) -> Option<IpAddr> {
    let mut good: Vec<IpAddr> = found.iter().copied().filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()).collect();
    good.sort_unstable();
    before.filter(|address| good.contains(address)).or_else(|| good.first().copied())
}

#[cfg(test)]
mod tests {
    use gantry_contract::proto::scheduler as wire;

    use super::*;

    #[test]
    fn an_address_stays_as_long_as_the_host_has_it_and_is_never_this_machines() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let found = [ip("fd00::7"), ip("192.0.2.9"), ip("192.0.2.7"), ip("127.0.0.1")];
        assert_eq!(chosen(None, &found), Some(ip("192.0.2.7")));
        assert_eq!(chosen(Some(ip("192.0.2.9")), &found), Some(ip("192.0.2.9")));
        assert_eq!(chosen(Some(ip("192.0.2.8")), &found), Some(ip("192.0.2.7")), "it has moved");
        assert_eq!(chosen(None, &[ip("127.0.0.1"), ip("::")]), None);
    }

    #[test]
    fn only_host_names_are_looked_up() {
        let name = |address: &str| wire::OutsideName { name: "bank".into(), address: address.into(), labels: None };
        let outside = ["bank.example.org", "192.0.2.7", "fd00::7"].map(name).to_vec();
        let (wanted, faults) = Wanted::parse(wire::WantedState { outside, ..Default::default() });
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(hosts(&wanted), BTreeSet::from(["bank.example.org".to_owned()]));
    }
}
