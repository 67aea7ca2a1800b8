//! Where a request comes from, as the gateway saw it.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::header;
use http::request::Parts;

use crate::api::pages::DEVICE_COOKIE;
use crate::app::signin::Origin;

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let forwarded = text("x-forwarded-for");
        let mut address = forwarded.split(',').next().unwrap_or_default().trim().to_owned();
        if address.is_empty() {
            address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip().to_string()).unwrap_or_default();
        }
        let jar = axum_extra::extract::CookieJar::from_headers(&parts.headers);
        let device = jar.get(DEVICE_COOKIE).map(|c| c.value().to_owned()).filter(|v| v.len() >= 32 && v.len() <= 100);
        Ok(Self { address, user_agent: text(header::USER_AGENT.as_str()), device })
    }
}

/// Name and secret of an HTTP Basic header.
pub fn basic(headers: &http::HeaderMap) -> Option<(String, gantry_kernel::Secret)> {
    use base64::Engine;
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, secret) = text.split_once(':')?;
    Some((name.to_owned(), gantry_kernel::Secret::new(secret)))
}
