//! Colours and logos of organisations for their sign-in pages: public, and worth nothing to who puts them into a page of their own.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gantry_contract::branding::Branding;
use http::{HeaderValue, StatusCode, header};

use crate::app::App;
use crate::app::branding::For;
use crate::domain::branding::colour::Colour;

pub fn router() -> Router<App> {
    Router::new().route("/oauth2/brand/{org}/{file}", get(file))
}

/// `<version>.css`, or a logo by its digest.
async fn file(State(app): State<App>, Path((org, file)): Path<(String, String)>) -> Response {
    let found = match file.strip_suffix(".css").and_then(|v| v.parse::<i64>().ok()) {
        Some(version) => {
            let brand = app.brand_for(For::Named(&org)).await;
            // Another version would be kept for a day under this one's address.
            brand.map(|b| b.filter(|b| b.version == version).map(|b| ("text/css".to_owned(), css(&b.branding).into_bytes())))
        }
        None => app.logo_of(&org, &file).await,
    };
    let (media_type, bytes) = match found {
        Ok(Some(found)) => found,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(problem) => {
            let mut response = problem.kind.status().into_response();
            response.extensions_mut().insert(problem);
            return response;
        }
    };
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "public, max-age=86400, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Opened by itself it is no page that could do anything.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox; frame-ancestors 'none'"),
        (http::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(media_type).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream")));
    response
}

/// Written from parsed colours, never from the text somebody sent.
fn css(it: &Branding) -> String {
    let colour = |text: &Option<String>| text.as_deref().and_then(Colour::parse);
    let light = colour(&it.accent).map(|c| format!(":root {{ --act: {c}; }}\n"));
    // The light one is not readable on dark paper: without its own, that one keeps the platform's.
    let dark = colour(&it.accent_dark).map_or_else(|| "var(--act-dark)".to_owned(), |c| c.to_string());
    format!("{}@media (prefers-color-scheme: dark) {{ :root {{ --act: {dark}; }} }}\n", light.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_sheet_holds_colours_only() {
        let it = Branding { accent: Some("#7A1FA2".into()), accent_dark: Some("#d9a7ff;}*{x:y".into()), ..Branding::default() };
        assert_eq!(css(&it), ":root { --act: #7a1fa2; }\n@media (prefers-color-scheme: dark) { :root { --act: var(--act-dark); } }\n");
    }
}
