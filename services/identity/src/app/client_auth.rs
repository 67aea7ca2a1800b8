//! Which client is asking, proved (RFC 6749 section 2.3, RFC 7523, RFC 8705).

use std::sync::Arc;

use gantry_auth::dpop::algorithms_of;
use gantry_kernel::Secret;
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;

use crate::adapters::outside::{pick, read_set};
use crate::app::App;
use crate::app::certificates;
use crate::app::clients::Client;
use crate::domain::client::uses_secret;
use crate::domain::signed::signed_by;
use crate::error::{OAuthError, fault};

pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Longer-lived assertions would have to be remembered for longer. Some libraries make them for an hour.
const MAX_LIFE_SECS: i64 = 3_600;
const LEEWAY_SECS: i64 = 10;
const MAX_ASSERTION: usize = 16 * 1024;

/// The endpoints that clients prove themselves at: each may be an assertion's audience, as may the issuer.
const ENDPOINTS: [&str; 5] = ["token", "par", "introspect", "revoke", "device_authorization"];

/// What a request shows of who is asking.
#[derive(Default)]
pub struct Credentials {
    pub id: String,
    pub secret: Option<Secret>,
    pub assertion: Option<String>,
    /// DER, from the gateway.
    pub certificate: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Assertion {
    iss: String,
    sub: String,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
    jti: String,
    aud: serde_json::Value,
}

impl App {
    /// # Errors
    /// `invalid_client`, the same for whatever reason; 503 when replay cannot be ruled out.
    pub async fn authenticate_client(&self, shown: &Credentials) -> Result<Arc<Client>, OAuthError> {
        let client = self.clients.get(&shown.id).await?.ok_or_else(OAuthError::invalid_client)?;
        let authentic = match client.settings.token_endpoint_auth_method.as_str() {
            // Some programs always send Basic, with an empty secret for public clients.
            "none" => shown.assertion.is_none() && shown.secret.as_ref().is_none_or(Secret::is_empty),
            method if uses_secret(method) => {
                shown.assertion.is_none() && shown.secret.as_ref().is_some_and(|secret| client.secret_fits(secret.expose(), self.now()))
            }
            "private_key_jwt" => match (&shown.assertion, &shown.secret) {
                (Some(assertion), None) => self.assertion_fits(&client, assertion).await?,
                _ => false,
            },
            "tls_client_auth" => shown.certificate.as_ref().is_some_and(|c| {
                // The TLS layer asked for the certificate's key; that an authority we trust signed it is checked here.
                certificates::in_time(c, self.now().unix_timestamp()) && self.vouched.vouches(c) && certificates::name_fits(&client.settings, c)
            }),
            "self_signed_tls_client_auth" => match &shown.certificate {
                Some(certificate) if certificates::in_time(certificate, self.now().unix_timestamp()) => self.is_registered(&client, certificate).await,
                _ => false,
            },
            _ => false,
        };
        if authentic { Ok(client) } else { Err(OAuthError::invalid_client()) }
    }

    /// Whether a certificate stands in the client's key set, here or at its address (RFC 8705 section 2.2.2).
    async fn is_registered(&self, client: &Client, certificate: &[u8]) -> bool {
        match (&client.settings.jwks, &client.settings.jwks_uri) {
            (Some(jwks), _) => certificates::registered(jwks, certificate),
            (None, Some(address)) => match self.outside.has_certificate(address, certificate).await {
                Ok(known) => known,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), client.id = client.id, "a client's key set cannot be fetched");
                    false
                }
            },
            (None, None) => false,
        }
    }

    /// RFC 7523 section 3: signed by a key of the client, meant for us, fresh, and never seen before.
    async fn assertion_fits(&self, client: &Client, assertion: &str) -> Result<bool, OAuthError> {
        if assertion.len() > MAX_ASSERTION {
            return Ok(false);
        }
        let Ok(header) = jsonwebtoken::decode_header(assertion) else { return Ok(false) };
        // RFC 7515 section 4.1.11: nothing that must be understood is.
        if header.crit.is_some() {
            return Ok(false);
        }
        let kid = header.kid.as_deref();
        let key = match (&client.settings.jwks, &client.settings.jwks_uri) {
            (Some(jwks), _) => pick(&read_set(jwks), kid),
            (None, Some(address)) => match self.outside.key(address, kid).await {
                Ok(key) => key,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), client.id = client.id, "a client's key set cannot be fetched");
                    None
                }
            },
            (None, None) => None,
        };
        // The key says which algorithms there can be, never the assertion.
        let Some(key) = key.filter(|key| algorithms_of(key).contains(&header.alg)) else { return Ok(false) };
        let Ok(decoding) = DecodingKey::from_jwk(&key) else { return Ok(false) };
        let mut rules = Validation::new(header.alg);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_aud = false;
        let Ok(read) = jsonwebtoken::decode::<Assertion>(assertion, &decoding, &rules) else { return Ok(false) };
        let it = read.claims;
        let now = self.now().unix_timestamp();
        // For us alone: a token that is also meant for somebody else can be used by them (RFC 7523bis).
        let endpoint =
            |aud: &str, base: &str| aud.strip_prefix(base).and_then(|path| path.strip_prefix("/oauth2/")).is_some_and(|name| ENDPOINTS.contains(&name));
        // The same endpoints stand at the door for certificates (RFC 8705 section 5).
        let door = self.config.certificates_url.as_deref().map(|door| door.trim_end_matches('/'));
        let named = |aud: &str| aud == self.issuer.as_str() || endpoint(aud, &self.issuer) || door.is_some_and(|door| endpoint(aud, door));
        let ours = |aud: &serde_json::Value| aud.as_str().is_some_and(named);
        let for_us = match &it.aud {
            serde_json::Value::Array(all) => !all.is_empty() && all.iter().all(ours),
            one => ours(one),
        };
        let fits = it.iss == client.id
            && it.sub == client.id
            && for_us
            && now <= it.exp + LEEWAY_SECS
            && it.exp <= now + MAX_LIFE_SECS + LEEWAY_SECS
            && it.nbf.is_none_or(|at| at <= now + LEEWAY_SECS)
            && it.iat.is_none_or(|at| at <= now + LEEWAY_SECS)
            && (1..=256).contains(&it.jti.len());
        if !fits {
            return Ok(false);
        }
        let left = u64::try_from(it.exp + LEEWAY_SECS - now).unwrap_or_default() + 1;
        self.replay.first_time(&format!("assertion {}", client.id), &it.jti, left).await.map_err(OAuthError::from)
    }
}

/// The authorities whose certificates are believed for `tls_client_auth`.
pub struct Vouched(Vec<Vec<u8>>);

impl Vouched {
    /// # Errors
    /// When the bundle is damaged.
    pub fn new(pem: &str) -> Result<Self, gantry_kernel::Problem> {
        let all = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(fault)?;
        Ok(Self(all.into_iter().map(|p| p.contents).collect()))
    }

    /// Whether one of them signed `der`. Intermediates have to be in the bundle.
    pub fn vouches(&self, der: &[u8]) -> bool {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
        self.0.iter().any(|authority| {
            X509Certificate::from_der(authority)
                .is_ok_and(|(_, a)| a.is_ca() && a.subject().as_raw() == certificate.issuer().as_raw() && verified(&certificate, &a))
        })
    }
}

fn verified(certificate: &x509_parser::certificate::X509Certificate<'_>, authority: &x509_parser::certificate::X509Certificate<'_>) -> bool {
    let algorithm = &certificate.signature_algorithm.algorithm;
    signed_by(algorithm, certificate.tbs_certificate.as_ref(), &certificate.signature_value.data, authority)
}
