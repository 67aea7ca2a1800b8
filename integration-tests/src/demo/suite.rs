//! Where the suite is: `.gantry/env`, or the environment itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

pub struct Suite {
    pub url: String,
    pub ca: PathBuf,
    /// Host and port, as images are named.
    pub registry: String,
    pub containerd: String,
    /// Name and first password of the platform's administrator.
    pub admin: (String, String),
    /// The command-line client under test.
    pub cli: PathBuf,
}

impl Suite {
    /// # Errors
    /// When the suite was never brought up.
    #[allow(clippy::disallowed_methods, reason = "a program for people finds its settings by the environment")]
    pub fn find() -> Result<Self> {
        let home = std::env::var("GANTRY_HOME").unwrap_or_else(|_| ".gantry".into());
        let file = PathBuf::from(home).join("env");
        let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read; run `make up` first", file.display()))?;
        let pairs: BTreeMap<&str, String> = text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k, v.trim_matches('\'').to_owned())).collect();
        let get = |key: &str| std::env::var(key).ok().or_else(|| pairs.get(key).cloned()).with_context(|| format!("{key} is not in {}", file.display()));
        let beside = std::env::current_exe()?.with_file_name("gantry");
        let cli = std::env::var("GANTRY_CLI").map_or(beside, PathBuf::from);
        let admin = (get("GANTRY_ADMIN_USER")?, get("GANTRY_ADMIN_PASSWORD")?);
        Ok(Self {
            admin,
            url: get("GANTRY_URL")?,
            ca: PathBuf::from(get("GANTRY_CA")?),
            registry: get("GANTRY_REGISTRY")?,
            containerd: get("GANTRY_CONTAINERD").unwrap_or_default(),
            cli,
        })
    }

    /// A client that trusts the suite's CA alone and follows no redirects by itself.
    ///
    /// # Errors
    /// When the CA cannot be read.
    pub fn client(&self) -> Result<reqwest::Client> {
        let pem = std::fs::read(&self.ca).with_context(|| format!("{} cannot be read", self.ca.display()))?;
        let ca = reqwest::Certificate::from_pem(&pem)?;
        let client = reqwest::Client::builder().tls_certs_only([ca]).redirect(reqwest::redirect::Policy::none()).timeout(std::time::Duration::from_secs(60));
        Ok(client.build()?)
    }
}
