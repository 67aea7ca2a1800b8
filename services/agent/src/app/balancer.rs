//! Keeps HAProxy and the services' addresses as they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use gantry_kernel::InstanceId;
use serde::{Deserialize, Serialize};

mod certified;
mod datagrams;
mod inside;
mod naming;
mod public;
mod recovering;
mod ruling;
mod shaping;

use self::shaping::{name_hash, servers};
use crate::adapters::disk::Disk;
use crate::adapters::haproxy::{Haproxy, HaproxyError};
use crate::domain::balance::{self, Change, Facts, Layout, Target};
use crate::domain::wanted::Wanted;

const FILE: &str = "balancer.json";
const DRAIN_LIMIT_MS: i64 = 30_000;
/// Containers must not wait for a balancer that does not start.
const RETRY_MS: i64 = 3_000;
const BACK_AGAIN_MS: i64 = 60_000;
/// HAProxy is looked after this often.
const LOOK_MS: i64 = 1_000;

/// What survives a restart of the agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Saved {
    layout: Layout,
    /// Address of each service inside the node, by service id.
    addresses: BTreeMap<String, Ipv4Addr>,
    /// The packet filter may have the table of datagrams.
    #[serde(default)]
    filtered: bool,
    /// Its name, by which whoever takes down the node finds it.
    #[serde(default)]
    table: String,
    /// The kernel leads packets of the loopback elsewhere because the table needs it.
    #[serde(default)]
    from_loopback: bool,
    /// Public addresses that this node has, with the interface of each.
    #[serde(default)]
    public: BTreeMap<Ipv4Addr, String>,
    /// Networks in which the node's pods are.
    #[serde(default)]
    pods: BTreeSet<String>,
}

/// Where the balancer listens.
#[derive(Clone, Debug)]
pub struct Listen {
    /// For `listen_port` of services.
    pub address: IpAddr,
    /// Network from which every service gets an address that containers reach by name; `None` = no such addresses.
    pub service_network: Option<Ipv4Addr>,
    /// Network interface that gets public addresses; empty: the one by which the machine would reach them.
    pub public_interface: String,
}

pub struct Balancer {
    haproxy: Arc<Haproxy>,
    disk: Disk,
    listen: Listen,
    saved: Saved,
    /// HAProxy is known to run with the layout we hold.
    loaded: bool,
    /// HAProxy failed; not again before.
    not_before_ms: i64,
    /// It cannot be brought to what is wanted since then.
    failing_since_ms: Option<i64>,
    /// When HAProxy was last seen alive.
    seen_ms: i64,
    /// A service's address could not be taken away; not again before.
    back_not_before_ms: i64,
    /// Ports that somebody else has, and certificates that are none; told in the log once.
    refused: BTreeSet<String>,
    /// Addresses of pods whose network was looked for; false: it is none of the machine's interfaces'.
    placed: BTreeMap<String, bool>,
    /// Requests that were held and are under way at an instance.
    passed_on: BTreeMap<InstanceId, u64>,
    filter: datagrams::Filter,
    public: public::Public,
}

impl Balancer {
    /// Takes up what an earlier agent left. `own`: what no other agent of the machine has; its table of the packet filter goes by it.
    pub async fn open(haproxy: Arc<Haproxy>, disk: Disk, listen: Listen, own: &str) -> Self {
        let (mut saved, damaged): (Saved, bool) = disk.recall(FILE).await;
        let filter = datagrams::Filter::new(&name_hash(own));
        filter.succeed(&saved).await;
        filter.name().clone_into(&mut saved.table);
        let public = public::Public::new(listen.public_interface.clone());
        let (not_before_ms, seen_ms, back_not_before_ms) = (0, 0, 0);
        let (refused, placed) = Default::default();
        let (loaded, failing_since_ms, passed_on) = (false, None, BTreeMap::new());
        let mut opened = Self {
            haproxy,
            disk,
            listen,
            saved,
            loaded,
            not_before_ms,
            failing_since_ms,
            seen_ms,
            back_not_before_ms,
            refused,
            placed,
            passed_on,
            filter,
            public,
        };
        if damaged {
            opened.recover().await;
        }
        opened
    }

    pub fn layout(&self) -> &Layout {
        &self.saved.layout
    }

    /// Instances that get requests or still answer some. When HAProxy cannot be told to leave any, they are not waited for longer than for the
    /// end of any request: otherwise none that is not wanted any more would ever stop.
    pub fn in_use(&self, now_ms: i64) -> BTreeSet<InstanceId> {
        if self.failing_since_ms.is_none_or(|since| now_ms - since < DRAIN_LIMIT_MS) {
            return self.saved.layout.in_use();
        }
        Layout { services: BTreeMap::new(), datagrams: self.saved.layout.datagrams.clone() }.in_use()
    }

    /// Requests that the holder has under way at instances: those that leave wait for them, too.
    pub fn note_passed_on(&mut self, passed_on: BTreeMap<InstanceId, u64>) {
        self.passed_on = passed_on;
    }

    /// The services whose requests are held while nobody is there, with the sockets for it.
    pub fn held(&self, wanted: &Wanted) -> BTreeMap<String, String> {
        let held = wanted.services.iter().filter(|(_, s)| s.wire.hold && s.wire.protocol != "udp");
        held.map(|(id, _)| (id.clone(), self.haproxy.hold_socket(&name_hash(id)).display().to_string())).collect()
    }

    /// Those of `ready` that the balancer sends requests to, as far as they are behind a service of its own: whoever depends on one asks it
    /// there.
    pub fn served(&self, wanted: &Wanted, ready: impl Iterator<Item = InstanceId>) -> BTreeSet<InstanceId> {
        let rotation = self.saved.layout.in_rotation();
        let there = |id: &InstanceId, service: &str| rotation.get(service).is_some_and(|instances| instances.contains(id));
        let services = || wanted.services.iter().filter(|(_, s)| s.wire.protocol != "udp");
        ready.filter(|id| services().filter(|(_, s)| s.backends.contains_key(id)).all(|(service, _)| there(id, service))).collect()
    }

    /// One round: brings HAProxy, and the kernel for datagrams, to what is wanted now. `ready` = address of each instance here that may get
    /// requests; `gone` = instances here whose container does not run; `pressed` = how hard instances here are, in percent.
    ///
    /// # Errors
    /// When HAProxy could not be brought there; the next round tries again.
    pub async fn round(
        &mut self,
        wanted: &Wanted,
        ready: &BTreeMap<InstanceId, String>,
        gone: BTreeSet<InstanceId>,
        pressed: &BTreeMap<InstanceId, u8>,
        now_ms: i64,
    ) -> Result<(), HaproxyError> {
        self.shorten_pauses(now_ms);
        self.hold_public(wanted, now_ms).await;
        self.place(ready).await;
        self.lead_datagrams(wanted, ready, &gone, pressed, now_ms).await;
        if now_ms < self.not_before_ms {
            return Ok(());
        }
        if self.loaded && now_ms - self.seen_ms >= LOOK_MS {
            self.seen_ms = now_ms;
            // Its master may answer for a worker that is stuck.
            self.loaded = self.haproxy.runs().await && self.haproxy.serves().await;
            self.haproxy.bound_log().await;
            if !self.loaded {
                tracing::error!("HAProxy is gone, or does not answer; starting it again");
            } else if self.haproxy.may_have_shared_port() {
                tracing::info!("a port that all routes share is free again");
                self.loaded = false;
            }
        }
        // Its ports are its own only as long as it runs.
        let runs = self.loaded || self.haproxy.runs().await;
        let mut targets = BTreeMap::new();
        for (id, service) in wanted.services.iter().filter(|(_, s)| s.wire.protocol != "udp") {
            let shape = self.shape(id, service, wanted, runs).await;
            targets.insert(id.clone(), Target { shape, servers: servers(service, wanted, ready, pressed) });
        }
        if targets.is_empty() && self.saved.layout.services.is_empty() && !runs {
            // Nothing to balance yet; the shared port opens with the first service. An agent that never came to balance may have left addresses.
            self.give_back(wanted, now_ms).await;
            return Ok(());
        }
        let sessions = if self.saved.layout.drains_requests() { self.sessions().await } else { BTreeMap::new() };
        let facts = Facts { now_ms, sessions, gone, drain_limit_ms: DRAIN_LIMIT_MS };
        let (layout, change) = balance::next(&self.saved.layout, &targets, &facts);
        // A process of an earlier agent may or may not be as its file says; loading it anew costs nobody a connection.
        let change = if self.loaded { change } else { Change::Reload };
        if change == Change::Commands(Vec::new()) && layout == self.saved.layout {
            self.give_back(wanted, now_ms).await;
            return Ok(());
        }
        let reached = match &change {
            Change::Commands(commands) => self.haproxy.run(commands).await,
            Change::Reload => self.haproxy.load(&layout).await,
        };
        if let Err(error) = reached {
            // What it holds now is unknown; the next round loads everything.
            self.loaded = false;
            self.not_before_ms = now_ms + RETRY_MS;
            self.failing_since_ms = self.failing_since_ms.or(Some(now_ms));
            return Err(error);
        }
        (self.loaded, self.failing_since_ms) = (true, None);
        self.saved.layout = layout;
        self.save().await;
        self.give_back(wanted, now_ms).await;
        Ok(())
    }

    /// A clock that is set back must not make any pause longer than it is meant to be.
    fn shorten_pauses(&mut self, now_ms: i64) {
        self.not_before_ms = self.not_before_ms.min(now_ms.saturating_add(RETRY_MS));
        self.back_not_before_ms = self.back_not_before_ms.min(now_ms.saturating_add(BACK_AGAIN_MS));
        self.seen_ms = self.seen_ms.min(now_ms);
        self.failing_since_ms = self.failing_since_ms.map(|since| since.min(now_ms));
        self.public.shorten_pauses(now_ms);
        self.filter.shorten_pauses(now_ms);
    }

    /// Not waited for the disk: nothing of it is on the machine any more when that has started anew.
    async fn save(&self) {
        if let Err(error) = self.disk.note(FILE, &self.saved).await {
            tracing::error!(%error, "the balancer's state cannot be saved");
        }
    }

    async fn sessions(&self) -> BTreeMap<(String, usize), u64> {
        match self.haproxy.sessions().await {
            Ok(by_name) => {
                let ids: BTreeMap<_, _> = self.saved.layout.services.iter().map(|(id, s)| (s.shape.name.clone(), id.clone())).collect();
                let mut sessions: BTreeMap<_, _> =
                    by_name.into_iter().filter_map(|((name, slot), count)| Some(((ids.get(&name)?.clone(), slot), count))).collect();
                self.saved.layout.count_passed_on(&self.passed_on, &mut sessions);
                sessions
            }
            Err(error) => {
                tracing::warn!(%error, "the balancer does not tell its sessions");
                BTreeMap::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::balance::Server;

    #[tokio::test]
    async fn whoever_is_ready_is_served_only_when_the_balancer_has_it() {
        use gantry_contract::proto::scheduler as wire;
        let folder = tempfile::tempdir().unwrap();
        let haproxy = Haproxy::new("/nowhere/haproxy".into(), folder.path().join("haproxy"), folder.path().join("log"), "127.0.0.1:0".into());
        let disk = Disk::open(folder.path().join("state")).await.unwrap();
        let listen = Listen { address: Ipv4Addr::LOCALHOST.into(), service_network: None, public_interface: String::new() };
        let mut balancer = Balancer::open(Arc::new(haproxy), disk, listen, "a-test").await;
        let id = |n: u128| InstanceId(gantry_kernel::Uuid::from_u128(n));
        let backend = wire::Backend { instance_id: id(1).to_string(), port: 80, ..Default::default() };
        let instance = |n| wire::WantedInstance { instance_id: id(n).to_string(), image: "x".into(), ..Default::default() };
        let service = wire::WantedService { service_id: "s".into(), name: "db".into(), protocol: "tcp".into(), backends: vec![backend], ..Default::default() };
        let (wanted, _) = Wanted::parse(wire::WantedState { instances: vec![instance(1), instance(2)], services: vec![service], ..Default::default() });
        let ready = BTreeMap::from([(id(1), "127.0.0.1".to_owned()), (id(2), "127.0.0.1".to_owned())]);
        let served = |balancer: &Balancer| balancer.served(&wanted, ready.keys().copied());
        assert!(balancer.round(&wanted, &ready, BTreeSet::new(), &BTreeMap::new(), 1_000).await.is_err(), "there is no HAProxy");
        assert_eq!(served(&balancer), BTreeSet::from([id(2)]), "nobody reaches the other one at its name yet");
        let shape = balancer.shape("s", &wanted.services["s"], &wanted, false).await;
        let server = Server { address: "127.0.0.1".into(), port: 80, weight: 100 };
        let slots = vec![balance::Slot::Serving { instance: id(1), server }];
        balancer.saved.layout.services.insert("s".into(), balance::Service { shape, slots });
        assert_eq!(served(&balancer), BTreeSet::from([id(1), id(2)]));
        // It has failed since it was first asked: whoever is to stop does not wait for it for ever.
        assert_eq!(balancer.in_use(1_000 + DRAIN_LIMIT_MS - 1), BTreeSet::from([id(1)]));
        assert!(balancer.in_use(1_000 + DRAIN_LIMIT_MS).is_empty());
        balancer.shorten_pauses(-3_600_000);
        assert_eq!(balancer.in_use(-3_600_000), BTreeSet::from([id(1)]), "the clock was set back");
        assert!(balancer.in_use(-3_600_000 + DRAIN_LIMIT_MS).is_empty());
    }
}
