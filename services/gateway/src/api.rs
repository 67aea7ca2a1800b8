//! What the door answers itself.

pub mod auth;
pub mod console;
pub mod health;

use utoipa::OpenApi;

/// The door's own endpoints; the merged document adds everybody's.
#[derive(OpenApi)]
#[openapi(
    info(title = "Gantry gateway", description = "Sign-in of browsers, health, and this document."),
    paths(auth::login, auth::callback, auth::logout, auth::session, health::healthz, health::ready, health::openapi)
)]
struct Document;

pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
