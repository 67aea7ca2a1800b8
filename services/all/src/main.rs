//! `gantryd`: any of the platform's services, or all of them, in one process; and the administration of their logs.

mod admin;
mod args;
mod kube_scheduler;
mod targets;

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use gantry_host::{Running, load, telemetry};
use gantry_kernel::Env;

use crate::args::{Args, Command};

/// Services allocate on every thread and free on another, which the C library's allocator makes them wait for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that wait for the disk or for a server of files get this long at the end: one of them may wait for ever.
const LAST_THREADS: Duration = Duration::from_secs(5);

/// Threads that have waited for the disk end when they have nothing to do for so long. Work goes round among all that idle: with the usual ten
/// seconds a few small reads a second keep alive as many as there ever were at once, each with memory of its own.
const IDLE_THREADS: Duration = Duration::from_secs(1);

/// The name of the certificate by which Prometheus is let in.
const PROMETHEUS: &str = "prometheus";

fn main() -> Result<()> {
    let args = Args::parse();
    if args.target == kube_scheduler::TARGET {
        return kube_scheduler::run(&args);
    }
    let mut loaded = load(args.config.as_deref())?;
    let platform = loaded.section::<gantry_host::Platform>("platform");
    let mut entries = targets::all();
    let mut known = vec!["platform"];
    for entry in &mut entries {
        entry.configure(&mut loaded);
        known.push(entry.name());
    }
    loaded.refuse_unknown(&known);
    if let Some(Command::Openapi { service }) = &args.command {
        return admin::openapi(&entries, service);
    }
    if !loaded.faults.is_empty() {
        return Err(gantry_host::ConfigFaults(loaded.faults).into());
    }
    if args.print_config {
        return admin::print_config(&platform, &entries);
    }
    if let Some(Command::Join(join)) = &args.command {
        // Before anything would make an authority of its own here.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(admin::join(&platform, join));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_keep_alive(IDLE_THREADS).build()?;
    let result = runtime.block_on(async {
        telemetry::init(&platform)?;
        let running = Running::new(platform, Env::system())?;
        let result = match args.command {
            None => serve(targets::chosen(entries, &args.target)?, &running).await,
            Some(Command::Init) => running.pki().write_leaf(PROMETHEUS, running.env.now()).map(drop),
            Some(Command::Admin(command)) => admin::run(&entries, &running, command).await,
            Some(Command::Openapi { .. } | Command::Join(_)) => Ok(()),
        };
        running.stop().await;
        telemetry::shutdown();
        result
    });
    runtime.shutdown_timeout(LAST_THREADS);
    result
}

/// Runs until SIGTERM or SIGINT, or until something that never ends has panicked: then it fails, and is started anew by whoever watches it.
async fn serve(entries: Vec<Box<dyn gantry_host::Entry>>, running: &Running) -> Result<()> {
    for entry in &entries {
        entry.start(running).await?;
    }
    // One process of an installation does it.
    if entries.iter().any(|e| e.name() == "monitoring") {
        running.keep_leaf(PROMETHEUS);
    }
    tracing::info!(services = entries.iter().map(|e| e.name()).collect::<Vec<_>>().join(","), "all services run");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        () = running.cancel.cancelled() => anyhow::bail!("a part of this process has panicked (see above): it ends, to be started anew"),
    }
    tracing::info!("shutting down");
    Ok(())
}
