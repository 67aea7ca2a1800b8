//! Content that is on its way into this installation: here, or at another replica.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, TryStreamExt};

use super::App;
use super::fetch::Source;
use crate::adapters::spool::Coming;
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;
use crate::error::{Error, Result};
use crate::store::{blobs, fetches};

const LOOK: Duration = Duration::from_millis(200);
/// How long another replica may take until it knows how large the content is.
const ANNOUNCED: Duration = Duration::from_secs(30);
/// A transfer that was given up elsewhere is tried here so often.
const TAKEN_OVER: u32 = 2;

/// Content on its way.
pub enum Arriving {
    /// Read while it comes.
    Here(Coming),
    /// Read from the store when it is there.
    Elsewhere(Awaited),
}

/// Content that another replica fetches.
pub struct Awaited {
    app: App,
    name: RepositoryName,
    digest: Digest,
    size: u64,
    source: Source,
}

impl Arriving {
    pub fn size(&self) -> u64 {
        match self {
            Self::Here(coming) => coming.size(),
            Self::Elsewhere(awaited) => awaited.size,
        }
    }

    /// Waits until it is kept; why it failed, if it did.
    ///
    /// # Errors
    /// The reason.
    pub async fn ended(&self) -> Result<(), String> {
        match self {
            Self::Here(coming) => coming.ended().await,
            Self::Elsewhere(awaited) => awaited.ended().await,
        }
    }

    /// All of it from the beginning.
    pub fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        match self {
            Self::Here(coming) => coming.stream().boxed(),
            Self::Elsewhere(awaited) => futures::stream::once(awaited.read()).try_flatten().boxed(),
        }
    }
}

impl Awaited {
    /// What another replica fetches into `name`. `size` if a manifest says it; else that replica will.
    ///
    /// # Errors
    /// It does not say so in time.
    pub(super) async fn of(app: &App, name: &RepositoryName, digest: &Digest, size: Option<u64>, source: &Source) -> Result<Self> {
        let deadline = tokio::time::Instant::now() + ANNOUNCED;
        let mut size = size;
        while size.is_none() {
            let now = app.host.env.now();
            size = match fetches::under_way(&app.host.db().pool, name, digest, now).await.map_err(anyhow::Error::from)? {
                Some(size) => size,
                None => blobs::size(&app.host.db().orm, digest).await?,
            };
            if size.is_none() && tokio::time::Instant::now() >= deadline {
                return Err(Error::Denied(gantry_kernel::Problem::unavailable("another replica that fetches this")));
            }
            if size.is_none() {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(Self { app: app.clone(), name: name.clone(), digest: digest.clone(), size: size.unwrap_or_default(), source: source.clone() })
    }

    async fn ended(&self) -> Result<(), String> {
        let Self { app, name, digest, size, source } = self;
        let mut left = TAKEN_OVER;
        loop {
            // First: it is let go of only after it is kept.
            let going = fetches::under_way(&app.host.db().pool, name, digest, app.host.env.now()).await.map_err(|e| e.to_string())?;
            if blobs::readable(&app.host.db().orm, name, digest).await.map_err(|e| e.to_string())?.is_some() {
                return Ok(());
            }
            if going.is_none() {
                left = left.checked_sub(1).ok_or("another replica could not fetch it")?;
                let again: BoxFuture<'_, Result<Arriving>> = Box::pin(app.fetch(name, digest, Some(*size), source));
                if let Arriving::Here(coming) = again.await.map_err(|e| e.to_string())? {
                    return coming.ended().await;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn read(self) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send> {
        self.ended().await.map_err(io::Error::other)?;
        let away = |error: Error| io::Error::other(error.to_string());
        let kept = self.app.blob(&self.name, &self.digest, false).await.map_err(away)?;
        let size = kept.size;
        self.app.content(&self.digest, kept, (0, size)).await.map_err(away)
    }
}
