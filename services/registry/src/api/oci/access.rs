//! Who is at the door and what their token allows. Registry tokens carry their rights; access tokens of the platform
//! (scripts, the console) are judged by role. A right taken away counts at once, not only when the token ends.

use std::sync::Arc;

use gantry_auth::{AccessClaims, CallerSlot, Identity, RegistryClaims, TokenError};
use gantry_es::Meta;
use gantry_kernel::{Problem, Role, Scope};
use http::{header, request::Parts};

use super::failure::Failure;
use crate::app::App;
use crate::app::cache::Verified;
use crate::app::scanners::SCANNER;
use crate::domain::access::{Access, Action, Catalogue, allows, catalogue, challenge};
use crate::domain::name::RepositoryName;

/// Somebody with a valid token, perhaps anonymous.
pub struct Who {
    /// "user:<uuid>" and so on; empty for anonymous.
    pub subject: String,
    /// `None`: an access token, judged by role.
    access: Option<Arc<Verified>>,
    from: Option<String>,
    trace: Option<String>,
}

impl Who {
    pub fn meta(&self) -> Meta {
        let actor = if self.subject.is_empty() { "anonymous".to_owned() } else { self.subject.clone() };
        Meta { actor, tenant: None, from: self.from.clone(), trace: self.trace.clone(), command_id: None }
    }

    /// A scanner outside must see what it is to judge, and its pulls say nothing about who needs an image.
    pub fn is_scanner(&self) -> bool {
        self.subject.starts_with(SCANNER)
    }

    /// What `_catalog` shows; none if the token is not for it.
    pub fn catalogue(&self) -> Option<Catalogue<'_>> {
        let Some(token) = &self.access else { return Some(Catalogue { by_rights: true, patterns: Vec::new() }) };
        let shown = catalogue(&token.access)?;
        // A service may see everything, and hands out tokens in its name for the repositories of one tenant.
        let by_rights = shown.by_rights && !self.subject.starts_with("service:");
        (by_rights || !shown.patterns.is_empty()).then_some(Catalogue { by_rights, ..shown })
    }
}

/// What a request needs: an action on a repository each.
type Wanted<'a> = [(&'a RepositoryName, Action)];

fn ask(app: &App, wanted: &Wanted<'_>, error: Option<&str>) -> String {
    let platform = &app.host.platform;
    challenge(&format!("{}/oauth2/registry-token", platform.public_url), platform.public_host(), wanted, error)
}

/// The challenge for the catalogue, which no repository's scope names.
pub fn ask_for_catalog(app: &App) -> Failure {
    let challenge = format!("{},scope=\"registry:catalog:*\"", ask(app, &[], Some("insufficient_scope")));
    Failure::unauthenticated(challenge, "listing repositories needs a token with scope `registry:catalog:*`")
}

/// Checks the token.
pub async fn authenticate(app: &App, parts: &Parts, wanted: &Wanted<'_>) -> Result<Who, Failure> {
    let text = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let token = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|h| h.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let Some(token) = token else {
        return Err(Failure::unauthenticated(ask(app, wanted, None), "a token of this registry is needed"));
    };
    let verifier = &app.host.auth.verifier;
    let now = app.host.env.now();
    let mut known = app.tokens.get(token, now.unix_timestamp()).await;
    // What a scanner outside was given for one repository.
    if known.is_none()
        && let Some(pass) = app.opened_pass(token, now).await
    {
        let pass = Arc::new(pass);
        app.tokens.put(token, pass.clone()).await;
        known = Some(pass);
    }
    let (subject, access) = match known {
        Some(verified) => (verified.subject.clone(), Some(verified)),
        None => match verifier.check::<RegistryClaims>(token, &app.config.audience).await {
            Ok(RegistryClaims { sub, exp, access, .. }) => {
                let access = access.into_iter().map(|a| Access { kind: a.kind, name: a.name, actions: a.actions }).collect();
                let verified = Arc::new(Verified { subject: sub.clone(), access, expires: exp });
                app.tokens.put(token, verified.clone()).await;
                (sub, Some(verified))
            }
            // Valid, but for another audience: perhaps the platform's API.
            Err(TokenError::Invalid(_)) => {
                let claims = verifier.access(token, now).await.map_err(|e| invalid(app, wanted, &e))?;
                let AccessClaims { sub, .. } = &*claims;
                (sub.clone(), None)
            }
            Err(error) => return Err(invalid(app, wanted, &error)),
        },
    };
    if !subject.is_empty()
        && let Some(slot) = parts.extensions.get::<CallerSlot>()
    {
        let _ = slot.0.set(Identity { subject: subject.clone(), acting: None });
    }
    let from = text("x-forwarded-for").and_then(|v| v.split(',').next().map(|a| a.trim().to_owned()));
    Ok(Who { subject, access, from, trace: text("traceparent") })
}

fn invalid(app: &App, wanted: &Wanted<'_>, error: &TokenError) -> Failure {
    let detail = match error {
        TokenError::Expired => "the token has expired",
        TokenError::Foreign | TokenError::Invalid(_) => "the token is not valid here",
    };
    Failure::unauthenticated(ask(app, wanted, Some("invalid_token")), detail)
}

/// Checks the token and what it allows on `name`. `from` is the repository a blob is to be mounted from: the challenge
/// names it, too, so that one token serves both.
pub async fn authorize(app: &App, parts: &Parts, name: &RepositoryName, action: Action, from: Option<&RepositoryName>) -> Result<Who, Failure> {
    let wanted: Vec<_> = std::iter::once((name, action)).chain(from.map(|f| (f, Action::Pull))).collect();
    let who = authenticate(app, parts, &wanted).await?;
    if may(app, &who, name, action).await {
        // The caller may read the source, but this token does not say so: another would do.
        if let (Some(from), Some(access)) = (from, &who.access)
            && !allows(&access.access, from, Action::Pull)
            && who.subject.starts_with("user:")
            && holds(app, &who.subject, from, Action::Pull)
        {
            let detail = "the token does not allow to read the repository to mount from";
            return Err(Failure::unauthenticated(ask(app, &wanted, Some("insufficient_scope")), detail));
        }
        return Ok(who);
    }
    // Anonymous, or a token for something else although the person has the right: another token would do.
    let wrong_token = who.access.as_ref().is_some_and(|token| !allows(&token.access, name, action)) && holds(app, &who.subject, name, action);
    if who.subject.is_empty() || wrong_token {
        let detail = "the token does not allow this on this repository";
        return Err(Failure::unauthenticated(ask(app, &wanted, Some("insufficient_scope")), detail));
    }
    // The same whether the repository exists or not.
    Err(Problem::forbidden(format_args!("{} on repository {name}", action.as_str())).into())
}

/// Whether this caller may do `action` on `name`, by token and by present rights.
pub async fn may(app: &App, who: &Who, name: &RepositoryName, action: Action) -> bool {
    match &who.access {
        // The rights may still be on their way from identity, which issued this token a moment ago.
        Some(token) if allows(&token.access, name, action) => app.caught_up(|| may_now(app, who, name, action).then_some(())).await.is_some(),
        _ => may_now(app, who, name, action),
    }
}

/// The same by the rights that have arrived.
pub fn may_now(app: &App, who: &Who, name: &RepositoryName, action: Action) -> bool {
    match &who.access {
        Some(token) if !allows(&token.access, name, action) => false,
        // A service's or robot's credential: identity wrote its rights into the token, and it is short-lived.
        Some(_) if !who.subject.is_empty() && !who.subject.starts_with("user:") => true,
        Some(_) | None => holds(app, &who.subject, name, action),
    }
}

/// Whether the token is for pushing here, too, and the right is still there. Policies on pulls do not bind those: who may push must be able to
/// sign and repair.
pub fn may_push(app: &App, who: &Who, name: &RepositoryName) -> bool {
    let asked = who.access.as_ref().is_some_and(|token| allows(&token.access, name, Action::Push));
    asked && (!who.subject.starts_with("user:") || holds(app, &who.subject, name, Action::Push))
}

/// Whether a blob of `from` may be mounted into `name` for this caller who did not say where it is. A registry token reaches no further than it
/// says. People's tokens name repositories although rights are given by project: one that may pull what it pushes to serves for its neighbours in
/// the project, too (no client can ask for the scope of a repository that it does not know).
pub fn may_mount_from(app: &App, who: &Who, name: &RepositoryName, from: &RepositoryName) -> bool {
    let Some(token) = &who.access else { return holds(app, &who.subject, from, Action::Pull) };
    if who.subject.starts_with("user:") {
        reaches(&token.access, name, from) && holds(app, &who.subject, from, Action::Pull)
    } else {
        allows(&token.access, from, Action::Pull) && (!who.subject.is_empty() || holds(app, "", from, Action::Pull))
    }
}

/// Whether a person's token is for reading `from`, or for reading `name` in the same project.
fn reaches(access: &[Access], name: &RepositoryName, from: &RepositoryName) -> bool {
    let is_near = name.org() == from.org() && name.project() == from.project();
    allows(access, from, Action::Pull) || (is_near && allows(access, name, Action::Pull))
}

/// What the rights say at this moment.
fn holds(app: &App, subject: &str, name: &RepositoryName, action: Action) -> bool {
    let Ok(project) = app.host.auth.project(name.org().as_str(), name.project().as_str()) else { return false };
    if action == Action::Pull && project.public {
        return true;
    }
    let needed = match action {
        Action::Pull => Role::Viewer,
        Action::Push => Role::Editor,
        Action::Delete => Role::Admin,
    };
    !subject.is_empty() && app.host.auth.read(|r| r.role(subject, Scope::Project(project.id))).is_some_and(|role| role >= needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_token_reaches_the_neighbours_of_what_it_may_read_and_nothing_else() {
        let name = |text: &str| RepositoryName::parse(text).unwrap();
        let access = |repository: &str, actions: &[&str]| Access {
            kind: "repository".into(),
            name: repository.into(),
            actions: actions.iter().map(|a| (*a).to_owned()).collect(),
        };
        let (web, api, other) = (name("acme/shop/web"), name("acme/shop/api"), name("acme/open/api"));
        let token = [access("acme/shop/web", &["pull", "push"])];
        assert!(reaches(&token, &web, &api) && !reaches(&token, &web, &other));
        assert!(!reaches(&[access("acme/shop/web", &["push"])], &web, &api), "one that may not read");
        let both = [access("acme/shop/web", &["push"]), access("acme/open/api", &["pull"])];
        assert!(reaches(&both, &web, &other) && !reaches(&both, &web, &api));
    }
}
