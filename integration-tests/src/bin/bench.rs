//! Our figures beside their anchors; one JSON object per figure in `target/bench/`.

use clap::Parser;
use gantry_integration_tests::bench::{Options, http, run};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.desk { http::serve() } else { run(&options) }
}
