//! Signing in, or linking an account, by a foreign provider: the browser goes there and comes back with a code. What was
//! asked is kept in the browser's sealed cookie, for ten minutes; the answer must be of the same browser, the same
//! provider and the same request.

use std::sync::{Arc, PoisonError};

use gantry_contract::upstream::{Connection, Oidc};
use gantry_es::Sealed;
use gantry_kernel::{Kind, Problem, Secret, UserId, Uuid};
use serde::{Deserialize, Serialize};

use super::Upstream;
use super::renew::asks_later;
use crate::adapters::oauth2;
use crate::adapters::oidc::{self, Asked, Metadata};
use crate::adapters::provider::{Http, ProviderError};
use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::Person;
use crate::app::secrets::{SUBJECT, fresh};
use crate::app::signin::Origin;
use crate::domain::policy::Way;
use crate::domain::upstream::person::{External, domain_of};
use crate::domain::upstream::preset::manners;
use crate::error::{fault, unsealed};

const SECONDS: i64 = 600;
const PURPOSE: &str = "sign-in elsewhere";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Errand {
    purpose: String,
    upstream: Uuid,
    state: String,
    nonce: String,
    verifier: String,
    /// Where the person wanted to go.
    to: String,
    /// Links to this person instead of signing in.
    link: Option<UserId>,
    until: i64,
}

/// What the provider sent the browser back with.
#[derive(Clone, Debug, Default)]
pub struct Answer<'a> {
    pub code: Option<&'a str>,
    pub state: Option<&'a str>,
    pub iss: Option<&'a str>,
    pub error: Option<&'a str>,
}

/// What became of it.
pub enum Back {
    SignedIn { person: Box<Person>, to: String },
    Linked,
}

impl App {
    /// The provider that people with this address sign in at (home realm).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn realm_of(&self, email: &str) -> Result<Option<Upstream>, Problem> {
        let Some(domain) = domain_of(email) else { return Ok(None) };
        let all = self.all_upstreams().await?;
        Ok(all.into_iter().find(|u| u.settings.enabled && !u.is_directory() && u.settings.domains.iter().any(|d| d.eq_ignore_ascii_case(&domain))))
    }

    /// The redirect address of an upstream: one of its own, so that an answer cannot be taken for another's.
    pub fn callback_of(&self, of: &Upstream) -> String {
        format!("{}/login/upstream/{}/callback", self.issuer, of.name)
    }

    /// Where to send the browser, and the cookie to give it.
    ///
    /// # Errors
    /// When the provider cannot be reached.
    pub async fn send_to(&self, to: &Upstream, then: &str, hint: Option<&str>, link: Option<UserId>) -> Result<(String, String), Problem> {
        let errand = Errand {
            purpose: PURPOSE.into(),
            upstream: to.id.0,
            state: fresh(&self.host.env, ""),
            nonce: fresh(&self.host.env, ""),
            verifier: fresh(&self.host.env, ""),
            to: then.to_owned(),
            link,
            until: self.now().unix_timestamp() + SECONDS,
        };
        let redirect = self.callback_of(to);
        let asked = Asked { state: &errand.state, nonce: &errand.nonce, verifier: &errand.verifier, redirect: &redirect, hint };
        let address = match &to.settings.connection {
            Connection::Oidc(oidc) => {
                let http = Http::new(&to.settings).map_err(|e| unreachable(to, e))?;
                oidc::authorize(&*self.metadata(to, &http, oidc).await?, oidc, &asked).map_err(|e| unreachable(to, e))?
            }
            Connection::Oauth2(oauth2) => oauth2::authorize(oauth2, &asked).map_err(|e| unreachable(to, e))?,
            Connection::Ldap(_) => return Err(Problem::not_found("provider", &to.name)),
        };
        let sealed = self.keyring.seal(SUBJECT, &serde_json::to_string(&errand).map_err(fault)?).await.map_err(unsealed)?;
        Ok((address, sealed.0))
    }

    /// The parameter in which this provider's code comes back.
    pub fn code_parameter(of: &Upstream) -> &'static str {
        match &of.settings.connection {
            Connection::Oauth2(oauth2) => manners(oauth2.preset).code_parameter,
            Connection::Oidc(_) | Connection::Ldap(_) => "code",
        }
    }

    /// The browser is back: lets the person in, or links the account.
    ///
    /// # Errors
    /// Invalid for an answer that is not to our question; what the provider or the rules refuse.
    pub async fn back_from(&self, by: &Upstream, cookie: &str, answer: &Answer<'_>, signed_in: Option<UserId>, origin: &Origin) -> Result<Back, Problem> {
        let outcome = self.back(by, cookie, answer, signed_in, origin).await;
        if let Err(problem) = &outcome {
            let reason = problem.chain();
            let fact = Fact { actor: "anonymous", action: "session.refused", object: &by.actor(), result: "denied", reason: &reason, from: &origin.address };
            self.record(fact).await;
        }
        outcome
    }

    async fn back(&self, by: &Upstream, cookie: &str, answer: &Answer<'_>, signed_in: Option<UserId>, origin: &Origin) -> Result<Back, Problem> {
        let stale = || Problem::new(Kind::Invalid, "identity.errand_unknown", "this sign-in was not begun in this browser, or too long ago: begin again");
        let text = self.keyring.open(SUBJECT, &Sealed(cookie.to_owned())).await.map_err(|_| stale())?;
        let errand: Errand = serde_json::from_str(&text).map_err(|_| stale())?;
        let fits = errand.purpose == PURPOSE && errand.upstream == by.id.0 && self.now().unix_timestamp() <= errand.until;
        if !fits || answer.state != Some(errand.state.as_str()) {
            return Err(stale());
        }
        if let Some(error) = answer.error {
            return Err(refused(by, ProviderError::Refused(error.chars().take(200).collect())));
        }
        let code = answer.code.filter(|c| !c.is_empty() && c.len() <= 4_000).ok_or_else(stale)?;
        let redirect = self.callback_of(by);
        let asked = Asked { state: &errand.state, nonce: &errand.nonce, verifier: &errand.verifier, redirect: &redirect, hint: None };
        let (external, refresh) = self.person_behind(by, &asked, answer, code).await?;
        let refresh = refresh.filter(|_| asks_later(by));
        if let Some(user) = errand.link {
            // The proof of the other side: the same person is still signed in here.
            if signed_in != Some(user) {
                return Err(stale());
            }
            self.link_proven(by, user, &external, &origin.address).await?;
            if let Some(token) = &refresh {
                self.keep_refresh(by, &external.subject, token).await?;
            }
            return Ok(Back::Linked);
        }
        let (person, how) = self.come_in(by, &external, &origin.address).await?;
        if let Some(token) = &refresh {
            self.keep_refresh(by, &external.subject, token).await?;
        }
        self.admit(person.id, Way::Provider(&by.name), origin).await?;
        tracing::info!(upstream = by.name, how = format!("{how:?}"), actor.id = crate::app::people::subject(person.id), "signed in elsewhere");
        Ok(Back::SignedIn { person: Box::new(person), to: errand.to })
    }

    async fn person_behind(&self, by: &Upstream, asked: &Asked<'_>, answer: &Answer<'_>, code: &str) -> Result<(External, Option<Secret>), Problem> {
        let http = Http::new(&by.settings).map_err(|e| unreachable(by, e))?;
        let secret = self.upstream_secret(by).await?;
        match &by.settings.connection {
            Connection::Oidc(oidc) => {
                let metadata = self.metadata(by, &http, oidc).await?;
                if !oidc::is_from(&metadata, answer.iss) {
                    return Err(refused(by, ProviderError::Answer("the answer is another provider's (iss)".into())));
                }
                oidc::claims(&http, &metadata, oidc, &secret, asked, code).await.map_err(|e| {
                    // Its keys may have turned since: read them anew for the next one.
                    self.upstreams.providers.lock().unwrap_or_else(PoisonError::into_inner).remove(&by.id.0);
                    refused(by, e)
                })
            }
            Connection::Oauth2(oauth2) => oauth2::person(&http, oauth2, &secret, asked, code).await.map(|person| (person, None)).map_err(|e| refused(by, e)),
            Connection::Ldap(_) => Err(Problem::not_found("provider", &by.name)),
        }
    }

    /// Discovery, kept for an hour.
    pub(super) async fn metadata(&self, of: &Upstream, http: &Http, oidc: &Oidc) -> Result<Arc<Metadata>, Problem> {
        let now = self.now();
        let kept = self.upstreams.providers.lock().unwrap_or_else(PoisonError::into_inner).get(&of.id.0).cloned();
        if let Some((_, _, metadata)) = kept.filter(|(version, at, _)| *version == of.version && now - *at < oidc::KEPT) {
            return Ok(metadata);
        }
        let metadata = Arc::new(oidc::discover(http, oidc).await.map_err(|e| unreachable(of, e))?);
        self.upstreams.providers.lock().unwrap_or_else(PoisonError::into_inner).insert(of.id.0, (of.version, now, metadata.clone()));
        Ok(metadata)
    }
}

pub(super) fn unreachable(of: &Upstream, error: ProviderError) -> Problem {
    Problem::new(Kind::Unavailable, "identity.provider_unavailable", format!("{} cannot be used right now; try again later", of.shown())).with_source(error)
}

fn refused(of: &Upstream, error: ProviderError) -> Problem {
    match error {
        ProviderError::Http(_) | ProviderError::Reach(_) => unreachable(of, error),
        error => Problem::new(Kind::Unauthenticated, "identity.provider_refused", format!("{} did not confirm who you are", of.shown())).with_source(error),
    }
}
