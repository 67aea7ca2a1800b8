//! Clients of other registries, made from a project's settings and kept with their connections and tokens; and what is
//! sealed for a project.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gantry_contract::registry::flow::Endpoint;
use gantry_es::Sealed;
use gantry_kernel::{Kind, Problem, ProjectId, Secret};

use super::App;
use crate::adapters::remote::{Remote, RemoteError};
use crate::error::{Error, Result};

/// Clients kept; more, and they are made anew.
const MOST: usize = 1_000;
/// Locks looked through before those that nobody holds are dropped.
const MANY: usize = 1_000;

struct Known {
    endpoint: Endpoint,
    secret: Option<Sealed>,
    remote: Remote,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Remotes(Arc<Mutex<HashMap<(ProjectId, String), Known>>>);

impl App {
    /// A client of a registry that a project's settings name. `name` tells it from the project's others.
    ///
    /// # Errors
    /// Settings that cannot be used, or a secret that cannot be opened.
    pub async fn remote(&self, project: ProjectId, name: &str, endpoint: &Endpoint, secret: Option<&Sealed>) -> Result<Remote> {
        let key = (project, name.to_owned());
        if let Some(known) = self.flow.remotes.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && known.endpoint == *endpoint
            && known.secret.as_ref() == secret
        {
            return Ok(known.remote.clone());
        }
        let password = match secret {
            Some(sealed) => Some(Secret::new(self.unseal(project, sealed).await?)),
            None => None,
        };
        let remote = Remote::new(endpoint, password).map_err(|e| Error::Denied(away(&e)))?;
        let mut kept = self.flow.remotes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(key, Known { endpoint: endpoint.clone(), secret: secret.cloned(), remote: remote.clone() });
        Ok(remote)
    }

    /// # Errors
    /// The keyring.
    pub async fn seal(&self, project: ProjectId, plain: &str) -> Result<Sealed> {
        self.host.keyring().seal(&subject(project), plain).await.map_err(|e| Error::Internal(e.into()))
    }

    /// # Errors
    /// The keyring.
    pub async fn unseal(&self, project: ProjectId, sealed: &Sealed) -> Result<String> {
        self.host.keyring().open(&subject(project), sealed).await.map_err(|e| Error::Internal(e.into()))
    }
}

fn subject(project: ProjectId) -> String {
    format!("project:{}", project.0)
}

/// Another registry's fault, as those hear it who wanted something that is only there.
pub fn away(error: &RemoteError) -> Problem {
    let text = error.to_string();
    match error {
        RemoteError::TooMany(_, after) => Problem::new(Kind::TooMany, "registry.upstream_busy", text).retry_after(*after),
        RemoteError::Unknown(_) => Problem::not_found("content of the upstream", text),
        RemoteError::Http(..)
        | RemoteError::Reach(_)
        | RemoteError::Settings(_)
        | RemoteError::Denied(_)
        | RemoteError::Status(..)
        | RemoteError::Answer(..) => Problem::new(Kind::Unavailable, "registry.upstream_away", text),
    }
}

/// One at a time for each key.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>>);

impl Turns {
    /// Runs `work` when nobody else works on `key`.
    pub async fn alone<T>(&self, key: &str, work: impl Future<Output = T>) -> T {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if locks.len() > MANY {
                locks.retain(|_, lock| lock.strong_count() > 0);
            }
            locks.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(key.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        let _held = lock.lock().await;
        work.await
    }
}
