//! Requests through the node's balancer: HAProxy with the configuration that the agent writes and started as the agent starts it,
//! beside HAProxy with the same routes in a configuration as a person would write it. Both lead to the same servers.

mod anchor;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gantry_agent::adapters::haproxy::Haproxy;
use gantry_agent::domain::balance::{Access, Layer7, Layout, Server as Backend, Service, Shape, Slot};
use gantry_kernel::{InstanceId, Uuid};
use gantry_servers::server::free_port;
use gantry_servers::{Need, ensure_running, install, stop};
use tokio::runtime::Runtime;

use self::anchor::Anchor;
use self::servers::Servers;
use crate::bench::Options;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ground::runtime;
use crate::bench::http::load::Http;
use crate::bench::results::Figures;
use crate::bench::rounds::Round;
use crate::bench::usage::{cpu_of, with_children};

pub const FIGURES: &[&str] = &["proxy-requests", "proxy-cpu"];

const ANCHOR: &str = "HAProxy alone, the same rules";
/// Applications with a host and an API below it each, and the instances of each.
const APPS: usize = 10;
const INSTANCES: usize = 3;
const CALLERS: usize = 32;

/// A balanced name: routes and where they lead.
pub struct App {
    pub name: String,
    pub host: String,
    /// Path prefix.
    pub path: String,
    pub servers: Vec<SocketAddr>,
}

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    install::ensure(&[Need::Haproxy], &mut |line| eprintln!("bench: {line}"))?;
    let folder = Folder::new()?;
    let runtime = runtime()?;
    let servers = Servers::start(&runtime, INSTANCES)?;
    let apps: Vec<App> = (0..APPS)
        .flat_map(|n| [("shop", "/"), ("api", "/api")].map(|(kind, path)| (format!("{kind}{n}"), format!("shop{n}.bench"), path.to_owned())))
        .map(|(name, host, path)| App { name, host, path, servers: servers.addresses.clone() })
        .collect();
    let ours = Ours::start(&runtime, &folder.0, &apps)?;
    let anchor = Anchor::new(&folder.0, &apps)?;
    ensure_running(&anchor, Duration::from_secs(20))?;
    let targets: Vec<(String, String)> = apps.iter().map(|a| (a.host.clone(), format!("{}/item", a.path.trim_end_matches('/')))).collect();
    // Requests per second, and microseconds of HAProxy's processor time for one.
    let ask = |address: SocketAddr, pids: &dyn Fn() -> Result<Vec<u32>>, each: Duration| -> Result<(f64, f64)> {
        let (pids, load) = (pids()?, Http::plain(address, &targets));
        let (used, began) = (cpu_of(&pids)?, Instant::now());
        let done = runtime.block_on(load.run(CALLERS, each))?;
        #[allow(clippy::cast_precision_loss, reason = "some millions")]
        let done = done as f64;
        Ok((done / began.elapsed().as_secs_f64(), (cpu_of(&pids)? - used) * 1e6 / done))
    };
    let mine = |each| ask(ours.address, &|| ours.processes(), each);
    let theirs = |each| ask(anchor.address(), &|| anchor.processes(), each);
    // The first connections to the servers are nobody's daily life.
    mine(Duration::from_secs(1))?;
    theirs(Duration::from_secs(1))?;
    let (mut requests, mut processor) = (Vec::new(), Vec::new());
    for n in 0..options.rounds {
        let (ours, anchor) = if n % 2 == 0 {
            let anchor = theirs(options.round())?;
            (mine(options.round())?, anchor)
        } else {
            (mine(options.round())?, theirs(options.round())?)
        };
        requests.push(Round { ours: ours.0, anchor: anchor.0 });
        processor.push(Round { ours: ours.1, anchor: anchor.1 });
    }
    stop(&anchor)?;
    let mut figures = Figures::default();
    if options.wants("proxy", "proxy-requests") {
        figures.push(Figure::compared("proxy-requests", "requests/s", ANCHOR, requests, Goal::AtLeast(0.9)));
    }
    if options.wants("proxy", "proxy-cpu") {
        // The same goal where the machine's other half, which asks and answers, does not dilute it.
        figures.push(Figure::compared("proxy-cpu", "us of HAProxy's CPU per request", ANCHOR, processor, Goal::AtMost(1.11)));
    }
    figures.all()
}

/// The agent's HAProxy; stopped when it is dropped.
struct Ours<'a> {
    haproxy: Arc<Haproxy>,
    folder: PathBuf,
    address: SocketAddr,
    runtime: &'a Runtime,
}

impl<'a> Ours<'a> {
    fn start(runtime: &'a Runtime, root: &Path, apps: &[App]) -> Result<Self> {
        let (folder, address) = (root.join("haproxy"), SocketAddr::from(([127, 0, 0, 1], free_port()?)));
        let binary = Need::Haproxy.find().map_err(|why| anyhow::anyhow!("HAProxy: {why}"))?.path;
        let haproxy = Arc::new(Haproxy::new(binary, folder.clone(), root.join("haproxy.log"), address.to_string()));
        let ours = Self { haproxy, folder, address, runtime };
        runtime.block_on(ours.haproxy.load(&layout(apps)))?;
        Ok(ours)
    }

    fn processes(&self) -> Result<Vec<u32>> {
        let text = fs::read_to_string(self.folder.join("haproxy.pid"))?;
        let master = text.lines().next().and_then(|l| l.trim().parse().ok()).context("HAProxy's pid file is empty")?;
        Ok(with_children(master))
    }
}

impl Drop for Ours<'_> {
    fn drop(&mut self) {
        self.runtime.block_on(self.haproxy.stop());
    }
}

/// As the agent has it for these applications: as many slots as it gives a service, the first ones taken.
fn layout(apps: &[App]) -> Layout {
    const SLOTS: usize = 8;
    let service = |(n, app): (usize, &App)| {
        let shape = Shape {
            name: app.name.clone(),
            http: true,
            algorithm: "roundrobin".into(),
            binds: BTreeSet::new(),
            routes: BTreeSet::from([(app.host.clone(), app.path.clone())]),
            headers: Vec::new(),
            hold: String::new(),
            access: Access::default(),
            layer7: Layer7::default(),
        };
        let slot = |(at, server): (usize, &SocketAddr)| Slot::Serving {
            instance: InstanceId(Uuid::from_u128((n * SLOTS + at) as u128)),
            server: Backend { address: server.ip().to_string(), port: server.port(), weight: 256 },
        };
        let mut slots: Vec<Slot> = app.servers.iter().enumerate().map(slot).collect();
        slots.resize(SLOTS, Slot::Free);
        (app.name.clone(), Service { shape, slots })
    };
    Layout { services: apps.iter().enumerate().map(service).collect::<BTreeMap<_, _>>(), ..Layout::default() }
}

/// Removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let folder = Path::new("target/bench/proxy").join(std::process::id().to_string());
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        // Sockets have short names.
        ensure!(folder.as_os_str().len() < 80, "{} is too long a path for a socket: run it where the repository has a shorter one", folder.display());
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("bench: {} could not be removed: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_agent::domain::haproxy::{Places, config, maps};

    use super::*;

    #[test]
    fn the_layout_is_one_that_the_agent_could_have() {
        let apps = [App { name: "shop0".into(), host: "shop0.bench".into(), path: "/".into(), servers: vec![([127, 0, 0, 1], 8080).into()] }];
        let layout = layout(&apps);
        assert_eq!(maps(&layout).1, "shop0.bench/ shop0\n");
        let places = Places { stats_socket: "/s".into(), maps: "/m".into(), http_listen: "127.0.0.1:1".into(), ..Places::default() };
        let text = config(&layout, &places);
        assert!(text.contains("server s0 127.0.0.1:8080 weight 256\n  server s1 127.0.0.1:1 disabled"), "{text}");
    }
}
