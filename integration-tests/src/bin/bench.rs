//! Our figures beside their anchors; one JSON object per figure in `target/bench/`.

use clap::Parser;
use gantry_integration_tests::bench::{Options, run};

fn main() -> anyhow::Result<()> {
    run(&Options::parse())
}
