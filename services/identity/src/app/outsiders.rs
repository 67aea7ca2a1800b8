//! Programs without any secret of ours: the token of an outside issuer (CI job, Kubernetes service account, SPIFFE) for a
//! short one of the robot that its claims name (RFC 8693).

use std::collections::BTreeMap;

use gantry_auth::dpop::algorithms_of;
use gantry_kernel::{OrgId, Problem, Uuid};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use sqlx::types::Json;

use crate::adapters::outside::{pick, read_set};
use crate::app::App;
use crate::app::clients::Client;
use crate::app::context::Fact;
use crate::app::issue::{Source, Tokens};
use crate::app::signin::Origin;
use crate::domain::outsider::{Rule, TrustedIssuer};
use crate::error::{OAuthError, fault};
use crate::store::groups;
use crate::store::issuers::{self, IssuerRow};

const LEEWAY_SECS: u64 = 10;
/// An outside token that lives longer than this is no job's.
const MAX_LIFE_SECS: i64 = 24 * 3_600;
const MAX_TOKEN: usize = 16 * 1024;

impl App {
    /// # Errors
    /// Faulty settings, a client that is not of this organisation, a taken name.
    pub async fn trust_issuer(&self, org: Option<OrgId>, name: &str, settings: TrustedIssuer) -> Result<IssuerRow, Problem> {
        let name = crate::app::orgs::name_of("name", name)?;
        let mut faults = settings.faults();
        for rule in &settings.rules {
            // Nobody lends out robots of others.
            if self.robot_of(org, rule).await?.is_none() {
                let detail = format!("there is no client or service account `{}` here", rule.name().chars().take(80).collect::<String>());
                faults.push(gantry_kernel::FieldFault { field: "rules".into(), detail });
            }
        }
        if !faults.is_empty() {
            return Err(Problem::invalid_fields(faults));
        }
        let row = IssuerRow { id: self.host.env.uuid(), org: org.map(|o| o.0), name: name.to_string(), settings: Json(settings), created_at: self.now() };
        if !issuers::insert(self.pool(), &row).await.map_err(fault)? {
            return Err(Problem::conflict("identity.name_taken", format!("there is a trusted issuer `{name}` already")));
        }
        Ok(row)
    }

    pub(crate) async fn exchange_outside(&self, client: &Client, token: &str, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        let invalid = || OAuthError::invalid_grant("subject_token is not of a trusted issuer, or no rule fits its claims");
        let refused = async |reason: &str, object: &str| {
            self.record(Fact { actor: "anonymous", action: "token.refused", object, result: "denied", reason, from: &origin.address }).await;
        };
        if token.len() > MAX_TOKEN {
            return Err(invalid());
        }
        let Some(issuer) = unverified_issuer(token) else { return Err(invalid()) };
        let mut robots: BTreeMap<Uuid, (String, i64, Uuid)> = BTreeMap::new();
        for row in issuers::of_issuer(self.pool(), &issuer).await.map_err(fault)? {
            let Some(claims) = self.verified_outside(&row.settings, token).await else { continue };
            let expires = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
            for rule in row.settings.fitting(&claims) {
                // Deleted, suspended or moved since the rule was made: nothing.
                if let Some((robot, name)) = self.robot_of(row.org.map(OrgId), rule).await? {
                    robots.insert(robot, (name, expires, row.id));
                }
            }
        }
        if robots.len() > 1 {
            refused("several robots fit", &issuer).await;
            return Err(OAuthError::invalid_grant("the claims fit rules of several robots: make the rules narrower"));
        }
        let Some((robot, (name, expires, trust))) = robots.pop_first() else {
            refused("no rule fits", &issuer).await;
            return Err(invalid());
        };
        let left = u32::try_from(expires - self.now().unix_timestamp()).unwrap_or_default().max(1);
        let seconds = Some(left.min(self.token_seconds(client)));
        let source = Source { cnf: bound, seconds, trust: Some(trust), ..Source::machine("api", self.now()) };
        self.as_robot(client, robot, &name, &source, &issuer, origin).await
    }

    /// Whether a token on the word of this issuer may still stand for `subject`: the issuer is trusted, and one of its rules names that
    /// robot, which may work.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn is_trusted_as(&self, trust: Uuid, subject: &str) -> Result<bool, Problem> {
        let Some(robot) = subject.strip_prefix("robot:").and_then(|id| id.parse::<Uuid>().ok()) else { return Ok(false) };
        let Some(row) = issuers::trusted(self.pool(), trust).await.map_err(fault)? else { return Ok(false) };
        for rule in &row.settings.rules {
            if self.robot_of(row.org.map(OrgId), rule).await?.is_some_and(|(named, _)| named == robot) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The robot that a rule of `org` names, if it is of `org` and may work.
    async fn robot_of(&self, org: Option<OrgId>, rule: &Rule) -> Result<Option<(Uuid, String)>, Problem> {
        if let Some(id) = &rule.client {
            let client = self.clients.get(id).await?;
            return Ok(client.filter(|c| c.org == org && !c.id.starts_with("gantry-")).map(|c| (c.robot(), c.id.clone())));
        }
        let (Some(org), Some(name)) = (org, &rule.service_account) else { return Ok(None) };
        let row = groups::robot(self.pool(), org, name).await.map_err(fault)?;
        Ok(row.filter(|r| r.suspended_reason.is_none()).map(|r| (r.id, r.name)))
    }

    /// The claims of a token of this issuer: signature, issuer, audience and time are right.
    async fn verified_outside(&self, issuer: &TrustedIssuer, token: &str) -> Option<Value> {
        // RFC 7515 section 4.1.11: nothing that must be understood is.
        let header = jsonwebtoken::decode_header(token).ok().filter(|header| header.crit.is_none())?;
        let kid = header.kid.as_deref();
        let key = match (&issuer.jwks, &issuer.jwks_uri) {
            (Some(jwks), _) => pick(&read_set(jwks), kid),
            (None, Some(address)) => match self.outside.key(address, kid).await {
                Ok(key) => key,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), issuer = issuer.issuer, "a trusted issuer's keys cannot be fetched");
                    None
                }
            },
            (None, None) => None,
        }?;
        // The key says which algorithms there can be, never the token.
        let mut rules = Validation::new(*algorithms_of(&key).iter().find(|algorithm| **algorithm == header.alg)?);
        rules.leeway = LEEWAY_SECS;
        rules.validate_nbf = true;
        rules.set_issuer(&[&issuer.issuer]);
        rules.set_audience(&[issuer.audience.as_ref().unwrap_or(&self.issuer)]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(&key).ok()?, &rules).ok()?.claims;
        let now = self.now().unix_timestamp();
        let issued = claims.get("iat").and_then(Value::as_i64);
        let sane = claims["exp"].as_i64()? <= now + MAX_LIFE_SECS && issued.is_none_or(|at| at <= now + LEEWAY_SECS.cast_signed());
        sane.then_some(claims)
    }
}

/// Who a token says it is by, to find the keys to check that with.
pub fn unverified_issuer(token: &str) -> Option<String> {
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
    claims.get("iss")?.as_str().filter(|i| i.len() <= 500).map(str::to_owned)
}
