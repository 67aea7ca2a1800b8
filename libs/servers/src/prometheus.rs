//! A private Prometheus: loopback, own data folder; it reads every service over TLS with a client certificate.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::need::Need;
use crate::process::Launch;
use crate::server::{Folders, Server, exchange};

pub struct Prometheus {
    folders: Folders,
    data: PathBuf,
    port: u16,
    pub tls: Tls,
    pub targets: Vec<Target>,
}

/// What Prometheus shows a service to be let in.
#[derive(Clone, Debug)]
pub struct Tls {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A service to read, with the name its time series carry.
#[derive(Clone, Debug)]
pub struct Target {
    pub service: &'static str,
    pub address: String,
}

/// One entry of `file_sd_configs`.
#[derive(Serialize)]
struct Group<'a> {
    targets: [&'a str; 1],
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    service: &'a str,
}

impl Prometheus {
    /// # Errors
    /// When folders cannot be made.
    pub fn new(root: &Path, port: u16, tls: Tls, targets: Vec<Target>) -> Result<Self> {
        let data = root.join("prometheus");
        fs::create_dir_all(data.join("targets"))?;
        Ok(Self { folders: Folders::below(root)?, data, port, tls, targets })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn config(&self) -> String {
        let Tls { ca, certificate, key } = &self.tls;
        format!(
            "# Written by gantry at every start. More targets: put a file beside targets/gantry.json.\n\
             global:\n  scrape_interval: 5s\n  scrape_timeout: 4s\n  evaluation_interval: 15s\n\
             scrape_configs:\n  - job_name: gantry\n    scheme: https\n    metrics_path: /metrics\n    honor_labels: true\n\
             \x20   tls_config:\n      ca_file: {ca:?}\n      cert_file: {certificate:?}\n      key_file: {key:?}\n      server_name: localhost\n\
             \x20   file_sd_configs:\n      - files: [{:?}]\n        refresh_interval: 30s\n\
             \x20 - job_name: prometheus\n    static_configs:\n      - targets: ['127.0.0.1:{}']\n",
            self.data.join("targets/*.json"),
            self.port,
        )
    }
}

impl Server for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Prometheus]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        fs::write(self.data.join("prometheus.yml"), self.config())?;
        let groups: Vec<Group> = self.targets.iter().map(|t| Group { targets: [&t.address], labels: Labels { service: t.service } }).collect();
        fs::write(self.data.join("targets/gantry.json"), serde_json::to_string_pretty(&groups)?)?;
        Ok(())
    }

    fn launch(&self) -> Result<Launch> {
        let found = Need::Prometheus.find().map_err(|why| anyhow::anyhow!("Prometheus: {why}"))?;
        let args = [
            format!("--config.file={}", self.data.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", self.data.join("data").display()),
            "--storage.tsdb.retention.time=15d".to_owned(),
            "--storage.tsdb.retention.size=4GB".to_owned(),
            format!("--web.listen-address=127.0.0.1:{}", self.port),
        ];
        Ok(Launch::new(found.path, &args.each_ref().map(String::as_str)))
    }

    fn ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn probe(&self) -> Result<()> {
        let send = "GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = exchange(self.port, send, |_| false)?;
        match answer.starts_with("HTTP/1.1 200") {
            true => Ok(()),
            false => bail!("it answers {}", answer.lines().next().unwrap_or("nothing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_configuration_is_one_prometheus_takes() {
        let Some(promtool) = crate::machine::which("promtool", &[]) else {
            println!("promtool is not on this machine; `make up` shows the same by starting the server");
            return;
        };
        let root = tempfile::tempdir().expect("a folder");
        let file = |name: &str| {
            let path = root.path().join(name);
            fs::write(&path, "").expect("written");
            path
        };
        let tls = Tls { ca: file("ca.pem"), certificate: file("c.pem"), key: file("k.pem") };
        let targets = vec![Target { service: "identity", address: "127.0.0.1:7401".into() }];
        let server = Prometheus::new(root.path(), 7490, tls, targets).expect("made");
        server.prepare().expect("written");
        let path = root.path().join("prometheus/prometheus.yml").display().to_string();
        // Syntax only: the certificates of this test are empty files.
        crate::machine::output(promtool, &["check", "config", "--syntax-only", &path]).expect("valid");
        let targets = fs::read_to_string(root.path().join("prometheus/targets/gantry.json")).expect("written");
        assert!(targets.contains("127.0.0.1:7401") && targets.contains("identity"));
    }
}
