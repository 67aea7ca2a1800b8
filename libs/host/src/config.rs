//! Configuration: one TOML file with a section per service, the environment on top (`GANTRYD__SCHEDULER__NODE_TIMEOUT=5s`
//! style: `GANTRYD`, section, key, parted by two underscores), unknown keys refused, every fault listed before anything starts.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use gantry_kernel::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A section of the file.
pub trait Section: Default + Serialize + DeserializeOwned + Send + Sync + Clone + 'static {
    /// Adds one line per fault: `grace_seconds = 0: must be 1 to 3600`.
    fn validate(&self, _faults: &mut Vec<String>) {}
}

/// For services without settings of their own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Section for Nothing {}

/// What all services share: `[platform]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Platform {
    /// Where state is kept.
    pub home: PathBuf,
    /// What people and clients type; also the issuer of tokens. No trailing slash.
    pub public_url: String,
    pub database_url: Secret,
    pub nats_url: Secret,
    /// First token of every NATS subject; also prefixes the database schemas when it is not `gantry`.
    pub prefix: String,
    pub redis_url: Secret,
    /// Empty: no metrics are read back.
    pub prometheus_url: String,
    /// The containerd socket the agent and the pipelines use; empty: none.
    pub containerd: PathBuf,
    /// Folder with `ca.pem` and `ca.key` (made on first start if empty).
    pub ca_dir: PathBuf,
    /// Services listen here; the gateway has its own setting.
    pub listen: IpAddr,
    /// identity listens on base + 1, and so on in the order of [`PORTS`]; 0: any free port.
    pub port_base: u16,
    /// Addresses of services that do not run in this process: `scheduler = "https://scheduler:7403"`.
    pub peers: std::collections::BTreeMap<String, String>,
    /// 32 bytes, base64 or raw; made on first start if missing. Wraps the data keys.
    pub master_key_file: PathBuf,
    /// A service that has not heard from identity's event stream for so long refuses changes: the rights it knows may be old.
    pub rights_stale_seconds: u32,
    /// Connections to Postgres per service.
    pub database_connections: u32,
    /// How long Postgres, NATS and Redis may take to be there when this process starts.
    pub server_patience_seconds: u64,
    /// OTLP over gRPC, e.g. `http://127.0.0.1:4317`; empty: traces stay in the process.
    pub otlp_endpoint: String,
    /// `info`, or directives such as `info,gantry_scheduler=debug`.
    pub log: String,
    /// `text` or `json`.
    pub log_format: String,
    /// Largest request body, but for uploads to the registry and git.
    pub max_body_bytes: usize,
    /// Requests under way at once per service; more are told to come back.
    pub max_concurrency: usize,
}

/// Order of the services' ports after the base.
pub const PORTS: &[&str] = &["identity", "registry", "scheduler", "cicd", "catalog", "billing", "monitoring", "agent"];

impl Default for Platform {
    fn default() -> Self {
        Self {
            home: PathBuf::from(".gantry"),
            public_url: "https://localhost:7443".into(),
            database_url: Secret::default(),
            nats_url: Secret::default(),
            prefix: "gantry".into(),
            redis_url: Secret::default(),
            prometheus_url: String::new(),
            containerd: PathBuf::new(),
            ca_dir: PathBuf::from(".gantry/ca"),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_base: 7400,
            peers: std::collections::BTreeMap::new(),
            master_key_file: PathBuf::from(".gantry/master.key"),
            rights_stale_seconds: 60,
            database_connections: 10,
            server_patience_seconds: 60,
            otlp_endpoint: String::new(),
            log: "info".into(),
            log_format: "text".into(),
            max_body_bytes: 1 << 20,
            max_concurrency: 512,
        }
    }
}

impl Section for Platform {
    fn validate(&self, faults: &mut Vec<String>) {
        if !self.public_url.starts_with("https://") || self.public_url.ends_with('/') {
            faults.push(format!("public_url = {:?}: must start with https:// and have no slash at the end", self.public_url));
        }
        for (name, value) in [("database_url", &self.database_url), ("nats_url", &self.nats_url), ("redis_url", &self.redis_url)] {
            if value.is_empty() {
                faults.push(format!("{name}: must be set"));
            }
        }
        if self.prefix.is_empty() || !self.prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            faults.push(format!("prefix = {:?}: must be of a-z, 0-9 and '_'", self.prefix));
        }
        if !(1..=86_400).contains(&self.rights_stale_seconds) {
            faults.push(format!("rights_stale_seconds = {}: must be 1 to 86400", self.rights_stale_seconds));
        }
        if !(2..=100).contains(&self.database_connections) {
            faults.push(format!("database_connections = {}: must be 2 to 100", self.database_connections));
        }
        if !matches!(self.log_format.as_str(), "text" | "json") {
            faults.push(format!("log_format = {:?}: must be text or json", self.log_format));
        }
        if self.max_body_bytes < 1024 {
            faults.push(format!("max_body_bytes = {}: must be at least 1024", self.max_body_bytes));
        }
        if self.max_concurrency == 0 {
            faults.push("max_concurrency = 0: must be at least 1".into());
        }
    }
}

impl Platform {
    /// Schema of a service: its name, prefixed when this is not the only installation in the database.
    pub fn schema(&self, service: &str) -> String {
        if self.prefix == "gantry" { service.to_owned() } else { format!("{}_{service}", self.prefix) }
    }

    /// The fixed port of a service, or 0 for any.
    pub fn port_of(&self, service: &str) -> u16 {
        let index = PORTS.iter().position(|p| *p == service).and_then(|i| u16::try_from(i + 1).ok());
        match (self.port_base, index) {
            (0, _) | (_, None) => 0,
            (base, Some(index)) => base + index,
        }
    }

    /// Host and port of the public door: the registry's name for docker and its like.
    pub fn public_host(&self) -> &str {
        self.public_url.trim_start_matches("https://")
    }
}

/// All that is wrong with a configuration.
#[derive(Debug, Error)]
#[error("the configuration has faults:\n  {}", .0.join("\n  "))]
pub struct ConfigFaults(pub Vec<String>);

/// Reads section `name`; faults are added, and the defaults stand in for a section that cannot be read.
fn section<S: Section>(source: &config::Config, name: &str, faults: &mut Vec<String>) -> S {
    let read = match source.get::<S>(name) {
        Ok(section) => section,
        Err(config::ConfigError::NotFound(_)) => S::default(),
        Err(error) => {
            faults.push(format!("[{name}] {error}"));
            return S::default();
        }
    };
    let mut own = Vec::new();
    read.validate(&mut own);
    faults.extend(own.into_iter().map(|fault| format!("{name}.{fault}")));
    read
}

/// A read file, from which sections are taken.
pub struct Loaded {
    source: config::Config,
    pub faults: Vec<String>,
}

impl Loaded {
    pub fn section<S: Section>(&mut self, name: &str) -> S {
        section(&self.source, name, &mut self.faults)
    }

    /// Refuses sections that nobody knows.
    pub fn refuse_unknown(&mut self, known: &[&str]) {
        let table = self.source.clone().try_deserialize::<std::collections::BTreeMap<String, toml::Value>>().unwrap_or_default();
        for name in table.keys().filter(|n| !known.contains(&n.as_str())) {
            self.faults.push(format!("[{name}]: there is no such section; known are {}", known.join(", ")));
        }
    }
}

/// Reads the file (if given) and the environment.
///
/// # Errors
/// When the file cannot be read or is no TOML.
pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigFaults> {
    let mut builder = config::Config::builder();
    if let Some(file) = file {
        builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
    }
    let environment = config::Environment::with_prefix("GANTRYD").prefix_separator("__").separator("__").try_parsing(true);
    let source = builder.add_source(environment).build().map_err(|e| ConfigFaults(vec![e.to_string()]))?;
    Ok(Loaded { source, faults: Vec::new() })
}
