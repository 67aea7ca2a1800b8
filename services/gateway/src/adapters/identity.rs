//! Identity's OAuth endpoints as the console's client uses them: authorization code with PKCE (RFC 7636), refresh,
//! revocation. The token endpoint is asked directly over mTLS, so the ID token needs no signature check (OpenID Connect
//! Core, 3.1.3.7); its issuer, audience, nonce and expiry are checked all the same.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_kernel::{Kind, Problem};
use http::{Request, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use super::upstreams::Upstreams;
use crate::domain::routes::Upstream;

/// The built-in public client of the console.
pub const CLIENT: &str = "gantry-console";
/// The built-in public client of programs.
const PROGRAMS: &str = "gantry-cli";
const SCOPE: &str = "openid profile email offline_access";
const WAIT: Duration = Duration::from_secs(10);

/// Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    upstreams: Upstreams,
    public: Url,
}

/// What the token endpoint gives.
#[derive(Debug, Deserialize)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: Option<String>,
    pub id_token: Option<String>,
    /// Seconds.
    #[serde(default = "ten_minutes")]
    pub expires_in: i64,
}

fn ten_minutes() -> i64 {
    600
}

/// Who signed in, from the ID token.
#[derive(Debug, Deserialize)]
pub struct Person {
    pub sub: String,
    #[serde(default)]
    pub preferred_username: String,
    #[serde(default)]
    pub name: String,
    iss: String,
    aud: Audience,
    exp: i64,
    nonce: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct OauthError {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Identity {
    /// `public`: the suite's public URL, which is also the issuer.
    pub fn new(upstreams: Upstreams, public: Url) -> Self {
        Self { upstreams, public }
    }

    pub fn issuer(&self) -> &str {
        self.public.as_str().trim_end_matches('/')
    }

    fn redirect_uri(&self) -> String {
        format!("{}/auth/callback", self.issuer())
    }

    /// Where the browser goes to sign in.
    pub fn authorize_url(&self, state: &str, nonce: &str, verifier: &str, locale: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", &self.redirect_uri()),
            ("scope", SCOPE),
            ("state", state),
            ("nonce", nonce),
            ("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))),
            ("code_challenge_method", "S256"),
        ]);
        if let Some(locale) = locale {
            query.append_pair("ui_locales", locale);
        }
        format!("{}/oauth2/authorize?{}", self.issuer(), query.finish())
    }

    /// Where the browser goes to end the single sign-on too.
    pub fn logout_url(&self, id_token: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("client_id", CLIENT).append_pair("post_logout_redirect_uri", &format!("{}/", self.issuer()));
        if let Some(id_token) = id_token {
            query.append_pair("id_token_hint", id_token);
        }
        format!("{}/oauth2/logout?{}", self.issuer(), query.finish())
    }

    /// # Errors
    /// `Unauthenticated` when the code is not good (any more), `Unavailable` when identity is away.
    pub async fn exchange(&self, code: &str, verifier: &str) -> Result<Tokens, Problem> {
        let redirect = self.redirect_uri();
        self.token(&[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", &redirect), ("code_verifier", verifier)]).await
    }

    /// # Errors
    /// `Unauthenticated` when the session has ended at identity, `Unavailable` when identity is away.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Problem> {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// Ends a refresh token and what hangs on it (RFC 7009).
    ///
    /// # Errors
    /// `Unavailable` when identity is away.
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), Problem> {
        self.post("/oauth2/revoke", CLIENT, None, &[("token", refresh_token), ("token_type_hint", "refresh_token")]).await.map(drop)
    }

    /// An access token for one that somebody keeps (RFC 8693): a personal access token, or a key of a service account. `from`: who
    /// brought it, for identity's rules on networks and its limits on attempts.
    ///
    /// # Errors
    /// `Unauthenticated` when it is not good (any more) or not for the API, `Unavailable` when identity is away.
    pub async fn exchange_kept(&self, kept: &str, from: IpAddr) -> Result<Tokens, Problem> {
        const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("subject_token", kept), ("subject_token_type", ACCESS_TOKEN)];
        let answer = self.post("/oauth2/token", PROGRAMS, Some(from), &form).await?;
        serde_json::from_slice(&answer).map_err(Problem::internal)
    }

    /// Reads and checks an ID token that came from the token endpoint. `now`: Unix seconds.
    ///
    /// # Errors
    /// `Unauthenticated` when it was not made for this sign-in.
    pub fn person(&self, id_token: &str, nonce: Option<&str>, now: i64) -> Result<Person, Problem> {
        let person = read_claims(id_token).ok_or_else(|| refused("the ID token is not readable"))?;
        let for_us = match &person.aud {
            Audience::One(one) => one == CLIENT,
            Audience::Many(many) => many.iter().any(|one| one == CLIENT),
        };
        let fault = if person.iss.trim_end_matches('/') != self.issuer() {
            "its issuer is another one"
        } else if !for_us {
            "it was made for another client"
        } else if person.exp < now - 60 {
            "it has expired"
        } else if nonce.is_some() && person.nonce.as_deref() != nonce {
            "it belongs to another sign-in"
        } else {
            return Ok(person);
        };
        Err(refused(&format!("the ID token was refused: {fault}")))
    }

    async fn token(&self, form: &[(&str, &str)]) -> Result<Tokens, Problem> {
        let answer = self.post("/oauth2/token", CLIENT, None, form).await?;
        serde_json::from_slice(&answer).map_err(Problem::internal)
    }

    async fn post(&self, path: &'static str, client: &str, from: Option<IpAddr>, form: &[(&str, &str)]) -> Result<Vec<u8>, Problem> {
        let away = || Problem::unavailable(Upstream::Identity);
        let uri = self.upstreams.uri(Upstream::Identity, http::uri::PathAndQuery::from_static(path)).ok_or_else(away)?;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).append_pair("client_id", client).finish();
        let mut request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .header("x-forwarded-proto", self.public.scheme())
            .header("x-forwarded-host", self.public.authority());
        if let Some(from) = from {
            request = request.header("x-forwarded-for", from.to_string());
        }
        let request = request.body(Body::from(body)).map_err(Problem::internal)?;
        let asked = async {
            let answer = self.upstreams.send(request).await.map_err(|error| away().with_source(error))?;
            let status = answer.status();
            let bytes = Limited::new(answer.into_body(), 1 << 20).collect().await.map_err(|error| away().with_source(error))?.to_bytes();
            if status.is_success() {
                return Ok(bytes.to_vec());
            }
            Err(match serde_json::from_slice::<OauthError>(&bytes) {
                Ok(answer) if status.is_client_error() => refused(&format!("{} ({})", answer.error_description, answer.error)),
                _ => away(),
            })
        };
        tokio::time::timeout(WAIT, asked).await.map_err(|late| away().with_source(late))?
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(Kind::Unauthenticated, "gateway.sign_in_refused", format!("{detail}; sign in again"))
}

fn read_claims(token: &str) -> Option<Person> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn identity() -> Identity {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        Identity::new(Upstreams::new(|_| None, tls), "https://localhost:7443".parse().expect("a URL"))
    }

    fn token(claims: &serde_json::Value) -> String {
        format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn an_id_token_of_this_sign_in_is_accepted_and_any_other_is_not() {
        let identity = identity();
        let good =
            serde_json::json!({ "iss": "https://localhost:7443", "aud": CLIENT, "sub": "user:1", "exp": 2_000, "nonce": "n", "preferred_username": "eva" });
        let person = identity.person(&token(&good), Some("n"), 1_000).expect("accepted");
        assert_eq!((person.sub.as_str(), person.preferred_username.as_str()), ("user:1", "eva"));
        for (field, value) in [("iss", "https://evil"), ("aud", "other"), ("nonce", "m")] {
            let mut bad = good.clone();
            bad[field] = value.into();
            assert!(identity.person(&token(&bad), Some("n"), 1_000).is_err(), "{field}");
        }
        assert!(identity.person(&token(&good), Some("n"), 3_000).is_err());
        assert!(identity.person("nonsense", Some("n"), 1_000).is_err());
    }

    #[test]
    fn the_authorize_url_carries_the_challenge_and_never_the_verifier() {
        let url: Url = identity().authorize_url("s", "n", "verifier", Some("zh-CN")).parse().expect("a URL");
        let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(query["code_challenge"], URL_SAFE_NO_PAD.encode(Sha256::digest(b"verifier")));
        assert_eq!((query["code_challenge_method"].as_str(), query["redirect_uri"].as_str()), ("S256", "https://localhost:7443/auth/callback"));
        assert!(!url.as_str().contains("=verifier"));
    }
}
