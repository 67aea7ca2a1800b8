//! The node agent: makes the containers of this machine match the scheduler's word, balances requests among them, ships what
//! they print and tells how the machine is. It has no database: its truth is the last word, on disk, and the runtime.

pub mod adapters;
pub mod app;
pub mod config;
pub mod domain;
pub mod flows;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod node;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::routing::get;
use futures::FutureExt;
use gantry_contract::proto::scheduler as wire;
use gantry_cri::Cri;
use gantry_host::{Host, Part, Parts, Service};

use crate::adapters::daemons::Daemons;
pub use crate::adapters::enrolment::join;
use crate::adapters::logs::Shipper;
use crate::adapters::{enrolment, facts, metrics};
use crate::app::acts::Telling;
use crate::app::bounding;
use crate::app::image_gc::ImageGc;
use crate::app::line::Line;
use crate::app::routing::Routing;
use crate::app::sessions::Sessions;
use crate::app::shipping::{Shipping, sweep};
use crate::config::Config;
use crate::flows::control::Control;
use crate::flows::renewal::Renewal;
use crate::node::{Node, Settings};

pub struct Agent;

#[async_trait]
impl Service for Agent {
    const NAME: &'static str = "agent";
    const DATABASE: bool = false;
    // Containers are kept right while the control plane is away, also after a start.
    const BUS: bool = false;
    type Config = Config;

    fn openapi() -> utoipa::openapi::OpenApi {
        use utoipa::OpenApi;
        #[derive(OpenApi)]
        #[openapi(info(title = "Gantry agent", description = "Internal: reached by other services with their certificates."), paths(status))]
        struct Api;
        Api::openapi()
    }

    async fn start(config: Config, host: Host) -> anyhow::Result<Parts> {
        if host.platform.containerd.as_os_str().is_empty() {
            tracing::warn!("no container runtime is configured (platform.containerd): this agent runs no containers");
            return Ok(Parts::default());
        }
        let home = resolved(&host.platform.home).await?;
        let cri = Cri::lazy(std::path::absolute(&host.platform.containerd)?);
        let joined = enrolment::certificate(&host.leaf.chain_pem);
        let name = match &joined {
            Some(own) if config.node.is_empty() => own.node.to_string(),
            _ => config.node_name(),
        };
        let settings = Settings {
            node: name.clone(),
            http_listen: config.http_address(&host.platform).to_string(),
            https_listen: config.https_address(&host.platform).to_string(),
            service_listen: config.service_listen.unwrap_or(host.platform.listen),
            service_network: Some(config.network(&host.platform)),
            public_interface: config.public_interface.clone(),
            haproxy: config.haproxy.clone(),
            criu: config.criu.clone(),
            bind_allowed: config.bind_allowed.clone(),
            default_pids: config.default_pids,
            files_on_disk: config.files_on_disk,
            word_in_memory: config.word_in_memory,
            address: config.address,
            shares_pods: config.address.is_some() && config.pod_network.is_some(),
            home: home.clone(),
        };
        let node = Node::start(settings, cri.clone(), host.env.clone(), &host.tracker, host.cancel.clone()).await?;
        if let Some(daemons) = Daemons::bounded(&name, config.daemon_limits, &host.platform.containerd, &node.home) {
            host.keep_running("bounds of daemons", bounding::run(daemons, host.cancel.clone()));
        }
        let mut facts = facts::gather(&cri, &home, &config.zone, &config.labels).await;
        if let (Some(address), Some(pods)) = (config.address, config.pod_network) {
            (facts.address, facts.pod_network) = (address.to_string(), pods.to_string());
            let routing = Routing { routes: node.shared.routes.subscribe(), disk: node.disk.clone() };
            host.keep_running("routes", routing.run(host.cancel.clone()));
        }
        let line = Line::from(host.channel("scheduler")?.endless());
        host.keep_running("renewal", Renewal { host: host.clone(), leaf: host.leaf.clone(), line: line.clone() }.run());
        let sessions = Sessions {
            line: line.clone(),
            cri: cri.clone(),
            shared: node.shared.clone(),
            volumes: node.volumes.clone(),
            commands: node.commands.clone(),
            checkpoints: node.checkpoints.clone(),
            tracker: host.tracker.clone(),
            cancel: host.cancel.clone(),
            starting: Arc::default(),
        };
        let control = Control { line, node: name.clone(), facts, pods: config.pod_network, shared: node.shared.clone(), disk: node.disk.clone(), sessions };
        host.keep_running("control", control.run(host.cancel.clone()));
        let shipper = Shipper::open(name.clone(), node.logs.clone(), node.disk.clone(), cri.clone()).await;
        let shipping = Shipping { shipper, shared: node.shared.clone(), bus: host.bus.clone(), logs: node.logs.clone() };
        host.keep_running("logs", shipping.run(host.cancel.clone()));
        let telling = Telling { journal: node.journal.clone(), bus: host.bus.clone(), written: node.written.clone() };
        host.keep_running("journal", telling.run(host.cancel.clone()));
        let gc = ImageGc { cri: cri.clone(), shared: node.shared.clone(), home: home.clone(), full_percent: config.image_gc_percent };
        host.keep_running("images", gc.run(host.cancel.clone()));
        let sweeping = sweep(node.logs.clone(), node.shared.clone());
        let cancel = host.cancel.clone();
        host.keep_running("sweeping", async move {
            tokio::select! { () = cancel.cancelled() => {}, () = sweeping => {} }
        });
        let shared = node.shared.clone();
        let (figures, processes) = (Arc::new(node), Arc::new(metrics::FirstProcesses::default()));
        let probe = cri.clone();
        Ok(Parts {
            router: axum::Router::new().route("/api/v1/agent/status", get(status)).with_state(shared),
            ready: vec![Part::new("container runtime", move || {
                let cri = probe.clone();
                async move {
                    let faults = cri.faults().await?;
                    anyhow::ensure!(faults.is_empty(), "{}", faults.join("; "));
                    Ok(())
                }
            })],
            metrics: Some(Arc::new(move || {
                let (node, cri) = (figures.clone(), cri.clone());
                let layout = node.shared.layout.borrow().clone();
                let processes = processes.clone();
                async move {
                    let from = metrics::Sources {
                        node: &node.name,
                        home: &node.home,
                        cri: &cri,
                        own: &node.own(),
                        haproxy: &node.haproxy,
                        layout: &layout,
                        heard: &node.shared.executions,
                        processes: &processes,
                    };
                    metrics::collect(from).await
                }
                .boxed()
            })),
            ..Parts::default()
        })
    }
}

/// The folder itself, made if it is not there: where a link leads to it, the kernel's table of mounts names what it leads to.
async fn resolved(home: &Path) -> std::io::Result<PathBuf> {
    tokio::fs::create_dir_all(home).await?;
    tokio::fs::canonicalize(home).await
}

/// What the scheduler was told last, for operators.
#[utoipa::path(get, path = "/api/v1/agent/status", responses((status = 200, description = "Instances and services of this node")))]
async fn status(axum::extract::State(shared): axum::extract::State<app::keeper::Shared>) -> Json<serde_json::Value> {
    Json(as_json(&shared.status.borrow()))
}

fn as_json(status: &wire::Status) -> serde_json::Value {
    let instance = |i: &wire::InstanceStatus| {
        serde_json::json!({"instance_id": i.instance_id, "state": i.state, "ready": i.ready, "address": i.address,
            "restarts": i.restarts, "exit_code": i.exit_code, "reason": i.reason, "image_digest": i.image_digest})
    };
    let balancer = |b: &wire::BalancerStatus| serde_json::json!({"service_id": b.service_id, "in_rotation": b.in_rotation});
    serde_json::json!({
        "generation": status.generation,
        "instances": status.instances.iter().map(instance).collect::<Vec<_>>(),
        "services": status.balancers.iter().map(balancer).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_home_folder_behind_a_link_is_the_folder_itself() {
        let root = tempfile::tempdir().unwrap();
        let there = root.path().canonicalize().unwrap().join("disk/gantry");
        assert_eq!(resolved(&there).await.unwrap(), there, "made if it is not there");
        let link = root.path().join("home");
        std::os::unix::fs::symlink(&there, &link).unwrap();
        assert_eq!(resolved(&link).await.unwrap(), there);
    }
}
