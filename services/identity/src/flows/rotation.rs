//! Turns the signing keys: once a minute, so that every replica sees new keys long before they sign.

use std::time::Duration;

use crate::app::App;

const EVERY: Duration = Duration::from_secs(60);

pub async fn run(app: App) {
    loop {
        match app.keys.turn().await {
            Ok(()) => publish(&app),
            Err(error) => tracing::error!(error = format!("{error:#}"), "the signing keys could not be turned"),
        }
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// This service verifies with its own keys without asking itself over the network.
pub fn publish(app: &App) {
    if let Ok(set) = app.keys.jwks() {
        app.host.auth.verifier.keys().set(&set);
    }
}
