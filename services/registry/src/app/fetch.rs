//! Taking in blobs from another registry: each once at a time in the whole installation, however many wait for it, and read while it
//! comes by those who ask the replica that fetches it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::App;
use super::awaited::{Arriving, Awaited};
use super::remotes::away;
use crate::adapters::remote::{Remote, RemoteError};
use crate::adapters::spool::{Coming, Incoming};
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;
use crate::domain::settings::flow::below;
use crate::error::{Error, Result};
use crate::store::{blobs, fetches};

/// A transfer that broke off goes on where it was, so often.
const RESUMED: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);
/// How long a finished transfer can be found.
const LINGER: Duration = Duration::from_secs(2);
/// How long a replica that was killed keeps others from fetching.
const LEASE: Duration = Duration::from_secs(30);

/// Transfers under way, by repository and digest. Cheap to clone.
#[derive(Clone, Default)]
pub struct Fetches(Arc<Mutex<HashMap<(String, String), Coming>>>);

/// Where content comes from.
#[derive(Clone)]
pub struct Source {
    pub remote: Remote,
    /// The repository there.
    pub repository: String,
    /// First parts of the repositories here, after the project, that its content comes to; empty: any.
    pub prefix: String,
    pub pace: Pace,
}

/// At most so many bytes in a second, over everything that shares it.
#[derive(Clone, Default)]
pub struct Pace(Option<Arc<tokio::sync::Mutex<(u64, Instant)>>>);

impl Pace {
    pub fn of(bytes_per_second: Option<u64>) -> Self {
        Self(bytes_per_second.map(|rate| Arc::new(tokio::sync::Mutex::new((rate.max(1), Instant::now())))))
    }

    /// Waits until so many bytes may go.
    pub async fn allow(&self, bytes: usize) {
        let Some(shared) = &self.0 else { return };
        let due = {
            let mut state = shared.lock().await;
            let takes = Duration::from_secs_f64(bytes as f64 / state.0 as f64);
            state.1 = state.1.max(Instant::now()) + takes;
            state.1
        };
        tokio::time::sleep_until(due).await;
    }
}

impl App {
    /// A blob on its way from `source` into `name`: one that is coming already, here or to another replica, or a new transfer. `size` as
    /// a manifest says.
    ///
    /// # Errors
    /// The other registry is away, or does not have it.
    pub async fn fetch(&self, name: &RepositoryName, digest: &Digest, size: Option<u64>, source: &Source) -> Result<Arriving> {
        let key = (name.to_string(), digest.to_string());
        let under_way = || self.flow.fetches.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        self.flow
            .turns
            .alone(&format!("blob {name} {digest}"), async {
                if let Some(coming) = under_way() {
                    return Ok(Arriving::Here(coming));
                }
                let (holder, now) = (self.host.env.uuid(), self.host.env.now());
                let mine = fetches::take(&self.host.db().pool, name, digest, holder, now, now + LEASE).await.map_err(anyhow::Error::from)?;
                // Also when another replica has finished since somebody looked for it here.
                if !mine || blobs::readable(&self.host.db().orm, name, digest).await?.is_some() {
                    self.let_go(name, digest, holder).await;
                    return Ok(Arriving::Elsewhere(Awaited::of(self, name, digest, size, source).await?));
                }
                let begun = self.begin_fetch(name, digest, size, source, holder).await;
                if begun.is_err() {
                    self.let_go(name, digest, holder).await;
                }
                begun.map(Arriving::Here)
            })
            .await
    }

    async fn let_go(&self, name: &RepositoryName, digest: &Digest, holder: Uuid) {
        if let Err(error) = fetches::release(&self.host.db().pool, name, digest, holder).await {
            tracing::warn!(repository = %name, blob.digest = %digest, error = %error, "other replicas wait some seconds until they fetch this");
        }
    }

    /// Asks for the content and starts the task that takes it in.
    async fn begin_fetch(&self, name: &RepositoryName, digest: &Digest, size: Option<u64>, source: &Source, holder: Uuid) -> Result<Coming> {
        let key = (name.to_string(), digest.to_string());
        let response = source.remote.blob(&source.repository, digest, 0).await.map_err(|e| missing(digest, &e))?;
        let said = response.content_length();
        if let (Some(said), Some(size)) = (said, size)
            && said != size
        {
            return Err(Error::WrongSize { digest: digest.to_string(), said: size, has: said });
        }
        let size = size.or(said).ok_or_else(|| Error::BadRequest(format!("the registry {} does not say how large {digest} is", source.remote.host())))?;
        if size > self.config.max_blob_bytes {
            return Err(Error::Upload(crate::adapters::blob_store::UploadError::TooLarge(self.config.max_blob_bytes)));
        }
        let (incoming, coming) = self.blobs.incoming(self.host.env.uuid(), digest.clone(), size).await?;
        self.flow.fetches.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), coming.clone());
        let (app, name, digest, source) = (self.clone(), name.clone(), digest.clone(), source.clone());
        self.host.tracker.spawn(async move {
            let kept = tokio::select! {
                kept = app.transfer(&name, &digest, incoming, response, source) => kept,
                never = app.hold_on(&name, &digest, holder, size) => match never {},
            };
            app.let_go(&name, &digest, holder).await;
            if kept {
                // Who looked just before it was kept finds it here.
                tokio::time::sleep(LINGER).await;
            }
            app.flow.fetches.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
        Ok(coming)
    }

    /// Says for as long as it lasts that a transfer is this replica's.
    async fn hold_on(&self, name: &RepositoryName, digest: &Digest, holder: Uuid, size: u64) -> std::convert::Infallible {
        loop {
            let until = self.host.env.now() + LEASE;
            if let Err(error) = fetches::hold(&self.host.db().pool, name, digest, holder, size, until).await {
                tracing::warn!(repository = %name, blob.digest = %digest, error = %error, "that a blob is being fetched could not be noted; another replica may fetch it, too");
            }
            tokio::time::sleep(LEASE / 3).await;
        }
    }

    /// Has a blob in `name`, from there if it is not here: in the repository already, in another one with content of that source, or fetched. How many
    /// bytes came.
    ///
    /// # Errors
    /// The other registry, or the store.
    pub async fn ensure_blob(&self, name: &RepositoryName, digest: &Digest, size: u64, source: &Source) -> Result<u64> {
        if blobs::readable(&self.host.db().orm, name, digest).await?.is_some() || self.mount_own(name, digest, source).await? {
            return Ok(0);
        }
        let coming = self.fetch(name, digest, Some(size), source).await?;
        coming.ended().await.map_err(|why| Error::Denied(gantry_kernel::Problem::new(gantry_kernel::Kind::Unavailable, "registry.upstream_away", why)))?;
        Ok(size)
    }

    /// Makes a blob readable that another repository has whose content comes from the same source. Not one of the rest of the project: robots may
    /// be for some of its repositories only, and who writes manifests elsewhere would open the content of all others here.
    pub(super) async fn mount_own(&self, name: &RepositoryName, digest: &Digest, source: &Source) -> Result<bool> {
        let Ok(project) = self.host.auth.project(name.org().as_str(), name.project().as_str()) else { return Ok(false) };
        let settings = self.settings(project.id).await?;
        let cache = |rest: &str| settings.upstream_of(rest).map(|(kept, _)| kept.upstream.name.clone());
        let is_of_source = |place: &RepositoryName| below(&source.prefix, place.rest()).is_some() && cache(place.rest()) == cache(name.rest());
        for place in self.places_of(digest).await? {
            let is_near = place.org() == name.org() && place.project() == name.project() && place != *name;
            if is_near && is_of_source(&place) && self.mount(name, digest, Some(&place)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether it is kept now.
    async fn transfer(&self, name: &RepositoryName, digest: &Digest, mut incoming: Incoming, response: reqwest::Response, source: Source) -> bool {
        let poured = tokio::select! {
            poured = pour(&mut incoming, response, digest, &source) => poured,
            () = self.host.cancel.cancelled() => Err("the registry stops".to_owned()),
        };
        if let Err(why) = poured {
            tracing::warn!(repository = %name, blob.digest = %digest, upstream = source.remote.host(), why, "a blob could not be fetched");
            incoming.fail(&why).await;
            return false;
        }
        match incoming.finish().await {
            Ok((staged, arrived)) => match self.publish_or_discard(Some(name), staged).await {
                Ok(()) => {
                    arrived.kept();
                    true
                }
                Err(error) => {
                    arrived.failed(&error.to_string());
                    false
                }
            },
            Err(error) => {
                tracing::warn!(repository = %name, blob.digest = %digest, upstream = source.remote.host(), error = %error, "fetched content is not what was asked for and is not kept");
                false
            }
        }
    }
}

/// All bytes, going on where the connection broke.
async fn pour(incoming: &mut Incoming, mut response: reqwest::Response, digest: &Digest, source: &Source) -> Result<(), String> {
    let mut resumed = 0;
    // What a registry without ranges sends once more.
    let mut skip = 0u64;
    loop {
        let broke = loop {
            match response.chunk().await {
                Ok(Some(mut piece)) => {
                    source.pace.allow(piece.len()).await;
                    let again = skip.min(piece.len() as u64);
                    skip -= again;
                    let new = piece.split_off(usize::try_from(again).unwrap_or_default());
                    if !new.is_empty() {
                        incoming.take(new).await.map_err(|e| e.to_string())?;
                    }
                }
                Ok(None) if incoming.is_whole() => return Ok(()),
                Ok(None) => break "the connection ended before the content".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        resumed += 1;
        if resumed > RESUMED {
            return Err(broke);
        }
        tokio::time::sleep(PAUSE * resumed).await;
        let from = incoming.offset();
        response = source.remote.blob(&source.repository, digest, from).await.map_err(|e| e.to_string())?;
        skip = if response.status() == http::StatusCode::PARTIAL_CONTENT { 0 } else { from };
    }
}

fn missing(digest: &Digest, error: &RemoteError) -> Error {
    match error {
        RemoteError::Unknown(_) => Error::UnknownBlob(digest.to_string()),
        other => Error::Denied(away(other)),
    }
}
