//! `make demo`: runs the main job against the running suite and says what it saw.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    gantry_integration_tests::demo::run().await
}
