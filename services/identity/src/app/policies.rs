//! Security policies: read, changed, and asked at each sign-in.

use gantry_contract::policy::{SecondFactor, SecurityPolicy};
use gantry_es::Meta;
use gantry_es_pg::{Expect, Options};
use gantry_kernel::{FieldFault, Kind, OffsetDateTime, OrgId, Problem, UserId, Uuid};

use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::subject;
use crate::app::signin::Origin;
use crate::domain::assurance::Level;
use crate::domain::policy::{Change, Effective, Way, faults, unknown_ways};
use crate::error::{fault, refused};
use crate::store::policies;

/// What a sign-in of somebody has to satisfy, and with what it could.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub policy: Effective,
    /// Of the person's second factors.
    pub kinds: Vec<String>,
    /// When all sign-ins of the person were ended last, if that was lately.
    pub ended_at: Option<OffsetDateTime>,
}

impl Rules {
    /// Whether what was proved since `begun` counts for nothing: all sign-ins were ended meanwhile, maybe because of the password that was
    /// shown.
    pub fn ended_since(&self, begun: OffsetDateTime) -> bool {
        self.ended_at.is_some_and(|at| at > begun)
    }
}

impl App {
    /// The policy of an organisation or, with none, of the platform; and its version.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn policy(&self, org: Option<OrgId>) -> Result<(SecurityPolicy, i64), Problem> {
        match policies::of(self.orm(), org.map_or(Uuid::nil(), |o| o.0)).await.map_err(fault)? {
            Some(row) => Ok((serde_json::from_str(&row.policy).map_err(fault)?, row.version)),
            None => Ok((SecurityPolicy::default(), 0)),
        }
    }

    /// # Errors
    /// Every faulty field, a stale version, or a policy that would lock out who makes it.
    pub async fn change_policy(&self, org: Option<OrgId>, policy: SecurityPolicy, expect: Expect, meta: Meta) -> Result<(SecurityPolicy, i64), Problem> {
        let mut wrong = faults(&policy);
        wrong.extend(self.unknown_ways(org, &policy).await?);
        if !wrong.is_empty() {
            return Err(Problem::invalid_fields(wrong));
        }
        let from = meta.from.clone().unwrap_or_default();
        if !Effective::of([policy.clone()]).allows_network(&from) {
            return Err(Problem::conflict(
                "identity.policy_locks_out",
                format!("you come from {from}, which is in none of `networks`: you would lock yourself out"),
            ));
        }
        let meta = match org {
            Some(org) => meta.tenant(org),
            None => meta,
        };
        let stream = org.map_or(Uuid::nil(), |o| o.0);
        let options = Options { meta, expect, ..Options::default() };
        let executed = self.policy_store.execute(stream, Change { org, policy }, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        Ok((executed.state, executed.version))
    }

    /// The ways to sign in of a new policy that there are not. What it says already it may go on to say, when an upstream was deleted since.
    async fn unknown_ways(&self, org: Option<OrgId>, policy: &SecurityPolicy) -> Result<Vec<FieldFault>, Problem> {
        if policy.sign_in_by.is_empty() {
            return Ok(Vec::new());
        }
        let before = self.policy(org).await?.0.sign_in_by;
        let all = self.all_upstreams().await?;
        // Other organisations' upstreams are none of an organisation's business.
        let usable = |name: &str| all.iter().any(|u| u.name == name && (org.is_none() || u.org.is_none() || u.org == org));
        Ok(unknown_ways(&policy.sign_in_by, |name| usable(name) || before.iter().any(|kept| kept == name)))
    }

    /// What holds for a person: the stricter of the platform's and of all their organisations' policies.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn policy_for(&self, user: UserId) -> Result<Effective, Problem> {
        effective(&policies::for_user(self.pool(), user.0).await.map_err(fault)?)
    }

    /// The same with what else a sign-in looks at.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn rules_for(&self, user: UserId) -> Result<Rules, Problem> {
        let (policies, kinds, ended_at) = policies::with_factors(self.pool(), user.0).await.map_err(fault)?;
        Ok(Rules { policy: effective(&policies)?, kinds, ended_at })
    }

    /// # Errors
    /// When it cannot be read.
    pub async fn platform_policy(&self) -> Result<Effective, Problem> {
        Ok(Effective::of([self.policy(None).await?.0]))
    }

    /// Whether a person may sign in from there this way.
    ///
    /// # Errors
    /// Forbidden, saying which rule; on record.
    pub async fn admit(&self, user: UserId, way: Way<'_>, origin: &Origin) -> Result<Rules, Problem> {
        self.admit_step(user, Some(way), origin).await
    }

    /// As [`Self::admit`] for a step after the first one, which was taken in a way that is admitted: `way` is `None`.
    ///
    /// # Errors
    /// Forbidden, saying which rule; on record.
    pub async fn admit_step(&self, user: UserId, way: Option<Way<'_>>, origin: &Origin) -> Result<Rules, Problem> {
        let rules = self.rules_for(user).await?;
        let policy = &rules.policy;
        let refusal = if !policy.allows_network(&origin.address) {
            "your organisation allows signing in from its own networks only"
        } else if way.is_some_and(|way| !policy.allows_way(way)) {
            "your organisation allows other ways to sign in only"
        } else {
            return Ok(rules);
        };
        let object = subject(user);
        self.record(Fact { actor: &object, action: "session.refused", object: &object, result: "denied", reason: refusal, from: &origin.address }).await;
        Err(Problem::new(Kind::Forbidden, "identity.policy", refusal))
    }
}

/// The stricter of policies as they are kept.
///
/// # Errors
/// When one is not what it should be.
pub(super) fn effective(texts: &[String]) -> Result<Effective, Problem> {
    let read = texts.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<SecurityPolicy>, _>>().map_err(fault)?;
    Ok(Effective::of(read))
}

/// The least a session must have proved under a policy.
pub fn least_level(rule: SecondFactor) -> Level {
    match rule {
        SecondFactor::Optional => Level::One,
        SecondFactor::Required => Level::Two,
        SecondFactor::Passkey => Level::Phishproof,
    }
}
