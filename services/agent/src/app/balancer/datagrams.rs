//! The part of the balancer for datagrams: keeps the table of the packet filter, and takes out flows that keep to who is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;

use gantry_kernel::InstanceId;

use super::naming::named;
use super::shaping::{access, called_at, servers};
use super::{Balancer, Saved};
use crate::adapters::machine::CommandError;
use crate::adapters::{addresses, conntrack, machine};
use crate::app::keeper::chain;
use crate::domain::datagrams::{Door, Relay, Relays, next, none, stale, table};
use crate::domain::wanted::{Service, Wanted};

/// The table is looked after this often: whoever sets the machine's packet filter anew may take it away.
const LOOK_MS: i64 = 5_000;
const RETRY_MS: i64 = 3_000;
/// Whether packets from the loopback may leave over other interfaces (`route_localnet`, ip-sysctl of the kernel).
const FROM_LOOPBACK: &str = "/proc/sys/net/ipv4/conf/all/route_localnet";

/// What is known of the packet filter.
pub(super) struct Filter {
    /// Of the table.
    name: String,
    /// It is known to be as the layout has it.
    loaded: bool,
    not_before_ms: i64,
    seen_ms: i64,
    /// It could not be set; told in the log once.
    failing: bool,
    /// [`FROM_LOOPBACK`]
    from_loopback: PathBuf,
}

impl Filter {
    /// `own`: letters and digits.
    pub(super) fn new(own: &str) -> Self {
        let name = format!("gantry_udp_{own}");
        Self { name, loaded: false, not_before_ms: 0, seen_ms: 0, failing: false, from_loopback: FROM_LOOPBACK.into() }
    }

    pub(super) fn shorten_pauses(&mut self, now_ms: i64) {
        self.not_before_ms = self.not_before_ms.min(now_ms.saturating_add(RETRY_MS));
        self.seen_ms = self.seen_ms.min(now_ms);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One of another name, of an agent whose home folder was called otherwise, would go on leading datagrams to what is gone.
    pub(super) async fn succeed(&self, saved: &Saved) {
        if !saved.filtered || saved.table.is_empty() || saved.table == self.name {
            return;
        }
        if let Err(error) = machine::feed("nft", &["-f", "-"], Some(&none(&saved.table))).await {
            tracing::error!(table = saved.table, %error, "an earlier table of datagrams stays in the packet filter");
        }
    }
}

impl Balancer {
    /// What fails is said, and tried again by a later round: it must not hold up the rest.
    pub(super) async fn lead_datagrams(
        &mut self,
        wanted: &Wanted,
        ready: &BTreeMap<InstanceId, String>,
        gone: &BTreeSet<InstanceId>,
        pressed: &BTreeMap<InstanceId, u8>,
        now_ms: i64,
    ) {
        if now_ms < self.filter.not_before_ms {
            return;
        }
        if self.filter.loaded && self.saved.filtered && now_ms - self.filter.seen_ms >= LOOK_MS {
            self.filter.seen_ms = now_ms;
            self.filter.loaded = machine::run("nft", &["list", "chain", "ip", &self.filter.name, "leave"]).await.is_ok();
            if !self.filter.loaded {
                tracing::error!(table = self.filter.name, "the packet filter's table of datagrams is gone; setting it again");
            }
            if self.saved.from_loopback {
                self.lead_from_loopback(true).await;
            }
        }
        let mut targets = Relays::new();
        for (id, service) in wanted.services.iter().filter(|(_, s)| s.wire.protocol == "udp") {
            let doors = self.doors(id, service).await;
            let algorithm = match service.wire.balance.as_str() {
                word @ ("random" | "source") => word.to_owned(),
                _ => "roundrobin".to_owned(),
            };
            let servers = servers(service, wanted, ready, pressed);
            let access = access(service, self.listen.service_network, &self.near());
            targets.insert(id.clone(), Relay { doors, algorithm, servers, leaving: BTreeMap::new(), access });
        }
        if targets.is_empty() && !self.saved.filtered {
            return;
        }
        let before = self.saved.layout.datagrams.clone();
        let next = next(&before, targets, gone, now_ms);
        if self.filter.loaded && next == before {
            return;
        }
        if let Err(error) = self.exchange(before, &next).await {
            if !std::mem::replace(&mut self.filter.failing, true) {
                tracing::error!(error = %chain(&error), "services of datagrams cannot be brought up to date; it is tried again, and said when it works");
            }
            // What is there now is unknown.
            self.filter.loaded = false;
            self.filter.not_before_ms = now_ms + RETRY_MS;
            return;
        }
        if std::mem::take(&mut self.filter.failing) {
            tracing::info!("services of datagrams are brought up to date again");
        }
        (self.filter.loaded, self.filter.seen_ms) = (true, now_ms);
        self.saved.filtered = !next.is_empty();
        self.saved.layout.datagrams = next;
        self.give_back(wanted, now_ms).await;
        self.save().await;
    }

    async fn exchange(&mut self, before: Relays, next: &Relays) -> Result<(), CommandError> {
        let name = self.filter.name.clone();
        let doors = || next.values().flat_map(|r| &r.doors);
        let from_loopback = doors().any(|d| d.published && d.address.is_none_or(|a| a.is_loopback()));
        if !from_loopback && self.saved.from_loopback {
            // Before the table that keeps strangers away from the loopback.
            self.lead_from_loopback(false).await;
        }
        let script = if next.is_empty() { none(&name) } else { table(&name, next) };
        if !self.filter.loaded || next.is_empty() || script != table(&name, &before) {
            if !std::mem::replace(&mut self.saved.filtered, true) {
                // First: one that nobody remembers would stay on the machine for ever.
                self.save().await;
            }
            machine::feed("nft", &["-f", "-"], Some(&script)).await?;
        }
        if from_loopback {
            // Also if it was led before: the machine's new start has undone it.
            self.lead_from_loopback(true).await;
        }
        let everywhere = doors().chain(before.values().flat_map(|r| &r.doors)).any(|d| d.address.is_none());
        let local = if everywhere { addresses::local().await? } else { BTreeSet::new() };
        let now = next.clone();
        match conntrack::forget(move |flows| stale(flows, &before, &now, &local).into_iter().cloned().collect()).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "flows of datagrams are led anew"),
            // New ones are led right; nobody waits for these.
            Err(error) => tracing::warn!(%error, "clients that keep their port may go on asking an instance that is gone, until they pause"),
        }
        Ok(())
    }

    /// Where the service's datagrams come in: at its published port, and at its address on this node.
    async fn doors(&mut self, id: &str, service: &Service) -> BTreeSet<Door> {
        let before = self.saved.layout.datagrams.get(id).map(|r| r.doors.clone()).unwrap_or_default();
        let mut doors = BTreeSet::new();
        if let Some(port) = u16::try_from(service.wire.listen_port).ok().filter(|p| *p > 0) {
            let address = match self.listen.address {
                address if address.is_unspecified() => Some(None),
                IpAddr::V4(address) => Some(Some(address)),
                // Instances have addresses of IPv4.
                IpAddr::V6(_) => None,
            };
            let door = address.map(|address| Door { address, port, published: true });
            doors.extend(door.filter(|door| before.contains(door) || self.is_nobodys(door)));
        }
        for at in self.public_at(service) {
            let door = Door { address: Some(*at.ip()), port: at.port(), published: true };
            if before.contains(&door) || self.is_nobodys(&door) {
                doors.insert(door);
            }
        }
        if let Some(address) = self.address(&named(service), !self.filter.loaded).await {
            let ports = called_at(service);
            let door = |port: &u32| Some(Door { address: Some(address), port: u16::try_from(*port).ok()?, published: false });
            doors.extend(ports.iter().filter_map(door));
            if ports.is_empty() {
                // No backend at the moment: the ports stay as they were.
                doors.extend(before.into_iter().filter(|d| d.address == Some(address)));
            }
        }
        doors
    }

    /// The table would take the datagrams of a program of the machine that has the port.
    fn is_nobodys(&mut self, door: &Door) -> bool {
        let at = SocketAddrV4::new(door.address.unwrap_or(Ipv4Addr::UNSPECIFIED), door.port);
        let named = format!("{at}/udp");
        match UdpSocket::bind(at) {
            Ok(_) => {
                self.refused.remove(&named);
                true
            }
            Err(error) => {
                if self.refused.insert(named.clone()) {
                    tracing::error!(address = named, %error, "a service's port is somebody else's; the service is without it");
                }
                false
            }
        }
    }

    async fn lead_from_loopback(&mut self, on: bool) {
        let there = tokio::fs::read_to_string(&self.filter.from_loopback).await.unwrap_or_default();
        if on && there.trim() == "1" {
            // Ours, or somebody else's will: that is not taken away later.
            return;
        }
        if on && !std::mem::replace(&mut self.saved.from_loopback, true) {
            // First: one that nobody remembers would stay on the machine until its next start.
            self.save().await;
        }
        match tokio::fs::write(&self.filter.from_loopback, if on { "1" } else { "0" }).await {
            Ok(()) => self.saved.from_loopback = on,
            Err(error) => {
                self.saved.from_loopback = !on;
                if on && self.refused.insert(FROM_LOOPBACK.to_owned()) {
                    tracing::error!(%error, "{FROM_LOOPBACK} cannot be set: published ports of datagrams do not answer on the loopback");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::adapters::disk::Disk;
    use crate::adapters::haproxy::Haproxy;
    use crate::app::balancer::Listen;

    async fn balancer(folder: &Path) -> Balancer {
        let haproxy = Haproxy::new("/nowhere/haproxy".into(), folder.join("haproxy"), folder.join("log"), "127.0.0.1:0".into());
        let disk = Disk::open(folder.join("state")).await.unwrap();
        let listen = Listen { address: Ipv4Addr::LOCALHOST.into(), service_network: None, public_interface: String::new() };
        let mut balancer = Balancer::open(Arc::new(haproxy), disk, listen, "a-test").await;
        balancer.filter.from_loopback = folder.join("route_localnet");
        balancer
    }

    #[tokio::test]
    async fn the_way_from_the_loopback_is_opened_after_each_start_of_the_machine_and_closed_by_whoever_opened_it() {
        let folder = tempfile::tempdir().unwrap();
        let setting = folder.path().join("route_localnet");
        let now = || std::fs::read_to_string(&setting).unwrap().trim().to_owned();
        std::fs::write(&setting, "0\n").unwrap();
        balancer(folder.path()).await.lead_from_loopback(true).await;
        assert_eq!(now(), "1");

        // The machine has started anew.
        std::fs::write(&setting, "0\n").unwrap();
        let mut next = balancer(folder.path()).await;
        assert!(next.saved.from_loopback, "it is on disk before it is done");
        next.lead_from_loopback(true).await;
        assert_eq!(now(), "1");
        next.lead_from_loopback(false).await;
        assert_eq!((now().as_str(), next.saved.from_loopback), ("0", false));

        std::fs::write(&setting, "1\n").unwrap();
        next.lead_from_loopback(true).await;
        assert!(!next.saved.from_loopback, "somebody else's will");
    }

    #[tokio::test]
    async fn the_table_is_known_by_its_name_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let balancer = balancer(folder.path()).await;
        balancer.save().await;
        let state: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join("state/balancer.json")).unwrap()).unwrap();
        assert_eq!(state["table"], serde_json::json!(balancer.filter.name()));
        assert!(balancer.filter.name().starts_with("gantry_udp_"));
    }
}
