//! `gantryd --target=kube-scheduler`: binds the pods of a Kubernetes cluster that name it. It is no service of the platform:
//! it needs the API server alone, and runs as a Deployment of the cluster.

use anyhow::{Context, Result};
use gantry_host::{load, telemetry};
use gantry_kernel::Env;
use gantry_kube_scheduler::Options;
use gantry_kubernetes::{Access, Client};
use tokio_util::sync::CancellationToken;

use crate::args::Args;

pub const TARGET: &str = "kube-scheduler";

/// Until SIGTERM or SIGINT.
///
/// # Errors
/// When the cluster's access cannot be read or used.
pub fn run(args: &Args) -> Result<()> {
    let mut loaded = load(args.config.as_deref())?;
    let platform = loaded.section::<gantry_host::Platform>("platform");
    let access = match &args.kubeconfig {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
            gantry_kubernetes::parse(&text, None).with_context(|| format!("{}", file.display()))?
        }
        None => Access::in_cluster("kubernetes.default.svc", "443"),
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        telemetry::init(&platform)?;
        let env = Env::system();
        let client = Client::new(access, gantry_kubernetes::Options::new(env.clone())).context("the cluster's access")?;
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        tokio::spawn(async move {
            let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            match terminate {
                Ok(mut terminate) => tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                },
                Err(error) => tracing::error!(error = %error, "SIGTERM cannot be heard"),
            }
            stop.cancel();
        });
        let options = Options { scheduler: args.scheduler_name.clone(), namespace: args.lease_namespace.clone(), env };
        gantry_kube_scheduler::run(client, options, cancel).await;
        telemetry::shutdown();
        Ok(())
    })
}
