//! Token exchange (RFC 8693): a personal access token for a short one, a person's token for another one that says who
//! acts, and the token of an outside program (CI job, Kubernetes service account, SPIFFE) for one of its robot.

use gantry_kernel::{Kind, Problem, Role, Scope, Uuid};
use serde_json::{Value, json};

use crate::app::App;
use crate::app::clients::Client;
use crate::app::context::Fact;
use crate::app::issue::{Source, Tokens, family_of, key_of};
use crate::app::people::{Person, subject};
use crate::app::robots::KEY_PREFIX;
use crate::app::signin::{Origin, PERSONAL_PREFIX};
use crate::domain::token_scope;
use crate::error::OAuthError;

pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Somebody else's rights are lent for a short while.
const IMPERSONATION_SECS: u32 = 300;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    pub token: &'a str,
    pub token_type: &'a str,
    /// Whom the new token is to speak for; the subject token then says who acts.
    pub requested_subject: Option<&'a str>,
    pub requested_type: Option<&'a str>,
    pub scope: Option<&'a str>,
    /// For whom it is to be: `audience` and `resource`.
    pub targets: [Option<&'a str>; 2],
    /// `actor_token`.
    pub actor: Option<&'a str>,
}

impl App {
    /// # Errors
    /// `invalid_request` for other token types, `invalid_grant` for a token that does not count, `access_denied` without the right.
    pub async fn exchange_token(&self, client: &Client, asked: Exchange<'_>, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        if asked.requested_type.is_some_and(|t| t != ACCESS_TOKEN && t != JWT) {
            return Err(OAuthError::invalid_request("requested_token_type: only access tokens"));
        }
        // Left out in silence, it would look as if somebody else had acted.
        if asked.actor.is_some() {
            return Err(OAuthError::invalid_request("actor_token: not taken; the client that asks, or who impersonates, is the one who acts"));
        }
        let tokens = match (asked.token_type, asked.requested_subject) {
            (ACCESS_TOKEN, Some(wanted)) => self.impersonate(client, asked.token, wanted, bound, origin).await?,
            (ACCESS_TOKEN, None) if asked.token.starts_with(KEY_PREFIX) => self.exchange_robot_key(client, asked.token, bound, origin).await?,
            (ACCESS_TOKEN, None) if asked.token.starts_with(PERSONAL_PREFIX) => self.exchange_personal(client, asked.token, bound, origin).await?,
            (ACCESS_TOKEN, None) => self.delegate(client, asked, bound, origin).await?,
            (JWT | ID_TOKEN, None) => self.exchange_outside(client, asked.token, bound, origin).await?,
            (JWT | ID_TOKEN, Some(_)) => return Err(OAuthError::invalid_request("requested_subject needs an access token of ours")),
            _ => return Err(OAuthError::invalid_request("subject_token_type: access_token, jwt or id_token")),
        };
        // Section 2.2.2: whoever asks for a token for somebody gets none for somebody else.
        let audience = self.audience(client, &tokens.scope);
        if asked.targets.into_iter().flatten().any(|target| !audience.iter().any(|a| a == target)) {
            return Err(OAuthError::new("invalid_target", "audience, resource: this client's tokens are not for that"));
        }
        Ok(Tokens { issued_token_type: Some(ACCESS_TOKEN.into()), ..tokens })
    }

    async fn exchange_personal(&self, client: &Client, token: &str, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        let verified = self.verify_personal_token(token, origin).await;
        let (person, kept) = verified.map_err(not_valid)?;
        let scope = token_scope::api_scope(&kept.scope).ok_or_else(|| OAuthError::new("invalid_scope", "this token is not for the API"))?;
        let source = Source { amr: "pop".into(), cnf: bound, key: Some(kept.id), ..Source::machine(scope, self.now()) };
        self.as_person(client, &person, &source, "personal token", origin).await
    }

    async fn exchange_robot_key(&self, client: &Client, key: &str, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        let (row, key) = self.verify_robot_key(key, origin).await.map_err(not_valid)?;
        let source = Source { amr: "pop".into(), cnf: bound, key: Some(key), ..Source::machine("api", self.now()) };
        self.as_robot(client, row.id, &row.name, &source, "service account key", origin).await
    }

    /// A token of a robot, whoever asks for it on its behalf.
    pub(crate) async fn as_robot(
        &self,
        client: &Client,
        robot: Uuid,
        name: &str,
        source: &Source,
        reason: &str,
        origin: &Origin,
    ) -> Result<Tokens, OAuthError> {
        let actor = format!("robot:{robot}");
        let mut claims = self.access_for(client, &actor, source);
        claims.preferred_username = Some(name.to_owned());
        let tokens = self.signed(&claims)?;
        let object = format!("client:{}", client.id);
        self.record(Fact { actor: &actor, action: "token.issued", object: &object, result: "ok", reason, from: &origin.address }).await;
        Ok(tokens)
    }

    /// A service that was called with a person's token calls on in that person's name: it stands in `act`.
    async fn delegate(&self, client: &Client, asked: Exchange<'_>, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        let invalid = || OAuthError::invalid_grant("subject_token is not valid");
        let claims = self.issued_claims(asked.token).ok_or_else(invalid)?;
        // A token that is bound to a key cannot be made free of it.
        if claims.cnf.is_some() || !self.counts(&claims).await? {
            return Err(invalid());
        }
        if client.is_public() {
            return Err(OAuthError::new("unauthorized_client", "only a client with credentials may act for somebody"));
        }
        let for_this_client = claims.client_id == client.id || client.settings.audience.as_ref().is_some_and(|mine| claims.aud.contains(mine));
        if !for_this_client {
            return Err(OAuthError::invalid_grant("subject_token was neither issued to this client nor for it"));
        }
        let user = Self::person_of(&claims).ok_or_else(invalid)?;
        let person = self.active_person(user).await?;
        let granted: Vec<&str> = claims.scope.split(' ').collect();
        let wanted = asked.scope.unwrap_or(&claims.scope);
        if wanted.split_ascii_whitespace().any(|s| !granted.contains(&s)) {
            return Err(OAuthError::new("invalid_scope", "more than the subject token has"));
        }
        let scope = client.scope(wanted).split(' ').filter(|s| !matches!(*s, "openid" | "offline_access")).collect::<Vec<_>>().join(" ");
        let mut act = json!({ "sub": format!("robot:{}", client.robot()), "client_id": client.id });
        // The chain of those who acted before stays in sight (section 4.1).
        if let Some(before) = &claims.act {
            act["act"] = before.clone();
        }
        // Our own services believe what is for them: a token that was limited to others (UserInfo, an audience) stays so.
        if widens(&claims.aud, &self.audience(client, &scope), &self.issuer) {
            return Err(OAuthError::new("invalid_target", "subject_token is not for this platform's API"));
        }
        let left = u32::try_from(claims.exp - self.now().unix_timestamp()).unwrap_or_default().min(self.token_seconds(client));
        let source = Source {
            cnf: bound,
            act: Some(act),
            seconds: Some(left),
            session: claims.sid.as_deref().and_then(|s| s.parse().ok()),
            family: family_of(&claims.jti),
            key: key_of(&claims.jti),
            amr: claims.amr.join(" "),
            ..Source::machine(&scope, self.now())
        };
        self.as_person(client, &person, &source, "delegation", origin).await
    }

    /// Support staff looks at the platform as somebody sees it: with the platform administrator's right, or because that
    /// person allowed it. Every record that follows names both.
    async fn impersonate(&self, client: &Client, token: &str, wanted: &str, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        let claims = self.access_claims(token).await.map_err(not_valid)?;
        let staff = claims.sub.strip_prefix("user:").and_then(|id| id.parse().ok()).ok_or_else(|| OAuthError::invalid_grant("only people impersonate"))?;
        self.active_person(staff).await?;
        // A token that may only read must not become one that may do everything.
        if !claims.scope.split(' ').any(|s| s == "api") && claims.scope.split(' ').any(|s| s == gantry_auth::READ_ONLY) {
            return Err(OAuthError::new("invalid_scope", "subject_token may only read"));
        }
        // Nobody hides behind somebody who hides behind somebody.
        if claims.act.is_some() {
            return Err(OAuthError::invalid_grant("subject_token is of somebody impersonated already"));
        }
        let found = self.find_user(wanted.strip_prefix("user:").unwrap_or(wanted)).await?;
        let by_right = self.host.auth.require_subject(&claims.sub, Role::Admin, Scope::Platform).is_ok();
        let allowed = match &found {
            Some(row) if by_right => Some(row.id),
            Some(row) => crate::store::impersonations::allowed(self.pool(), row.id, staff.0, self.now()).await.map_err(crate::error::fault)?.then_some(row.id),
            None => None,
        };
        let Some(user) = allowed else {
            let reason = "neither right nor consent";
            self.record(Fact { actor: &claims.sub, action: "person.impersonated", object: wanted, result: "denied", reason, from: &origin.address }).await;
            return Err(OAuthError::new("access_denied", "you need the right, or this person's consent, to act for them"));
        };
        let person = self.active_person(user.into()).await?;
        let object = subject(person.id);
        let reason = if by_right { "by right" } else { "by consent" };
        self.record(Fact { actor: &claims.sub, action: "person.impersonated", object: &object, result: "ok", reason, from: &origin.address }).await;
        let act = json!({ "sub": claims.sub, "preferred_username": claims.preferred_username });
        // With the sign-in or the token of who acts it ends, too.
        let (family, key) = (family_of(&claims.jti), key_of(&claims.jti));
        let source = Source { cnf: bound, act: Some(act), seconds: Some(IMPERSONATION_SECS), family, key, ..Source::machine("api", self.now()) };
        self.as_person(client, &person, &source, "impersonation", origin).await
    }

    async fn as_person(&self, client: &Client, person: &Person, source: &Source, reason: &str, origin: &Origin) -> Result<Tokens, OAuthError> {
        let tokens = self.issue(client, person, source, None, None).await?;
        let (actor, object) = (subject(person.id), format!("client:{}", client.id));
        self.record(Fact { actor: &actor, action: "token.issued", object: &object, result: "ok", reason, from: &origin.address }).await;
        Ok(tokens)
    }
}

/// Whether a token would be for the platform's API that comes of one that was not.
fn widens(before: &[String], after: &[String], platform: &str) -> bool {
    let for_us = |audience: &[String]| audience.iter().any(|a| a == platform);
    for_us(after) && !for_us(before)
}

/// Why a token does not count is not told. That nobody could look is another thing: it may be good.
fn not_valid(problem: Problem) -> OAuthError {
    if problem.kind == Kind::Unauthenticated { OAuthError::invalid_grant("subject_token is not valid") } else { problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_limited_to_others_does_not_become_good_for_the_platform() {
        let (us, userinfo, shop) = ("https://id", "https://id/oauth2/userinfo", "https://shop");
        let all = |audience: &[&str]| audience.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        for (before, after, wider) in [
            (&[userinfo][..], &[us][..], true),
            (&[shop, userinfo], &[us], true),
            (&[us], &[us], false),
            (&[us], &[shop], false),
            (&[shop, userinfo], &[userinfo], false),
        ] {
            assert_eq!(widens(&all(before), &all(after), us), wider, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_database_that_is_away_makes_no_token_invalid() {
        assert_eq!(not_valid(Problem::unauthenticated("this account is not active")).error, "invalid_grant");
        assert_eq!(not_valid(Problem::unavailable("the database")).error, "temporarily_unavailable");
    }
}
