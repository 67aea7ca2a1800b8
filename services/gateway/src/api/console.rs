//! The console's files, built into the program. Any path without a file of its own is the console's: it routes itself.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gantry_kernel::{Env, Kind, Problem};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use rust_embed::RustEmbed;
use tower_http::compression::CompressionLayer;

/// `npm run build` fills the folder; without it the door says how.
#[derive(RustEmbed)]
#[folder = "console/dist/"]
struct Files;

const PAGE: &str = "index.html";
/// Stands in the page where the nonce of its answer goes.
const NONCE: &str = "__CSP_NONCE__";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Gantry</title>\
<h1>Gantry</h1><p>The suite runs, but its console was not built. In <code>services/gateway/console</code> run \
<code>npm ci &amp;&amp; npm run build</code>, then build and start the gateway again. \
The API is described at <a href=\"/api/openapi.json\">/api/openapi.json</a>.</p></html>";

pub fn router(env: Env) -> Router {
    Router::new().fallback(file).layer(CompressionLayer::new()).with_state(env)
}

async fn file(State(env): State<Env>, method: Method, uri: Uri) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return Problem::new(Kind::NotFound, "request.not_found", format!("{method} {} is no endpoint", uri.path())).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    match Files::get(path) {
        Some(found) if path != PAGE && !path.starts_with('.') => asset(path, found),
        Some(_) => page(&env),
        // A missing file is not a page of the console: a stale tab must see that its chunk is gone.
        None if path.starts_with("assets/") => Problem::not_found("file", path).into_response(),
        None => page(&env),
    }
}

fn asset(path: &str, found: rust_embed::EmbeddedFile) -> Response {
    let mut answer = Response::new(Body::from(found.data.into_owned()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
    // Files below `assets/` carry the hash of their content in their name.
    let caching = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    answer
}

fn page(env: &Env) -> Response {
    let Some(found) = Files::get(PAGE) else {
        return html(StatusCode::OK, NOT_BUILT.to_owned(), "default-src 'none'; frame-ancestors 'none'");
    };
    let nonce = STANDARD_NO_PAD.encode(env.random::<18>());
    let text = String::from_utf8_lossy(&found.data).replace(NONCE, &nonce);
    // Styles: the component library writes style elements, which carry the nonce.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    );
    html(StatusCode::OK, text, &policy)
}

fn html(status: StatusCode, text: String, policy: &str) -> Response {
    let mut answer = (status, text).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "map") => "application/json",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
