//! Minting tokens: access (RFC 9068), ID (OpenID Connect Core 2) and the refresh token that goes with them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_auth::AccessClaims;
use gantry_kernel::{OffsetDateTime, Problem, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::app::people::{Person, subject};

pub const ACCESS_TYPE: &str = "at+jwt";

/// Where tokens come from: a sign-in at a client.
#[derive(Clone, Debug)]
pub struct Source {
    pub client_id: String,
    pub scope: String,
    pub session: Option<Uuid>,
    pub family: Option<Uuid>,
    pub auth_time: OffsetDateTime,
    pub amr: String,
}

/// The body of a successful token answer (RFC 6749 section 5.1).
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tokens {
    pub access_token: String,
    pub token_type: String,
    pub expires_in: u32,
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
}

impl App {
    /// An access token of a person, and an ID token if `openid` is in the scope.
    ///
    /// # Errors
    /// When there is no signing key or the directory cannot be read.
    pub async fn issue(&self, person: &Person, source: &Source, nonce: Option<&str>, refresh_token: Option<String>) -> Result<Tokens, Problem> {
        let access_token = self.access_token(&subject(person.id), Some(&person.username), source)?;
        let openid = source.scope.split(' ').any(|s| s == "openid");
        let id_token = if openid { Some(self.id_token(person, source, nonce, &access_token).await?) } else { None };
        Ok(Tokens {
            access_token,
            token_type: "Bearer".into(),
            expires_in: self.config.access_token_seconds,
            scope: source.scope.clone(),
            refresh_token,
            id_token,
            issued_token_type: None,
        })
    }

    /// # Errors
    /// When there is no signing key.
    pub fn access_token(&self, sub: &str, username: Option<&str>, source: &Source) -> Result<String, Problem> {
        let now = self.now().unix_timestamp();
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            sub: sub.to_owned(),
            aud: self.issuer.clone(),
            exp: now + i64::from(self.config.access_token_seconds),
            iat: now,
            // The family is in the id, so that introspection knows whether it has ended.
            jti: format!("{}.{}", source.family.unwrap_or_default().simple(), self.host.env.uuid().simple()),
            client_id: source.client_id.clone(),
            scope: source.scope.clone(),
            preferred_username: username.map(str::to_owned),
            sid: source.session.map(|s| s.to_string()),
            amr: source.amr.split_whitespace().map(str::to_owned).collect(),
            act: None,
        };
        self.keys.sign(ACCESS_TYPE, &claims)
    }

    async fn id_token(&self, person: &Person, source: &Source, nonce: Option<&str>, access_token: &str) -> Result<String, Problem> {
        let now = self.now().unix_timestamp();
        let mut claims = self.profile_claims(person, &source.scope).await?;
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", json!(self.issuer));
        put("aud", json!(source.client_id));
        put("azp", json!(source.client_id));
        put("exp", json!(now + i64::from(self.config.access_token_seconds)));
        put("iat", json!(now));
        put("auth_time", json!(source.auth_time.unix_timestamp()));
        put("amr", json!(source.amr.split_whitespace().collect::<Vec<_>>()));
        put("at_hash", json!(at_hash(access_token)));
        if let Some(nonce) = nonce {
            put("nonce", json!(nonce));
        }
        if let Some(session) = source.session {
            put("sid", json!(session));
        }
        self.keys.sign("JWT", &claims)
    }

    /// `sub` and what the scopes `profile`, `email` and `groups` give (OpenID Connect Core 5.4).
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn profile_claims(&self, person: &Person, scope: &str) -> Result<Map<String, Value>, Problem> {
        let mut claims = Map::new();
        claims.insert("sub".into(), json!(subject(person.id)));
        for scope in scope.split(' ') {
            match scope {
                "profile" => {
                    claims.insert("preferred_username".into(), json!(person.username));
                    claims.insert("name".into(), json!(person.display_name));
                }
                "email" => {
                    claims.insert("email".into(), json!(person.email));
                    // Only a confirmed address gets in when a mail server is configured.
                    claims.insert("email_verified".into(), json!(self.mailer.is_some()));
                }
                "groups" => {
                    claims.insert("groups".into(), json!(self.groups(person.id).await?));
                }
                _ => {}
            }
        }
        Ok(claims)
    }

    /// The claims of an access token of ours that is still valid.
    ///
    /// # Errors
    /// Unauthenticated.
    pub async fn access_claims(&self, token: &str) -> Result<AccessClaims, Problem> {
        let claims = self.keys.verify::<AccessClaims>(token, ACCESS_TYPE, &self.issuer, &self.issuer);
        claims.ok_or_else(|| Problem::unauthenticated("the access token is not valid"))
    }
}

/// The left half of the hash of the access token (OpenID Connect Core 3.1.3.6).
fn at_hash(access_token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(access_token.as_bytes())[..16])
}

/// The family of a token's id.
pub fn family_of(jti: &str) -> Option<Uuid> {
    let family = Uuid::parse_str(jti.split_once('.')?.0).ok()?;
    (!family.is_nil()).then_some(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_read_back_from_the_token_id() {
        let family = Uuid::from_u128(7);
        assert_eq!(family_of(&format!("{}.abc", family.simple())), Some(family));
        assert_eq!(family_of(&format!("{}.abc", Uuid::nil().simple())), None);
        assert_eq!(family_of("abc"), None);
    }
}
