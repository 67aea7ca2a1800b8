//! Keeping in step with an OpenID provider between sign-ins: whoever it gave a refresh token for is asked after from time
//! to time. What their groups mean is given and taken, and whoever it refuses loses what it gave.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::{FutureExt, StreamExt, stream};
use gantry_contract::upstream::{Connection, Oidc};
use gantry_es::Sealed;
use gantry_es_pg::KeyringError;
use gantry_kernel::{Problem, Secret, UserId};

use super::Upstream;
use super::federate::unreachable;
use super::meaning::{Meaning, Wanted};
use super::report::Report;
use crate::adapters::oidc::{Metadata, Renewed, renew};
use crate::adapters::provider::{Http, ProviderError};
use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::subject;
use crate::domain::upstream::person::External;
use crate::error::{fault, unsealed};
use crate::store::upstream_tokens::{self as tokens, TokenRow};
use crate::store::upstreams as rows;

/// A provider is asked after so many people at once.
const AT_ONCE: usize = 8;

/// What one question needs.
struct Asking {
    http: Http,
    metadata: std::sync::Arc<Metadata>,
    oidc: Oidc,
    secret: Secret,
    meaning: Meaning,
}

/// What was done for one person.
#[derive(Default)]
struct One {
    changed: bool,
    gone: bool,
    suspended: bool,
    given: u64,
    taken: u64,
    remark: Option<String>,
}

/// Whether the provider was asked for what we can ask with later.
pub fn asks_later(of: &Upstream) -> bool {
    matches!(&of.settings.connection, Connection::Oidc(oidc) if oidc.scopes.iter().any(|s| s == "offline_access"))
}

impl App {
    /// Keeps what a provider gave to ask with later, sealed for the person: it is unreadable once they are erased.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keep_refresh(&self, by: &Upstream, external: &str, token: &Secret) -> Result<(), Problem> {
        let Some(link) = rows::link(self.pool(), by.id.0, &self.link_key(by, external)).await.map_err(fault)? else { return Ok(()) };
        let sealed = self.keyring.seal(&subject(UserId(link.user_id)), token.expose()).await.map_err(unsealed)?;
        tokens::put(self.pool(), link.id, &sealed.0, self.now()).await.map_err(fault)
    }

    /// Asks after everybody that the provider lets us ask after.
    pub(super) async fn renew_all(&self, of: &Upstream, oidc: &Oidc, report: &mut Report) -> Result<(), Problem> {
        let http = Http::new(&of.settings).map_err(|e| unreachable(of, e))?;
        let (metadata, secret) = (self.metadata(of, &http, oidc).await?, self.upstream_secret(of).await?);
        let asking = Asking { http, metadata, oidc: oidc.clone(), secret, meaning: self.meaning(of).await };
        for (place, why) in &asking.meaning.missing {
            report.remark(format!("mapping to `{place}` gives nothing: {why}"));
        }
        let all = tokens::at(self.pool(), of.id.0).await.map_err(fault)?;
        report.seen = all.len() as u64;
        let away = AtomicBool::new(false);
        let (asking, away) = (&asking, &away);
        // Nobody else is asked after once the provider is away or the service stops, but every question that was put is waited for: its answer may hold the
        // only token that is good from now on.
        let over = || away.load(Ordering::Relaxed) || self.host.cancel.is_cancelled();
        let one = |row: TokenRow| async move { if over() { None } else { Some((row.user_id, self.renew_one(of, asking, row).await)) } }.boxed();
        let mut done = stream::iter(all).map(one).buffer_unordered(AT_ONCE);
        let mut failed = None;
        while let Some(outcome) = done.next().await {
            let Some((user, outcome)) = outcome else { continue };
            match outcome {
                Ok(one) => {
                    report.changed += u64::from(one.changed);
                    report.suspended += u64::from(one.suspended);
                    report.roles_given += one.given;
                    report.roles_taken += one.taken;
                    one.remark.into_iter().for_each(|r| report.remark(r));
                    if one.gone {
                        report.remark(format!("user:{user}: {} does not vouch for them any more (invalid_grant)", of.shown()));
                    }
                }
                // A provider that is away says nothing about anybody.
                Err(problem) if matches!(problem.kind, gantry_kernel::Kind::Internal | gantry_kernel::Kind::Unavailable) => {
                    away.store(true, Ordering::Relaxed);
                    failed = Some(problem);
                }
                Err(problem) => {
                    report.skipped += 1;
                    report.remark(format!("user:{user}: {}", std::error::Error::source(&problem).map_or_else(|| problem.detail.clone(), ToString::to_string)));
                }
            }
        }
        failed.map_or_else(|| self.unless_stopping(), Err)
    }

    async fn renew_one(&self, of: &Upstream, asking: &Asking, row: TokenRow) -> Result<One, Problem> {
        let (user, own) = (UserId(row.user_id), subject(UserId(row.user_id)));
        let open = async |text: String| self.keyring.open(&own, &Sealed(text)).await;
        let (external, token) = match (open(row.subject).await, open(row.sealed.clone()).await) {
            (Ok(external), Ok(token)) => (external, Secret::new(token)),
            // Erased meanwhile: nobody is left to ask after.
            (Err(KeyringError::Erased), _) | (_, Err(KeyringError::Erased)) => return Ok(One::default()),
            (Err(error), _) | (_, Err(error)) => return Err(unsealed(error)),
        };
        if !tokens::asking(self.pool(), row.link, &row.sealed, self.now()).await.map_err(fault)? {
            // They signed in just now, or the link is gone.
            return Ok(One::default());
        }
        let asked = match renew(&asking.http, &asking.metadata, &asking.oidc, &asking.secret, &token, &external).await {
            Ok(asked) => asked,
            Err(error) => {
                if says_nothing_of_the_token(&error) && !row.unanswered {
                    tokens::unasked(self.pool(), row.link, &row.sealed).await.map_err(fault)?;
                }
                return Err(refused(of, error));
            }
        };
        match asked {
            Renewed::Gone if row.unanswered => {
                // The next token went with the answer that was lost (a crash, a broken connection): that says nothing about the person.
                if tokens::stands(self.pool(), row.link, &row.sealed).await.map_err(fault)? {
                    tokens::forget(self.pool(), row.link).await.map_err(fault)?;
                }
                let remark =
                    format!("user:{user}: an answer of {} was lost, and the next token with it: asked after again from the next sign-in on", of.shown());
                Ok(One { remark: Some(remark), ..One::default() })
            }
            Renewed::Gone => {
                // A sign-in of just now says more than a token from before it.
                if !tokens::stands(self.pool(), row.link, &row.sealed).await.map_err(fault)? {
                    return Ok(One::default());
                }
                // This answer came: should what follows break off, the next one is the same and counts.
                tokens::unasked(self.pool(), row.link, &row.sealed).await.map_err(fault)?;
                self.refused_there(of, user, row.provisioned, row.link).await
            }
            Renewed::Still { external, refresh } => {
                // First of all: the one that was asked with may be good no longer.
                let next = refresh.unwrap_or(token);
                let sealed = self.keyring.seal(&own, next.expose()).await.map_err(unsealed)?;
                tokens::replace(self.pool(), row.link, &row.sealed, &sealed.0, self.now()).await.map_err(fault)?;
                let external = (*external).map_err(|e| refused(of, e))?;
                self.still_there(of, asking, user, row.provisioned, &external).await
            }
        }
    }

    async fn still_there(&self, of: &Upstream, asking: &Asking, user: UserId, provisioned: bool, external: &External) -> Result<One, Problem> {
        let meta = of.meta(None);
        let done = self.bring_up(of, user, provisioned, external, &meta).await?;
        // Who says nothing about groups takes nothing away, and gives nothing new.
        let Some(groups) = external.groups.as_deref() else { return Ok(One { changed: done.changed, remark: done.remark, ..One::default() }) };
        let wanted = asking.meaning.wanted(groups);
        let held = rows::grants(self.pool(), of.id.0, Some(user.0)).await.map_err(fault)?;
        let (given, taken) = self.give(of, user, external, &wanted, &held, &meta).await?;
        self.give_teams(of, user, external, &wanted, &meta).await?;
        Ok(One { changed: done.changed, remark: done.remark, given, taken, ..One::default() })
    }

    /// The provider refuses: what it gave goes, and the account too if it made it and its rules say so (`suspend_gone`).
    async fn refused_there(&self, of: &Upstream, user: UserId, provisioned: bool, link: gantry_kernel::Uuid) -> Result<One, Problem> {
        let meta = of.meta(None);
        let nothing = External { groups: Some(Vec::new()), ..External::default() };
        self.give_teams(of, user, &nothing, &Wanted::default(), &meta).await?;
        let active = self.person(user).await?.is_some_and(|p| p.suspended.is_none());
        let suspends = provisioned && active && of.settings.rules.suspend_gone;
        let (taken, remark) = match self.gone(of, user, suspends, &meta).await {
            Ok(taken) => (taken, None),
            // The last administrator stays, and somebody has to look at it.
            Err(problem) if problem.kind == gantry_kernel::Kind::Conflict => (0, Some(format!("user:{user} stays here: {}", problem.detail))),
            Err(problem) => return Err(problem),
        };
        tokens::forget(self.pool(), link).await.map_err(fault)?;
        let (actor, object) = (of.actor(), subject(user));
        let suspended = suspends && remark.is_none();
        let reason = if suspended { "invalid_grant: roles taken, sessions ended, account suspended" } else { "invalid_grant: roles taken" };
        self.record(Fact { actor: &actor, action: "upstream.withdrew", object: &object, result: "ok", reason, from: "" }).await;
        Ok(One { gone: true, suspended, taken, remark, ..One::default() })
    }
}

/// The provider did not get the token, or said no for another reason.
fn says_nothing_of_the_token(error: &ProviderError) -> bool {
    match error {
        ProviderError::Http(error) => error.is_connect(),
        // Behind a gateway that gave up, the provider may have answered.
        ProviderError::Status { status, .. } => *status < 500,
        ProviderError::Reach(_) | ProviderError::Settings(_) => true,
        ProviderError::TooLarge | ProviderError::Answer(_) | ProviderError::Refused(_) => false,
    }
}

/// A refusal of us, or an answer that is none: about no person in particular.
fn refused(of: &Upstream, error: ProviderError) -> Problem {
    match error {
        ProviderError::Http(_) | ProviderError::Reach(_) | ProviderError::Status { status: 500.., .. } => unreachable(of, error),
        error => {
            Problem::new(gantry_kernel::Kind::Conflict, "identity.provider_refused", format!("{} did not answer as it should", of.shown())).with_source(error)
        }
    }
}
