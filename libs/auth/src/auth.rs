//! One service's verification of tokens and its decisions, with the refusals that people read.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use gantry_kernel::{Kind, Name, Problem, Role, Scope};

use crate::caller::Caller;
use crate::conditions::Context;
use crate::permissions::{Permission, area_of, broad};
use crate::places::{OrgRef, ProjectRef, SpaceRef};
use crate::rights::Rights;
use crate::token::Verifier;

/// A token with this scope and without `api` may only read.
pub const READ_ONLY: &str = "api:read";

/// Verification and rights of one service. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    pub verifier: Verifier,
    rights: Arc<RwLock<Rights>>,
    freshness: Arc<RwLock<Freshness>>,
}

/// Since when the rights are known to be whole.
#[derive(Default)]
struct Freshness {
    /// When they were last known to be; none: nobody checks (identity decides by its own log).
    heard: Option<Instant>,
    limit: Duration,
}

impl Auth {
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, rights: Arc::default(), freshness: Arc::default() }
    }

    /// For the service of this name: custom roles count by its area.
    pub fn of_service(verifier: Verifier, service: &str) -> Self {
        Self { rights: Arc::new(RwLock::new(Rights::of_area(area_of(service)))), ..Self::new(verifier) }
    }

    /// The rights were whole at `when`. From now on, changes are refused once that is longer ago than `limit`.
    pub fn heard(&self, when: Instant, limit: Duration) {
        let mut freshness = self.freshness.write().unwrap_or_else(PoisonError::into_inner);
        freshness.heard = freshness.heard.max(Some(when));
        freshness.limit = limit;
    }

    /// For how long the rights have been too old, if they are.
    pub fn stale(&self) -> Option<Duration> {
        let freshness = self.freshness.read().unwrap_or_else(PoisonError::into_inner);
        freshness.heard.map(|at| at.elapsed()).filter(|age| *age > freshness.limit)
    }

    /// Nobody may change anything by rights that may have been taken away long ago.
    fn refuse_stale(&self, role: Role) -> Result<(), Problem> {
        match self.stale() {
            Some(age) if role > Role::Viewer => {
                let detail = format!("this service has not heard of changed rights for {} s and refuses changes until it does; reading works", age.as_secs());
                let mut problem = Problem::new(Kind::Unavailable, "rights.stale", detail);
                problem.retry_after = Some(Duration::from_secs(5));
                Err(problem)
            }
            _ => Ok(()),
        }
    }

    /// Looks something up. Do not hold on to the result across an await.
    pub fn read<T>(&self, look: impl FnOnce(&Rights) -> T) -> T {
        look(&self.rights.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn write(&self, change: impl FnOnce(&mut Rights)) {
        change(&mut self.rights.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Refuses unless `caller` has `role` (or a higher one) at `scope`. Who may not even read is told that it is not there.
    ///
    /// # Errors
    /// Not found, forbidden with the missing right, or unavailable when the rights are too old for a change.
    pub fn require(&self, caller: &Caller, role: Role, scope: Scope) -> Result<(), Problem> {
        refuse_read_only(caller, role)?;
        let enough = |context: &Context| self.read(|r| r.role_with(&caller.subject, scope, r.area, Some(context)).is_some_and(|has| has >= role));
        self.decide(&caller.subject, role, scope, Some(&caller.context())).map_err(|refused| step_up(refused, &caller.context(), enough))
    }

    /// The same for a subject that another service speaks for. Conditional bindings do not count: nobody knows the
    /// subject's address and factors then.
    ///
    /// # Errors
    /// As [`Auth::require`].
    pub fn require_subject(&self, subject: &str, role: Role, scope: Scope) -> Result<(), Problem> {
        self.decide(subject, role, scope, None)
    }

    fn decide(&self, subject: &str, role: Role, scope: Scope, context: Option<&Context>) -> Result<(), Problem> {
        let (has, hidden) = self.read(|r| {
            let has = r.role_with(subject, scope, r.area, context);
            (has, has.is_none() && scope != Scope::Platform && !r.may_know(subject, scope))
        });
        match has {
            Some(has) if has >= role => self.refuse_stale(role),
            None if hidden => Err(Problem::not_found("such place", scope)),
            _ => Err(Problem::forbidden(format_args!("{} on {}", role.as_str(), self.describe(scope)))),
        }
    }

    /// Refuses unless `caller` has `permission` at `scope`, by a built-in or a custom role.
    ///
    /// # Errors
    /// As [`Auth::require`].
    pub fn permit(&self, caller: &Caller, permission: &'static str, scope: Scope) -> Result<(), Problem> {
        let permission: &Permission =
            crate::permissions::find(permission).ok_or_else(|| Problem::internal("a check names a permission that is not published"))?;
        refuse_read_only(caller, permission.role)?;
        let (allowed, hidden) = self.read(|r| {
            let allowed = r.allows(&caller.subject, permission, scope, Some(&caller.context()));
            (allowed, !allowed && scope != Scope::Platform && !r.may_know(&caller.subject, scope))
        });
        match (allowed, hidden) {
            (true, _) => self.refuse_stale(permission.role),
            (false, true) => Err(Problem::not_found("such place", scope)),
            (false, false) => {
                let role = permission.role.as_str();
                let broad = broad(permission.area(), permission.role);
                let names = if broad == permission.name { broad } else { format!("{} (or {broad})", permission.name) };
                let refused = Problem::forbidden(format_args!("{names}, or the role {role}, on {}", self.describe(scope)));
                let enough = |context: &Context| self.read(|r| r.allows(&caller.subject, permission, scope, Some(context)));
                Err(step_up(refused, &caller.context(), enough))
            }
        }
    }

    /// How people call a scope.
    pub fn describe(&self, scope: Scope) -> String {
        self.read(|r| match scope {
            Scope::Platform => "the platform".to_owned(),
            Scope::Org(id) => r.org_ref(id).map_or_else(|| scope.to_string(), |o| format!("organisation {}", o.name)),
            Scope::Project(id) => r.project_ref(id).map_or_else(|| scope.to_string(), |p| format!("project {}", p.path())),
            Scope::Space(id) => r.space_ref(id).map_or_else(|| scope.to_string(), |s| format!("space {}", s.path())),
        })
    }

    /// # Errors
    /// Not found.
    pub fn org(&self, org: &str) -> Result<OrgRef, Problem> {
        let found = Name::parse(org).ok().and_then(|name| self.read(|r| r.org_names.get(&name).and_then(|id| r.orgs.get(id)).cloned()));
        found.ok_or_else(|| Problem::not_found("organisation", org))
    }

    /// # Errors
    /// Not found.
    pub fn project(&self, org: &str, project: &str) -> Result<ProjectRef, Problem> {
        let missing = || Problem::not_found("project", format_args!("{org}/{project}"));
        let org_id = self.org(org).map_err(|_| missing())?.id;
        let name = Name::parse(project).map_err(|_| missing())?;
        self.read(|r| r.project_names.get(&(org_id, name)).and_then(|id| r.projects.get(id)).cloned()).ok_or_else(missing)
    }

    /// # Errors
    /// Not found.
    pub fn space(&self, org: &str, project: &str, space: &str) -> Result<SpaceRef, Problem> {
        let missing = || Problem::not_found("space", format_args!("{org}/{project}/{space}"));
        let project_id = self.project(org, project).map_err(|_| missing())?.id;
        let name = Name::parse(space).map_err(|_| missing())?;
        self.read(|r| r.space_names.get(&(project_id, name)).and_then(|id| r.spaces.get(id)).cloned()).ok_or_else(missing)
    }
}

fn refuse_read_only(caller: &Caller, role: Role) -> Result<(), Problem> {
    if role > Role::Viewer && caller.only_reads() {
        let refused = Problem::forbidden("a token with the scope `api`; this one may only read");
        return Err(refused.challenge("Bearer error=\"insufficient_scope\", scope=\"api\""));
    }
    Ok(())
}

/// Sign-ins that show more than most (RFC 9470): how a client asks for one, and the factors it shows.
const STRONGER: [(&str, &[&str]); 2] = [
    ("Bearer error=\"insufficient_user_authentication\", acr_values=\"2\"", &["pwd", "otp", "mfa"]),
    ("Bearer error=\"insufficient_user_authentication\", acr_values=\"phr\"", &["pwd", "hwk", "user", "mfa"]),
];

/// A refusal says so where nothing but a stronger sign-in is missing.
fn step_up(refused: Problem, context: &Context, enough: impl Fn(&Context) -> bool) -> Problem {
    if refused.kind != Kind::Forbidden {
        return refused;
    }
    let would_do = |shown: &[&str]| {
        let factors = context.factors.iter().cloned().chain(shown.iter().map(|f| (*f).to_owned())).collect();
        enough(&Context { factors, ..context.clone() })
    };
    match STRONGER.iter().find(|(_, shown)| would_do(shown)) {
        Some(&(challenge, _)) => refused.challenge(challenge),
        None => refused,
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use gantry_kernel::OffsetDateTime;

    use super::*;

    #[test]
    fn who_lacks_a_factor_only_is_told_which_sign_in_would_do() {
        let context = Context { now: OffsetDateTime::UNIX_EPOCH, from: None, factors: vec!["pwd".into()] };
        let told = |problem: Problem, needed: &str| {
            let response = step_up(problem, &context, |shown| shown.factors.iter().any(|f| f == needed)).into_response();
            response.headers().get(http::header::WWW_AUTHENTICATE).map(|v| v.to_str().unwrap_or_default().to_owned())
        };
        assert_eq!(told(Problem::forbidden("x"), "otp").as_deref(), Some(STRONGER[0].0));
        assert_eq!(told(Problem::forbidden("x"), "hwk").as_deref(), Some(STRONGER[1].0));
        assert_eq!(told(Problem::forbidden("x"), "never"), None);
        assert_eq!(told(Problem::not_found("place", "x"), "otp"), None, "who may not know of a place learns nothing");
    }
}
