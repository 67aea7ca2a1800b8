//! Our figures beside their anchors; one JSON object per figure in `target/bench/`.

use clap::Parser;
use gantry_integration_tests::bench::{Options, clusters, http, registry, run};

/// As in `gantryd`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match &options {
        Options { desk: true, .. } => http::serve(),
        Options { registry: true, .. } => registry::serve(),
        Options { clusters: true, .. } => clusters::serve(),
        _ => run(&options),
    }
}
