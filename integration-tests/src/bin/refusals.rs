//! Asks the running suite for everything it must refuse.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    gantry_integration_tests::refusals::run().await
}
