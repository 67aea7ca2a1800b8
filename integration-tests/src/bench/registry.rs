//! The registry beside Debian's docker-registry: the same requests, by the same code, to the same disk, in turns. Both answer a push
//! only when it is on the disk.

mod images;
mod inside;
mod large;
mod ours;
mod peer;
mod requests;
mod side;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use gantry_host::{Pki, client_config};
use gantry_servers::{Need, ensure_running, install, stop};

pub use ours::serve;

use self::ours::{Ours, PROJECT};
use self::peer::Peer;
use self::side::{Side, Took};
use super::figure::{Figure, Goal};
use super::ground::Ground;
use super::results::Figures;
use super::rounds::Round;
use super::{Options, former, rounds};

pub const FIGURES: &[&str] = &[
    "registry-push",
    "registry-push-tls",
    "registry-push-cpu",
    "registry-push-cpu-tls",
    "registry-pull",
    "registry-pull-tls",
    "registry-pull-cpu",
    "registry-pull-cpu-tls",
    "registry-images-push",
    "registry-images-push-tls",
    "registry-images-p99",
    "registry-images-p99-tls",
    "registry-images-pull",
    "registry-images-pull-tls",
    "registry-mount",
    "registry-head",
    "registry-manifest",
    "registry-tags-list",
    "registry-tags-search",
    "registry-projects-list",
    "registry-memory",
    "registry-collect",
    "registry-collect-cost",
    "registry-scan-cold",
    "registry-scan-known",
];

const PEER: &str = "docker-registry";
const MEMORY: &str = "registry-memory";
/// Repositories that the measurements use, one for each client.
pub const CLIENTS: usize = 8;

/// Both registries, over the same kind of connection.
pub struct Pair {
    pub ours: Side,
    pub peer: Side,
    /// "-tls" or nothing: what the figures' names end with.
    pub suffix: &'static str,
}

pub fn repository(n: usize) -> String {
    format!("{PROJECT}w{n}")
}

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let (wanted, mut figures) = (Wanted(options), Figures::default());
    if wanted.any(&[MEMORY]) {
        figures.push(memory(&wanted)?);
    }
    if !FIGURES.iter().any(|name| *name != MEMORY && wanted.any(&[*name])) {
        return figures.all();
    }
    install::ensure(&[Need::DockerRegistry], &mut |line| eprintln!("bench: {line}"))?;
    let ground = Ground::start()?;
    let pki = Pki::open(&ground.platform().ca_dir)?;
    let tls = Arc::new(client_config(&pki, &pki.leaf("gateway", &[])?)?);
    let ours = Ours::start(&ground)?;
    let peers = [Peer::new(ground.folder(), None)?, Peer::new(ground.folder(), Some(&pki))?];
    for peer in &peers {
        ensure_running(peer, Duration::from_secs(20))?;
    }
    let mut pairs = Vec::new();
    for (peer, tls, suffix) in [(&peers[0], None, ""), (&peers[1], Some(tls), "-tls")] {
        let mut mine = Side::new(ours.door(tls.clone()), ours.pid());
        for name in (0..CLIENTS).map(repository).chain(inside::REPOSITORIES.iter().map(|n| format!("{PROJECT}{n}"))) {
            mine.sign_in(&name, &ours.token(&name)?);
        }
        let door = wire::Door { address: peer.address(), tls };
        let pid = peer.pid().ok_or_else(|| anyhow::anyhow!("{PEER} has ended"))?;
        pairs.push(Pair { ours: mine, peer: Side::new(door, pid), suffix });
    }
    for pair in &pairs {
        former::doing("one large blob");
        figures.extend(large::measure(&wanted, pair)?);
        former::doing("small images");
        figures.extend(images::measure(&wanted, pair)?);
    }
    former::doing("small requests");
    figures.extend(requests::measure(&wanted, &pairs[1])?);
    inside::measure(&wanted, &ours, &pairs[0].ours, &mut figures)?;
    for peer in &peers {
        stop(peer)?;
    }
    figures.all()
}

/// Of a process that has done nothing before: what scans and long lists took is not what pushes take.
fn memory(wanted: &Wanted<'_>) -> Result<Figure> {
    former::doing("memory during pushes");
    let ground = Ground::start()?;
    let ours = Ours::start(&ground)?;
    let mut side = Side::new(ours.door(None), ours.pid());
    for name in (0..CLIENTS).map(repository) {
        side.sign_in(&name, &ours.token(&name)?);
    }
    inside::memory(wanted, &side)
}

/// Which figures of this group are asked for.
pub struct Wanted<'a>(&'a Options);

impl Wanted<'_> {
    pub fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.0.wants("registry", name))
    }

    pub fn rounds(&self) -> usize {
        self.0.rounds
    }

    pub fn seconds(&self) -> Duration {
        self.0.round()
    }

    /// The full name of a figure of this group.
    pub fn named(&self, name: &str, suffix: &str) -> Option<&'static str> {
        let name = format!("{name}{suffix}");
        FIGURES.iter().find(|f| **f == name && self.0.wants("registry", f)).copied()
    }
}

/// The same work at both, in turns.
pub fn in_turns(rounds: usize, mut ours: impl FnMut() -> Result<Took>, mut peer: impl FnMut() -> Result<Took>) -> Result<Vec<(Took, Took)>> {
    let mut all = Vec::new();
    for n in 0..rounds {
        all.push(if n % 2 == 0 {
            let peer = peer()?;
            (ours()?, peer)
        } else {
            (ours()?, peer()?)
        });
    }
    Ok(all)
}

/// One number of each turn, compared.
pub fn compare(name: &'static str, unit: &'static str, all: &[(Took, Took)], goal: Goal, number: impl Fn(&Took) -> f64) -> Figure {
    let rounds = all.iter().map(|(ours, peer)| Round { ours: number(ours), anchor: number(peer) }).collect();
    Figure::compared(name, unit, PEER, rounds, goal)
}

pub use rounds::quantile_ms;
