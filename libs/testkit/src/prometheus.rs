//! A real Prometheus of a test's own, on a free port: every second it scrapes what the test says. Ends with the test.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use axum::routing::get;
use tempfile::TempDir;

use crate::port::free_port;

/// Stopped and removed on drop.
pub struct Prometheus {
    child: Child,
    pub url: String,
    _home: TempDir,
}

impl Prometheus {
    /// `figures` says what there is to scrape, at each look anew.
    ///
    /// # Panics
    /// When there is no Prometheus on this machine.
    pub async fn scraping(figures: impl Fn() -> String + Clone + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let target = listener.local_addr().expect("an address");
        let router = axum::Router::new().route("/metrics", get(move || async move { figures() }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let home = tempfile::tempdir().expect("a temporary folder");
        let config = home.path().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n  - job_name: agent\n    honor_labels: true\n    static_configs:\n      - targets: ['{target}']\n"
        );
        std::fs::write(&config, text).expect("the configuration is written");
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed (apt install prometheus)");
        Self { child, url: format!("http://127.0.0.1:{port}"), _home: home }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
