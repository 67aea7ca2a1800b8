//! The person or program behind a REST request.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use gantry_es::Meta;
use gantry_kernel::{Env, OffsetDateTime, OrgId, Problem, UserId};
use http::request::Parts;

use crate::auth::{Auth, READ_ONLY};
use crate::conditions::Context;
use crate::dpop;
use crate::peer::{Peer, certificate_thumbprint, client_certificate};
use crate::token::{AccessClaims, TokenError};

/// A verified caller. As a handler's argument it refuses requests without a valid bearer token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// "user:<uuid>", "service:<name>", "robot:<uuid>".
    pub subject: String,
    pub username: Option<String>,
    pub session: Option<String>,
    /// The access token's own id (`jti`), and until when it counts.
    pub token: String,
    pub until: OffsetDateTime,
    /// The OAuth client to which it was given (`client_id`); empty if it says none.
    pub client: String,
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

/// What the client itself asked, when its request was rewritten on the way (an RPC that became a REST call).
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: http::Method,
    pub path: String,
}

#[derive(Clone, Debug)]
pub struct Identity {
    pub subject: String,
    /// Who really acts, when somebody is impersonated.
    pub acting: Option<String>,
}

/// Where something came from, for records: with who really acted, when somebody was impersonated.
pub fn from_of(from: Option<&str>, acting: Option<&str>) -> Option<String> {
    match (from, acting) {
        (from, Some(acting)) => Some(format!("{} by {acting}", from.unwrap_or_default()).trim().to_owned()),
        (from, None) => from.map(str::to_owned),
    }
}

impl Caller {
    pub fn user_id(&self) -> Option<UserId> {
        self.subject.strip_prefix("user:")?.parse().ok()
    }

    /// Whether its token may read and nothing else.
    pub fn only_reads(&self) -> bool {
        let has = |scope: &str| self.scopes.iter().any(|s| s == scope);
        has(READ_ONLY) && !has("api")
    }

    /// Who and from where, for events.
    pub fn meta(&self, tenant: Option<OrgId>) -> Meta {
        Meta {
            actor: self.subject.clone(),
            tenant,
            from: from_of(self.from.as_deref(), self.acting.as_deref()),
            trace: self.trace.clone(),
            command_id: self.command_id.clone(),
        }
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
        let (scheme, token) =
            header.and_then(bearer).ok_or_else(|| Problem::unauthenticated("send `Authorization: Bearer <access token>`; `gantry login` gets one"))?;
        let claims = auth.verifier.bound_or_bearer(token, env.now()).await.map_err(|error| refuse(error).challenge(scheme.invalid()))?;
        possessed(&claims, scheme, token, parts, auth, env).await?;
        let caller = Self::of(&claims, parts, env.now());
        if let Some(slot) = parts.extensions.get::<CallerSlot>() {
            let _ = slot.0.set(Identity { subject: caller.subject.clone(), acting: caller.acting.clone() });
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
            token: claims.jti.clone(),
            // A time that cannot be is long over.
            until: OffsetDateTime::from_unix_timestamp(claims.exp).unwrap_or(at),
            client: claims.client_id.clone(),
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Dpop,
}

/// Challenges (RFC 6750 section 3.1, RFC 9449 section 7.1).
const INVALID_BEARER: &str = "Bearer error=\"invalid_token\"";
const INVALID_DPOP: &str = "DPoP error=\"invalid_token\", algs=\"ES256 EdDSA PS256 RS256\"";
const INVALID_PROOF: &str = "DPoP error=\"invalid_dpop_proof\", algs=\"ES256 EdDSA PS256 RS256\"";

impl Scheme {
    fn invalid(self) -> &'static str {
        match self {
            Self::Bearer => INVALID_BEARER,
            Self::Dpop => INVALID_DPOP,
        }
    }
}

fn bearer(header: &str) -> Option<(Scheme, &str)> {
    let (scheme, token) = header.split_once(' ')?;
    let scheme = match scheme {
        s if s.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        s if s.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return None,
    };
    Some((scheme, token.trim()))
}

/// A token that is bound to a key or certificate counts only with proof of it; one that is not bound needs none.
async fn possessed(claims: &AccessClaims, scheme: Scheme, token: &str, parts: &Parts, auth: &Auth, env: &Env) -> Result<(), Problem> {
    let Some(cnf) = &claims.cnf else {
        let unbound = || Problem::unauthenticated("this token is not bound to a key: send it as Bearer").challenge(INVALID_BEARER);
        return if scheme == Scheme::Bearer { Ok(()) } else { Err(unbound()) };
    };
    if let Some(jkt) = cnf.get("jkt").and_then(|j| j.as_str()) {
        let mut proofs = parts.headers.get_all("dpop").iter();
        let proof = proofs.next().filter(|_| proofs.next().is_none() && scheme == Scheme::Dpop).and_then(|v| v.to_str().ok());
        let unproved = || Problem::unauthenticated("this token is bound to a key: send `Authorization: DPoP <token>` and one DPoP proof");
        let proof = proof.ok_or_else(|| unproved().challenge(INVALID_DPOP))?;
        let asked = parts.extensions.get::<Asked>();
        let (method, path) = asked.map_or((&parts.method, parts.uri.path()), |a| (&a.method, a.path.as_str()));
        let uri = format!("{}{path}", auth.verifier.issuer());
        let bad = |why: String| Problem::unauthenticated(why).challenge(INVALID_PROOF);
        let proof = dpop::check(proof, method.as_str(), &uri, Some(token), env.now()).map_err(|error| bad(error.to_string()))?;
        if proof.jkt != jkt || !auth.verifier.first_time(&proof).await {
            return Err(bad("the DPoP proof is of another key, or was used before".into()));
        }
        return Ok(());
    }
    let shown = client_certificate(&parts.headers, parts.extensions.get::<Peer>()).map(|c| certificate_thumbprint(&c));
    match (cnf.get("x5t#S256").and_then(|t| t.as_str()), shown) {
        (Some(bound), Some(shown)) if bound == shown => Ok(()),
        _ => Err(Problem::unauthenticated("this token is bound to a certificate: show it when connecting").challenge(INVALID_BEARER)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_name_the_algorithms_that_proofs_may_have() {
        let algorithms = format!("algs=\"{}\"", dpop::PROOF_ALGORITHMS.join(" "));
        assert!([INVALID_DPOP, INVALID_PROOF].iter().all(|challenge| challenge.contains(&algorithms)), "{algorithms}");
        assert_eq!((Scheme::Bearer.invalid(), Scheme::Dpop.invalid()), (INVALID_BEARER, INVALID_DPOP));
    }
}
