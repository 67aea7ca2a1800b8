//! Tokens for the image registry by the Docker token specification, and the credentials that platform services use
//! to get them.

use std::collections::BTreeSet;

use gantry_auth::{Context, RegistryAccess, RegistryClaims, permissions};
use gantry_kernel::{OffsetDateTime, Problem, Secret};
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::subject;
use crate::app::robots::KEY_PREFIX;
use crate::app::secrets::{fresh, kept};
use crate::app::signin::Origin;
use crate::domain::registry_scope::{Access, Action, Asked, Pattern, grant, grant_by_patterns, listed};
use crate::domain::token_scope;
use crate::error::{OAuthError, fault};
use crate::store::refresh::{self, Family};

const AUDIENCE: &str = "gantry-registry";
const LIFE: Duration = Duration::minutes(5);
const CREDENTIAL_TYPE: &str = "registry-credential+jwt";
const CREDENTIAL_AUDIENCE: &str = "gantry-registry-credential";
/// The client that `docker` and its like are, whatever they call themselves.
pub(crate) const CLIENT: &str = "gantry-registry";

/// Who asks for a registry token.
pub enum Asker {
    Anonymous,
    /// "user:<uuid>", by the password or a refresh token that came from it.
    User(String),
    /// The same with a personal access token or an access token, which allow only these actions, and nothing that outlives them.
    Limited(String, BTreeSet<Action>),
    /// A service account: by its roles, and by the repositories it was given directly.
    Robot(String, Vec<Pattern>),
    Service(Credential),
}

/// A short-lived password of a platform service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credential {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub exp: i64,
    pub iat: i64,
    pub jti: String,
    pub grants: Vec<Pattern>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RegistryToken {
    pub token: String,
    /// The same, for clients that follow OAuth 2.0.
    pub access_token: String,
    pub token_type: String,
    pub expires_in: i64,
    pub issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl App {
    /// Who is behind HTTP Basic credentials.
    ///
    /// # Errors
    /// Unauthenticated.
    pub async fn registry_asker(&self, name: &str, secret: &Secret, origin: &Origin) -> Result<Asker, Problem> {
        let text = secret.expose();
        if text.starts_with("eyJ")
            && let Some(credential) = self.keys.verify::<Credential>(text, CREDENTIAL_TYPE, &self.issuer, CREDENTIAL_AUDIENCE)
        {
            return Ok(Asker::Service(credential));
        }
        if text.starts_with(KEY_PREFIX) {
            let (robot, _) = self.verify_robot_key(text, origin).await?;
            return Ok(Asker::Robot(format!("robot:{}", robot.id), Self::robot_patterns(&robot)));
        }
        if let Some((person, scope)) = self.verify_token(text, origin).await? {
            return Ok(Asker::Limited(subject(person.id), token_scope::registry_actions(&scope)));
        }
        Ok(Asker::User(subject(self.verify_bare(name, secret, origin).await?.id)))
    }

    /// A token for what of `asked` the asker may do, and for the catalogue if `catalog`. Less than asked is no error: the registry says what is missing.
    ///
    /// # Errors
    /// When there is no signing key.
    pub async fn registry_token(&self, asker: &Asker, asked: &[Asked], catalog: bool, origin: &Origin) -> Result<RegistryToken, Problem> {
        let mut access: Vec<RegistryAccess> = asked
            .iter()
            .map(|one| match asker {
                Asker::Service(credential) => grant_by_patterns(one, &credential.grants),
                Asker::Anonymous => self.grant_to(one, None, origin),
                Asker::User(subject) => self.grant_to(one, Some(subject), origin),
                Asker::Limited(subject, actions) => {
                    let mut access = self.grant_to(one, Some(subject), origin);
                    access.actions.retain(|a| actions.contains(a));
                    access
                }
                Asker::Robot(subject, patterns) => {
                    let mut access = self.grant_to(one, Some(subject), origin);
                    access.actions.extend(grant_by_patterns(one, patterns).actions);
                    access.actions.sort();
                    access.actions.dedup();
                    access
                }
            })
            .filter(|access| !access.actions.is_empty())
            .map(as_claim)
            .collect();
        if catalog {
            access.extend(catalogue(asker));
        }
        let sub = match asker {
            Asker::Anonymous => "",
            Asker::User(subject) | Asker::Limited(subject, _) | Asker::Robot(subject, _) => subject,
            Asker::Service(credential) => &credential.sub,
        };
        let now = self.now();
        let claims = RegistryClaims {
            iss: self.issuer.clone(),
            sub: sub.to_owned(),
            aud: AUDIENCE.into(),
            exp: (now + LIFE).unix_timestamp(),
            iat: now.unix_timestamp(),
            nbf: now.unix_timestamp(),
            jti: self.host.env.uuid().to_string(),
            access,
        };
        let token = self.keys.sign("JWT", &claims)?;
        let wanted: usize = asked.iter().map(|a| a.actions.len()).sum();
        let granted: usize = claims.access.iter().filter(|a| a.kind == "repository").map(|a| a.actions.len()).sum();
        if granted < wanted {
            let actor = if sub.is_empty() { "anonymous" } else { sub };
            let object = asked.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(" ");
            self.record(Fact { actor, action: "registry.token", object: &object, result: "denied", reason: "fewer actions than asked", from: &origin.address })
                .await;
        }
        Ok(RegistryToken {
            access_token: token.clone(),
            token,
            token_type: "Bearer".into(),
            expires_in: LIFE.whole_seconds(),
            issued_at: now.format(&time::format_description::well_known::Rfc3339).map_err(fault)?,
            refresh_token: None,
            scope: None,
        })
    }

    /// By the project of the repository's name; an unknown one gives nothing. On a public project everybody may pull.
    fn grant_to(&self, asked: &Asked, subject: Option<&str>, origin: &Origin) -> Access {
        let place = asked.project().and_then(|(org, project)| self.host.auth.project(org.as_str(), project.as_str()).ok());
        let Some(place) = place else { return grant(asked, None, false) };
        let Some(subject) = subject else { return grant(asked, None, place.public) };
        // The password alone was seen: a condition on factors does not hold here.
        let context = Context { now: self.now(), from: origin.address.parse().ok(), factors: Vec::new() };
        let allowed = |action: Action| {
            let permission = permissions::find(action.permission());
            (place.public && action == Action::Pull)
                || permission.is_some_and(|p| self.host.auth.read(|rights| rights.allows(subject, p, place.scope(), Some(&context))))
        };
        Access { kind: "repository".into(), name: asked.name.clone(), actions: asked.actions.iter().copied().filter(|a| allowed(*a)).collect() }
    }

    /// A refresh token for `offline_token=true` or `access_type=offline` (docker and containerd keep it instead of the
    /// password). It is not rotated: those clients cannot store another one, and it gives registry tokens only.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn registry_refresh_token(&self, user: gantry_kernel::UserId) -> Result<String, Problem> {
        let now = self.now();
        let token = fresh(&self.host.env, "grr_");
        let expires_at = now + Duration::days(self.config.refresh_days.into());
        let family = Family {
            id: self.host.env.uuid(),
            client_id: CLIENT.into(),
            user_id: user.0,
            session_id: None,
            scope: "registry".into(),
            auth_time: now,
            amr: "pwd".into(),
            created_at: now,
            expires_at,
            ended_at: None,
            claims: "{}".into(),
            cnf: None,
            offline: true,
        };
        let mut connection = self.pool().acquire().await.map_err(fault)?;
        refresh::start(&mut connection, &family, None, Some((&kept(&token), expires_at)), false).await.map_err(fault)?;
        Ok(token)
    }

    /// # Errors
    /// `invalid_grant`.
    pub async fn registry_refresh(&self, token: &str) -> Result<Asker, OAuthError> {
        let invalid = || OAuthError::invalid_grant("the refresh token is not valid");
        let (family, expires_at, _) = refresh::family_of(self.pool(), &kept(token)).await.map_err(fault)?.ok_or_else(invalid)?;
        if family.client_id != CLIENT || family.ended_at.is_some() || self.now() >= expires_at {
            return Err(invalid());
        }
        let person = self.active_person(family.user_id.into()).await?;
        Ok(Asker::User(subject(person.id)))
    }

    /// A user name and password for a platform service, e.g. for `buildah push`. Nobody gets more through it than
    /// `on_behalf` may do, if somebody is named.
    ///
    /// # Errors
    /// A pattern or life that is out of range, or a right that is missing.
    pub fn registry_credential(
        &self,
        service: &str,
        on_behalf: Option<&str>,
        grants: Vec<Pattern>,
        ttl_seconds: u32,
    ) -> Result<(String, String, OffsetDateTime), Problem> {
        if !(1..=3_600).contains(&ttl_seconds) {
            return Err(Problem::invalid("ttl_seconds", "must be 1 to 3600"));
        }
        for pattern in &grants {
            // A pattern must name the project at least, so that it cannot reach into another tenant.
            let mut parts = pattern.pattern.splitn(3, '/');
            let place = match (parts.next(), parts.next(), parts.next()) {
                (Some(org), Some(project), Some(rest)) if !rest.is_empty() => self.host.auth.project(org, project)?,
                _ => return Err(Problem::invalid("grants", format!("`{}`: must be <org>/<project>/<repository> or end with /*", pattern.pattern))),
            };
            if let Some(subject) = on_behalf {
                for action in &pattern.actions {
                    self.host.auth.require_subject(subject, action.needs(), place.scope())?;
                }
            }
        }
        let now = self.now();
        let expires_at = now + Duration::seconds(ttl_seconds.into());
        let sub = on_behalf.map_or_else(|| format!("service:{service}"), str::to_owned);
        let credential = Credential {
            iss: self.issuer.clone(),
            sub,
            aud: CREDENTIAL_AUDIENCE.into(),
            exp: expires_at.unix_timestamp(),
            iat: now.unix_timestamp(),
            jti: self.host.env.uuid().to_string(),
            grants,
        };
        let password = self.keys.sign(CREDENTIAL_TYPE, &credential)?;
        Ok((service.to_owned(), password, expires_at))
    }
}

/// What the catalogue shows to the asker: `registry` with `catalog` stands for all that their rights show, an entry of `repositories` for those
/// of its pattern. A credential shows its own repositories alone, whatever its service or the person behind it may see.
fn catalogue(asker: &Asker) -> Vec<RegistryAccess> {
    let (by_rights, patterns): (bool, &[Pattern]) = match asker {
        Asker::Anonymous | Asker::User(_) => (true, &[]),
        Asker::Limited(_, actions) => (actions.contains(&Action::Pull), &[]),
        Asker::Robot(_, patterns) => (true, patterns),
        Asker::Service(credential) => (false, &credential.grants),
    };
    let whole = by_rights.then(|| RegistryAccess { kind: "registry".into(), name: "catalog".into(), actions: vec!["*".into()] });
    let of = |pattern: &str| RegistryAccess { kind: "repositories".into(), name: pattern.to_owned(), actions: vec!["pull".into()] };
    whole.into_iter().chain(listed(patterns).map(of)).collect()
}

fn as_claim(access: Access) -> RegistryAccess {
    let text = |a: &Action| match a {
        Action::Pull => "pull",
        Action::Push => "push",
        Action::Delete => "delete",
    };
    RegistryAccess { kind: access.kind, name: access.name, actions: access.actions.iter().map(|a| text(a).to_owned()).collect() }
}

/// # Errors
/// When an action is unknown.
pub fn pattern_of(pattern: &str, actions: &[String]) -> Result<Pattern, Problem> {
    let read = |a: &String| match a.as_str() {
        "pull" => Ok(Action::Pull),
        "push" => Ok(Action::Push),
        "delete" => Ok(Action::Delete),
        other => Err(Problem::invalid("actions", format!("`{other}`: pull, push or delete"))),
    };
    Ok(Pattern { pattern: pattern.to_owned(), actions: actions.iter().map(read).collect::<Result<BTreeSet<_>, _>>()? })
}
