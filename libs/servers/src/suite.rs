//! Where a suite keeps its things and on which ports it listens. Everything is below one folder and shifts with one number,
//! so that a second suite (of a test run) can live beside a user's.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::containerd::{Containerd, Network};
use crate::machine::{number_from_env, text_from_env};
use crate::nats::Nats;
use crate::postgres::Postgres;
use crate::prometheus::{Prometheus, Target, Tls};
use crate::redis::Redis;
use crate::server::Server;

/// The folder of one suite: `.gantry` unless GANTRY_HOME says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// # Errors
    /// When the folder cannot be made.
    pub fn at(path: &Path) -> Result<Self> {
        // A link stays when what it leads to is deleted; there it is made anew.
        let place = match fs::read_link(path) {
            Ok(target) => path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => path.to_owned(),
        };
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        Ok(Self(path.canonicalize()?))
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn ca(&self) -> PathBuf {
        self.file("ca/ca.pem")
    }
}

/// One number decides all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ports(u16);

/// The services in the order of their ports, starting one above the base.
pub const SERVICES: [&str; 8] = ["identity", "registry", "scheduler", "cicd", "catalog", "billing", "monitoring", "agent"];

impl Ports {
    pub const DEFAULT: Ports = Ports(7400);

    /// # Errors
    /// When the ports above `base` do not fit.
    pub fn from_base(base: u16) -> Result<Self> {
        if !(1024..=65_400).contains(&base) || !base.is_multiple_of(100) {
            bail!("GANTRY_PORT_BASE = {base}: must be a multiple of 100 from 1100 to 65400");
        }
        Ok(Self(base))
    }

    pub fn base(self) -> u16 {
        self.0
    }

    pub fn gateway(self) -> u16 {
        self.0 + 43
    }

    /// # Panics
    /// When there is no such service: a mistake in the caller.
    pub fn service(self, name: &str) -> u16 {
        let at = SERVICES.iter().position(|s| *s == name).expect("one of SERVICES");
        self.0 + 1 + u16::try_from(at).expect("eight services")
    }

    pub fn postgres(self) -> u16 {
        self.0 + 32
    }

    pub fn nats(self) -> u16 {
        self.0 + 22
    }

    pub fn nats_monitor(self) -> u16 {
        self.0 + 23
    }

    pub fn redis(self) -> u16 {
        self.0 + 79
    }

    pub fn prometheus(self) -> u16 {
        self.0 + 90
    }

    /// HTTP routes of applications.
    pub fn routes(self) -> u16 {
        self.0 + 80
    }

    /// HTTPS routes of applications.
    pub fn secure_routes(self) -> u16 {
        self.0 + 81
    }

    /// First and last port for applications that want one of their own.
    pub fn applications(self) -> (u16, u16) {
        let first = 20_000 + 1000 * u16::from(self.shift());
        (first, first + 999)
    }

    /// 0 for the default base; tells bridges and subnets of suites apart.
    fn shift(self) -> u8 {
        u8::try_from((i32::from(self.0) - i32::from(Self::DEFAULT.0)).rem_euclid(1200) / 100).expect("less than 12")
    }

    pub fn network(self) -> Network {
        Network { bridge: format!("gantry{}", self.shift()), second: 88 + self.shift() }
    }
}

/// What a user chose, kept beside the data so that every later command agrees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    pub ports: Ports,
    /// Servers that exist already and are used instead of private ones: name → URL or socket.
    #[serde(default)]
    pub external: External,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    pub postgres: Option<String>,
    pub nats: Option<String>,
    pub redis: Option<String>,
    pub prometheus: Option<String>,
    /// A path of a CRI socket.
    pub containerd: Option<String>,
}

impl Choices {
    /// What was chosen before, with what the environment says now on top.
    ///
    /// # Errors
    /// When a value is not acceptable.
    pub fn load(home: &Home) -> Result<Self> {
        let file = home.file("choices.json");
        let mut choices = match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is not readable", file.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Self { ports: Ports::DEFAULT, external: External::default() },
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        if let Some(base) = number_from_env("GANTRY_PORT_BASE")? {
            choices.ports = Ports::from_base(base)?;
        }
        let external = &mut choices.external;
        for (key, slot) in [
            ("GANTRY_EXTERNAL_POSTGRES", &mut external.postgres),
            ("GANTRY_EXTERNAL_NATS", &mut external.nats),
            ("GANTRY_EXTERNAL_REDIS", &mut external.redis),
            ("GANTRY_EXTERNAL_PROMETHEUS", &mut external.prometheus),
            ("GANTRY_EXTERNAL_CONTAINERD", &mut external.containerd),
        ] {
            if let Some(value) = text_from_env(key) {
                *slot = Some(value);
            }
        }
        Ok(choices)
    }

    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, home: &Home) -> Result<()> {
        crate::server::write_private(&home.file("choices.json"), &serde_json::to_string_pretty(self)?)
    }
}

/// Addresses of everything the services use, private or not.
#[derive(Clone, Debug)]
pub struct Urls {
    pub postgres: String,
    pub nats: String,
    pub redis: String,
    pub prometheus: String,
    /// Path of the CRI socket.
    pub containerd: String,
}

/// The servers this suite runs itself, in the order they start, and the addresses of all.
///
/// # Errors
/// When their folders cannot be made.
pub fn servers(home: &Home, choices: &Choices, with_agent: bool) -> Result<(Vec<Box<dyn Server>>, Urls)> {
    let (root, ports) = (home.root(), choices.ports);
    let mut own: Vec<Box<dyn Server>> = Vec::new();
    let external = choices.external.clone();
    let mut urls = Urls {
        postgres: external.postgres.unwrap_or_default(),
        nats: external.nats.unwrap_or_default(),
        redis: external.redis.unwrap_or_default(),
        prometheus: external.prometheus.unwrap_or_default(),
        containerd: external.containerd.unwrap_or_default(),
    };
    if urls.postgres.is_empty() {
        let server = Postgres::new(root, ports.postgres(), true)?;
        urls.postgres = server.url();
        own.push(Box::new(server));
    }
    if urls.nats.is_empty() {
        let server = Nats::new(root, ports.nats(), ports.nats_monitor())?;
        urls.nats = server.url();
        own.push(Box::new(server));
    }
    if urls.redis.is_empty() {
        let server = Redis::new(root, ports.redis())?;
        urls.redis = server.url();
        own.push(Box::new(server));
    }
    if urls.containerd.is_empty() {
        let registry = format!("localhost:{}", ports.gateway());
        let server = Containerd::new(root, ports.network(), registry, home.ca())?;
        urls.containerd = server.socket().display().to_string();
        if with_agent {
            own.push(Box::new(server));
        }
    }
    if urls.prometheus.is_empty() {
        let tls = Tls { ca: home.ca(), certificate: home.file("ca/prometheus.pem"), key: home.file("ca/prometheus.key") };
        // All services are one process here and show the same figures on every port; the agent adds those of node and containers.
        let service = if with_agent { "agent" } else { "identity" };
        let targets = vec![Target { service, address: format!("127.0.0.1:{}", ports.service(service)) }];
        let server = Prometheus::new(root, ports.prometheus(), tls, targets)?;
        urls.prometheus = server.url();
        own.push(Box::new(server));
    }
    Ok((own, urls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bases_share_no_port_bridge_or_subnet() {
        let (one, two) = (Ports::DEFAULT, Ports::from_base(17_400).expect("valid"));
        assert_eq!((one.gateway(), one.service("identity"), one.service("agent")), (7443, 7401, 7408));
        assert_eq!(one.network().bridge, "gantry0");
        assert_eq!(one.applications(), (20_000, 20_999));
        assert_ne!(one.network().bridge, two.network().bridge);
        assert_ne!(one.network().second, two.network().second);
        assert_ne!(one.applications(), two.applications());
        assert!(Ports::from_base(7401).is_err() && Ports::from_base(0).is_err());
    }

    #[test]
    fn a_home_behind_a_link_can_be_made_again_after_it_was_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("home");
        std::os::unix::fs::symlink("elsewhere/suite", &link).expect("linked");
        let home = Home::at(&link).expect("made where the link leads");
        assert!(home.root().ends_with("elsewhere/suite"), "{}", home.root().display());
        fs::remove_dir_all(home.root()).expect("deleted");
        assert_eq!(Home::at(&link).expect("made again"), home);
    }

    #[test]
    fn choices_survive_and_unknown_ones_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path()).expect("a home");
        let chosen = Choices { ports: Ports::from_base(8400).expect("valid"), external: External::default() };
        chosen.save(&home).expect("saved");
        assert_eq!(Choices::load(&home).expect("loaded"), chosen);
        fs::write(home.file("choices.json"), r#"{"ports":7400,"colour":"red"}"#).expect("written");
        assert!(Choices::load(&home).is_err());
    }
}
