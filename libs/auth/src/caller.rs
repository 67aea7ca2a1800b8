//! The person or program behind a REST request.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use gantry_es::Meta;
use gantry_kernel::{Env, OffsetDateTime, OrgId, Problem, UserId};
use http::request::Parts;

use crate::auth::Auth;
use crate::conditions::Context;
use crate::token::{AccessClaims, TokenError};

/// A verified caller. As a handler's argument it refuses requests without a valid bearer token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// "user:<uuid>", "service:<name>", "robot:<uuid>".
    pub subject: String,
    pub username: Option<String>,
    pub session: Option<String>,
    pub scopes: Vec<String>,
    pub amr: Vec<String>,
    /// Address as the gateway saw it.
    pub from: Option<String>,
    /// Who really acts, when somebody is impersonated.
    pub acting: Option<String>,
    /// When the request came.
    pub at: OffsetDateTime,
    trace: Option<String>,
    command_id: Option<String>,
}

/// Filled by the extractor and read by the host after the answer, for logs and audit.
#[derive(Clone, Default)]
pub struct CallerSlot(pub Arc<OnceLock<Identity>>);

#[derive(Clone, Debug)]
pub struct Identity {
    pub subject: String,
}

impl Caller {
    pub fn user_id(&self) -> Option<UserId> {
        self.subject.strip_prefix("user:")?.parse().ok()
    }

    /// Who and from where, for events.
    pub fn meta(&self, tenant: Option<OrgId>) -> Meta {
        Meta { actor: self.subject.clone(), tenant, from: self.from.clone(), trace: self.trace.clone(), command_id: self.command_id.clone() }
    }

    /// What conditions of bindings are judged by.
    pub fn context(&self) -> Context {
        Context { now: self.at, from: self.from.as_deref().and_then(|a| a.parse().ok()), factors: self.amr.clone() }
    }

    /// # Errors
    /// When the token is missing, foreign, expired.
    pub async fn from_parts(parts: &Parts) -> Result<Self, Problem> {
        let auth = parts.extensions.get::<Auth>().ok_or_else(|| Problem::internal("the host did not install Auth"))?;
        let env = parts.extensions.get::<Env>().ok_or_else(|| Problem::internal("the host did not install Env"))?;
        let header = parts.headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = header.and_then(bearer).ok_or_else(|| Problem::unauthenticated("send `Authorization: Bearer <access token>`; `gantry login` gets one"))?;
        let claims = auth.verifier.access(token, env.now()).await.map_err(refuse)?;
        let caller = Self::of(&claims, parts, env.now());
        if let Some(slot) = parts.extensions.get::<CallerSlot>() {
            let _ = slot.0.set(Identity { subject: caller.subject.clone() });
        }
        Ok(caller)
    }

    fn of(claims: &AccessClaims, parts: &Parts, at: OffsetDateTime) -> Self {
        let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let from = header("x-forwarded-for").and_then(|v| v.split(',').next().map(|a| a.trim().to_owned()));
        let socket = parts.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|c| c.0.ip().to_string());
        Self {
            subject: claims.sub.clone(),
            username: claims.preferred_username.clone(),
            session: claims.sid.clone(),
            scopes: claims.scope.split_whitespace().map(str::to_owned).collect(),
            amr: claims.amr.clone(),
            from: from.or(socket),
            acting: claims.act.as_ref().and_then(|a| a.get("sub")).and_then(|s| s.as_str()).map(str::to_owned),
            at,
            trace: header("traceparent"),
            // Two callers' keys must never meet.
            command_id: header("idempotency-key").map(|key| format!("{}:{}:{}", claims.sub, parts.uri.path(), key)),
        }
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(error: TokenError) -> Problem {
    Problem::unauthenticated(match error {
        TokenError::Expired => "the access token has expired; refresh it or sign in again".to_owned(),
        TokenError::Foreign => "the access token was not issued by this platform".to_owned(),
        TokenError::Invalid(_) => "the access token is not meant for this platform".to_owned(),
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::from_parts(parts).await
    }
}
