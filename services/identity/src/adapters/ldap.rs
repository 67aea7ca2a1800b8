//! Directories by LDAP version 3: connections with failover, the search for a person, and the proof of a password.
//! Nothing typed by anybody is ever part of a distinguished name or a filter but as an escaped value.

mod connect;
mod explain;
mod read;
mod trial;

pub use explain::{Fault, Step};
pub use read::{Entry, Memberships, Present, Session, later};
pub use trial::Trial;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_contract::upstream::{Ldap, Settings};
use gantry_kernel::{Env, OffsetDateTime, Secret};
use rustls::ClientConfig;
use tokio_util::task::TaskTracker;

use crate::domain::upstream::settings::resolved;

/// A server that did not answer is passed over for so long.
const REST: Duration = Duration::from_secs(30);

/// One directory. Cheap to clone; what it learned about its servers is shared.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    ldap: Ldap,
    secret: Secret,
    /// With an authority of its own; the system's if `None`.
    tls: Option<Arc<ClientConfig>>,
    private: bool,
    env: Env,
    tracker: TaskTracker,
    /// Until when each server rests.
    rests: Mutex<Vec<Option<OffsetDateTime>>>,
}

impl Directory {
    /// # Errors
    /// When the authority's certificates cannot be read.
    pub fn new(settings: &Settings, ldap: &Ldap, secret: Secret, env: Env, tracker: TaskTracker) -> Result<Self, Fault> {
        let tls = settings.ca_pem.as_deref().map(connect::tls).transpose()?;
        let ldap = resolved(ldap);
        let rests = Mutex::new(vec![None; ldap.servers.len()]);
        Ok(Self(Arc::new(Inner { ldap, secret, tls, private: settings.allow_private, env, tracker, rests })))
    }

    pub fn settings(&self) -> &Ldap {
        &self.0.ldap
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.0.ldap.timeout_seconds.into())
    }

    /// A connection of the searching account, to the first server that answers.
    ///
    /// # Errors
    /// The fault of the last server tried.
    pub async fn session(&self) -> Result<Session, Fault> {
        let mut last = None;
        for (i, server) in self.order() {
            match self.session_at(&server).await {
                Ok(session) => {
                    self.rest(i, None);
                    return Ok(session);
                }
                Err(fault) => {
                    tracing::warn!(server, step = fault.step.name(), error = %fault, "a directory server was passed over");
                    self.rest(i, Some(self.0.env.now() + REST));
                    last = Some(fault);
                }
            }
        }
        Err(last.unwrap_or_else(|| Fault::new(Step::Name, "", "no server is given")))
    }

    pub(crate) async fn session_at(&self, server: &str) -> Result<Session, Fault> {
        let mut ldap = self.connect(server).await?;
        let (name, secret) = (&self.0.ldap.bind_dn, &self.0.secret);
        if secret.is_empty() {
            return Err(Fault::new(Step::Bind, server, "there is no password for the searching account"));
        }
        let bound = ldap.with_timeout(self.timeout()).simple_bind(name, secret.expose()).await;
        match bound.and_then(ldap3::LdapResult::success) {
            Ok(_) => Ok(Session::new(self.clone(), ldap, server.to_owned())),
            Err(error) => Err(explain::of(Step::Bind, server, &error)),
        }
    }

    /// Whether `password` is the one of the entry `dn`: by binding as it, on a connection of its own.
    ///
    /// # Errors
    /// When no server answers.
    pub async fn verify(&self, dn: &str, password: &Secret) -> Result<bool, Fault> {
        // RFC 4513 section 5.1.2: a bind with a name and no password succeeds and proves nothing.
        if password.is_empty() || dn.trim().is_empty() {
            return Ok(false);
        }
        let mut last = None;
        for (i, server) in self.order() {
            let mut ldap = match self.connect(&server).await {
                Ok(ldap) => ldap,
                Err(fault) => {
                    self.rest(i, Some(self.0.env.now() + REST));
                    last = Some(fault);
                    continue;
                }
            };
            let bound = ldap.with_timeout(self.timeout()).simple_bind(dn, password.expose()).await;
            let _ = ldap.unbind().await;
            match bound {
                Ok(result) => match result.rc {
                    0 => return Ok(true),
                    // busy, unavailable, unwillingToPerform say nothing about the password.
                    51..=53 => last = Some(explain::of(Step::Bind, &server, &ldap3::LdapError::from(result))),
                    _ => return Ok(false),
                },
                Err(error) => last = Some(explain::of(Step::Bind, &server, &error)),
            }
        }
        Err(last.unwrap_or_else(|| Fault::new(Step::Name, "", "no server is given")))
    }

    /// The servers in the order they are tried: those that rest come last, but come.
    fn order(&self) -> Vec<(usize, String)> {
        let now = self.0.env.now();
        let rests = self.0.rests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: Vec<(usize, String)> = self.0.ldap.servers.iter().cloned().enumerate().collect();
        all.sort_by_key(|(i, _)| rests[*i].is_some_and(|until| until > now));
        all
    }

    fn rest(&self, server: usize, until: Option<OffsetDateTime>) {
        self.0.rests.lock().unwrap_or_else(PoisonError::into_inner)[server] = until;
    }
}
