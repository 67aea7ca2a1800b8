//! `gantryd --target=kube-scheduler`: binds the pods of a Kubernetes cluster that name it. It is no service of the platform:
//! it needs the API server alone, and runs as a Deployment of the cluster.

use std::path::Path;

use anyhow::{Context, Result};
use gantry_host::{load, telemetry};
use gantry_kernel::Env;
use gantry_kube_scheduler::Options;
use gantry_kubernetes::{Access, Client, Credential};
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
            let named = || format!("{}", file.display());
            let text = std::fs::read_to_string(file).with_context(named)?;
            let folder = file.parent().unwrap_or(Path::new("."));
            let whole = gantry_kubernetes::flatten(&text, folder).with_context(named)?;
            gantry_kubernetes::parse(&whole, None).with_context(named)?
        }
        None => in_cluster(),
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        telemetry::init(&platform)?;
        let env = Env::system();
        let mut reached = gantry_kubernetes::Options::new(env.clone());
        if let Credential::Exec(exec) = &access.credential {
            // Whoever starts this names the file, and the program in it.
            reached.plugins.push(exec.command.clone());
        }
        let client = Client::new(access, reached).context("the cluster's access")?;
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

/// As the node tells it to each pod (kubernetes.io/docs/tasks/run-application/access-api-from-pod): the cluster's names need not be
/// served for it.
#[allow(clippy::disallowed_methods, reason = "what a pod is told by its node")]
fn in_cluster() -> Access {
    let told = |name: &str, otherwise: &str| std::env::var(name).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| otherwise.to_owned());
    Access::in_cluster(&told("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc"), &told("KUBERNETES_SERVICE_PORT", "443"))
}
