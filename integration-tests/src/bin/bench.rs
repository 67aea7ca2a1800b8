//! Our figures beside their limits, against the running suite; one JSON object per figure in `target/bench/`.

fn main() -> anyhow::Result<()> {
    gantry_integration_tests::bench::run()
}
