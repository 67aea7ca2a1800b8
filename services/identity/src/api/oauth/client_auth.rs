//! What a request shows of its client: HTTP Basic, a secret or an assertion in the body, a certificate handed on by the
//! gateway, or, for public clients, only the id. Exactly one way (RFC 6749 section 2.3).

use std::sync::Arc;

use axum::extract::FromRequestParts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_auth::{Peer, client_certificate};
use gantry_kernel::Secret;
use http::HeaderMap;
use http::request::Parts;

use crate::api::oauth::form::Form;
use crate::api::origin::basic;
use crate::app::App;
use crate::app::client_auth::{Credentials, JWT_BEARER};
use crate::app::clients::Client;
use crate::app::possession::Shown;
use crate::error::OAuthError;

/// The parts of a request that say who is asking and with which key.
pub struct Asking {
    pub headers: HeaderMap,
    /// DER, as the gateway handed it on.
    pub certificate: Option<Vec<u8>>,
    pub method: http::Method,
    pub path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let certificate = client_certificate(&parts.headers, parts.extensions.get::<Peer>());
        Ok(Self { headers: parts.headers.clone(), certificate, method: parts.method.clone(), path: parts.uri.path().to_owned() })
    }
}

impl Asking {
    pub fn proofs(&self) -> Vec<&str> {
        // One that is no text is a bad proof, not none.
        self.headers.get_all("dpop").iter().map(|v| v.to_str().unwrap_or_default()).collect()
    }

    pub fn shown<'a>(&'a self, proofs: &'a [&'a str]) -> Shown<'a> {
        Shown { proofs, certificate: self.certificate.as_deref(), method: self.method.as_str(), path: &self.path }
    }
}

/// # Errors
/// `invalid_client`, and `invalid_request` when it authenticates twice.
pub async fn client(app: &App, asking: &Asking, form: &Form) -> Result<Arc<Client>, OAuthError> {
    app.authenticate_client(&credentials(asking, form)?).await
}

/// # Errors
/// See [`client`].
pub fn credentials(asking: &Asking, form: &Form) -> Result<Credentials, OAuthError> {
    let header = basic(&asking.headers).map(|(id, secret)| (decode(&id), Secret::new(decode(secret.expose()))));
    if header.is_none() && asking.headers.contains_key(http::header::AUTHORIZATION) {
        return Err(OAuthError::invalid_client());
    }
    let in_body = form.get("client_secret").map(Secret::new);
    let assertion = match (form.get("client_assertion"), form.get("client_assertion_type")) {
        (Some(assertion), Some(JWT_BEARER)) => Some(assertion.to_owned()),
        (Some(_), _) => return Err(OAuthError::invalid_request(format!("client_assertion_type: {JWT_BEARER}"))),
        (None, Some(_)) => return Err(OAuthError::invalid_request("client_assertion is missing")),
        (None, None) => None,
    };
    if [header.is_some(), in_body.is_some(), assertion.is_some()].into_iter().filter(|w| *w).count() > 1 {
        return Err(OAuthError::invalid_request("the client authenticates in two ways"));
    }
    let in_form = form.get("client_id");
    let (id, secret) = match (header, in_body) {
        (Some((id, secret)), _) => (id, Some(secret)),
        (None, secret) => {
            // With an assertion the id may be left out (RFC 7521 section 4.2).
            let id = in_form.map(str::to_owned).or_else(|| assertion.as_deref().and_then(issuer_of));
            (id.ok_or_else(|| OAuthError::invalid_request("client_id is missing"))?, secret)
        }
    };
    if in_form.is_some_and(|in_form| in_form != id) {
        return Err(OAuthError::invalid_request("client_id differs from the authenticated one"));
    }
    Ok(Credentials { id, secret, assertion, certificate: asking.certificate.clone() })
}

/// Who an assertion says it is by. Not believed until its signature is checked.
pub fn issuer_of(assertion: &str) -> Option<String> {
    let body = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&body).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Both halves are form-encoded before Basic (section 2.3.1).
fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    url::form_urlencoded::parse(format!("x={}", text.replace('&', "%26").replace('=', "%3D").replace(' ', "+")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_decoded() {
        assert_eq!(decode("a%3Ab%26c"), "a:b&c");
        assert_eq!(decode("plain=&+x"), "plain=& x");
    }

    #[test]
    fn a_client_authenticates_in_one_way() {
        let asking = || Asking { headers: HeaderMap::new(), certificate: None, method: http::Method::POST, path: "/oauth2/token".into() };
        let two = Form::parse(
            b"client_id=a&client_secret=s&client_assertion=x.y.z&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
        );
        assert_eq!(credentials(&asking(), &two).err().map(|e| e.error), Some("invalid_request"));
        assert_eq!(credentials(&asking(), &Form::parse(b"grant_type=x")).err().map(|e| e.error), Some("invalid_request"));
        let other = Asking { headers: [(http::header::AUTHORIZATION, "Basic YTpi".parse().unwrap())].into_iter().collect(), ..asking() };
        assert_eq!(credentials(&other, &Form::parse(b"client_id=b")).err().map(|e| e.error), Some("invalid_request"));
    }
}
