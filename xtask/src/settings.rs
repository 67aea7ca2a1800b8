//! What `up` writes for the services (`gantry.toml`) and for scripts (`env`), both for their owner only.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use gantry_servers::server::write_private;
use gantry_servers::suite::{Choices, Urls};
use gantry_servers::{Credentials, Home, text_from_env};
use serde::Serialize;

/// Name of the first administrator.
pub const ADMIN: &str = "admin";
const ADMIN_FILE: &str = "admin.password";

#[derive(Serialize)]
struct File<'a> {
    platform: Platform<'a>,
    gateway: Gateway,
    identity: Identity<'a>,
    scheduler: Scheduler,
}

#[derive(Serialize)]
struct Platform<'a> {
    home: String,
    public_url: String,
    listen: &'a str,
    port_base: u16,
    database_url: &'a str,
    nats_url: &'a str,
    redis_url: &'a str,
    prometheus_url: &'a str,
    ca_dir: String,
    containerd: &'a str,
    master_key_file: String,
}

#[derive(Serialize)]
struct Identity<'a> {
    admin_username: &'a str,
    admin_password_file: String,
    outside_private: bool,
}

#[derive(Serialize)]
struct Gateway {
    listen: String,
}

#[derive(Serialize)]
struct Scheduler {
    first_port: u16,
    last_port: u16,
    route_port: u16,
    secure_route_port: u16,
}

/// What a suite is reached by.
pub struct Suite {
    pub url: String,
    /// True when this call changed the services' configuration.
    pub changed: bool,
}

/// # Errors
/// When the disk refuses.
pub fn write(home: &Home, choices: &Choices, urls: &Urls) -> Result<Suite> {
    let ports = choices.ports;
    let admin = Credentials::kept_in(&home.file(ADMIN_FILE), ADMIN)?;
    let (first_port, last_port) = ports.applications();
    let url = text_from_env("GANTRY_PUBLIC_URL").unwrap_or_else(|| format!("https://localhost:{}", ports.gateway()));
    let file = File {
        platform: Platform {
            home: home.root().display().to_string(),
            public_url: url.clone(),
            listen: "127.0.0.1",
            port_base: ports.base(),
            database_url: &urls.postgres,
            nats_url: &urls.nats,
            redis_url: &urls.redis,
            prometheus_url: &urls.prometheus,
            ca_dir: home.file("ca").display().to_string(),
            containerd: &urls.containerd,
            master_key_file: home.file("master.key").display().to_string(),
        },
        gateway: Gateway { listen: format!("127.0.0.1:{}", ports.gateway()) },
        identity: Identity {
            admin_username: &admin.user,
            admin_password_file: home.file(ADMIN_FILE).display().to_string(),
            // A platform that only this machine reaches has its clients here, too.
            outside_private: url.starts_with("https://localhost:"),
        },
        scheduler: Scheduler { first_port, last_port, route_port: ports.routes(), secure_route_port: ports.secure_routes() },
    };
    let text = format!(
        "# Written by `make up`. Your own settings go on top by the environment: GANTRYD__SCHEDULER__NODE_TIMEOUT_SECONDS=15\n{}",
        toml::to_string(&file)?
    );
    let path = home.file("gantry.toml");
    let changed = fs::read_to_string(&path).ok().as_deref() != Some(&text);
    if changed {
        write_private(&path, &text)?;
    }
    write_private(&home.file("env"), &env_text(home, &url, &admin, urls))?;
    Ok(Suite { url, changed })
}

fn env_text(home: &Home, url: &str, admin: &Credentials, urls: &Urls) -> String {
    let registry = url.split_once("://").map_or(url, |(_, host)| host);
    let ca = home.ca().display().to_string();
    let pairs = [
        ("GANTRY_HOME", home.root().display().to_string()),
        ("GANTRY_URL", url.to_owned()),
        ("GANTRY_CA", ca),
        ("GANTRY_ADMIN_USER", admin.user.clone()),
        ("GANTRY_ADMIN_PASSWORD", admin.password.clone()),
        ("GANTRY_REGISTRY", registry.to_owned()),
        ("GANTRY_NATS_URL", urls.nats.clone()),
        ("GANTRY_DATABASE_URL", urls.postgres.clone()),
        ("GANTRY_REDIS_URL", urls.redis.clone()),
        ("GANTRY_PROMETHEUS_URL", urls.prometheus.clone()),
        ("GANTRY_CONTAINERD", urls.containerd.clone()),
    ];
    pairs.map(|(key, value)| format!("{key}='{}'\n", value.replace('\'', r"'\''"))).concat()
}

/// The pairs of a written `env` file.
///
/// # Errors
/// When there is none: the suite was never brought up.
pub fn read_env(home: &Home) -> Result<BTreeMap<String, String>> {
    let path = home.file("env");
    let text = fs::read_to_string(&path).with_context(|| format!("{} is not there; run `make up` first", path.display()))?;
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
        Some((key.to_owned(), value.replace(r"'\''", "'")))
    };
    Ok(text.lines().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use gantry_servers::Ports;
    use gantry_servers::suite::External;

    use super::*;

    #[test]
    fn scripts_find_every_key_and_nobody_else_reads_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path()).expect("a home");
        let choices = Choices { ports: Ports::from_base(8400).expect("valid"), external: External::default() };
        let (_, urls) = gantry_servers::suite::servers(&home, &choices, true).expect("addresses");
        let suite = write(&home, &choices, &urls).expect("written");
        assert!(suite.changed && !write(&home, &choices, &urls).expect("written again").changed);
        let env = read_env(&home).expect("read");
        for key in [
            "GANTRY_URL",
            "GANTRY_CA",
            "GANTRY_ADMIN_USER",
            "GANTRY_ADMIN_PASSWORD",
            "GANTRY_REGISTRY",
            "GANTRY_NATS_URL",
            "GANTRY_DATABASE_URL",
            "GANTRY_PROMETHEUS_URL",
            "GANTRY_CONTAINERD",
        ] {
            assert!(env.get(key).is_some_and(|v| !v.is_empty()), "{key}");
        }
        assert_eq!(env["GANTRY_REGISTRY"], "localhost:8443");
        for file in ["env", "gantry.toml", "admin.password"] {
            let mode = fs::metadata(home.file(file)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
}
