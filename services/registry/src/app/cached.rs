//! Pulls from a repository that is a cache of another registry: what is here and fresh is served; else the upstream is asked.
//! What is here goes on being served when the upstream is down, asks to wait, or has dropped the tag.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use gantry_contract::registry::flow::Upstream;
use gantry_es::Meta;
use gantry_es_pg::Todo;
use gantry_kernel::{OffsetDateTime, Problem};
use moka::future::Cache;

use super::App;
use super::blobs::Kept;
use super::fetch::{Pace, Source};
use super::fill::{FILL, Fill};
use super::manifests::{Found, Lacking, Pushing};
use super::remotes::away;
use crate::adapters::remote::{Pulled, RemoteError};
use crate::domain::digest::Digest;
use crate::domain::manifest::{MAX_BYTES, Manifest};
use crate::domain::name::{Reference, RepositoryName};
use crate::domain::pattern;
use crate::domain::repository::Place;
use crate::error::{Error, Result};
use crate::store::cache::{self, Check};
use crate::store::{blobs, images};

/// An upstream that did not answer is left alone for so long.
const AFTER_FAULT: Duration = Duration::from_secs(30);
/// Longer than a manifest takes to be kept.
const KEEPING: Duration = Duration::from_secs(150);
/// Tags and lists of referrers remembered as fresh.
const REMEMBERED: u64 = 100_000;

/// Until when what is here need not be compared with the upstream. Cheap to clone.
#[derive(Clone)]
pub struct Checked(Cache<(String, String), OffsetDateTime>);

impl Default for Checked {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).time_to_idle(Duration::from_secs(3600)).build())
    }
}

/// The upstream of one cached repository.
#[derive(Clone)]
pub struct Origin {
    pub place: Place,
    pub upstream: Upstream,
    pub source: Source,
}

/// A blob that may be read now.
pub enum Readable<S> {
    Here(Kept),
    /// On its way; all of it, from the beginning.
    Coming {
        size: u64,
        stream: S,
    },
    /// There; only its size was asked for.
    There {
        size: u64,
    },
}

impl App {
    /// The upstream that this repository is a cache of, if it is one.
    ///
    /// # Errors
    /// No such project, or settings that cannot be used.
    pub async fn origin(&self, name: &RepositoryName) -> Result<Option<Origin>> {
        let Ok(project) = self.host.auth.project(name.org().as_str(), name.project().as_str()) else { return Ok(None) };
        let settings = self.settings(project.id).await?;
        let Some((kept, repository)) = settings.upstream_of(name.rest()) else { return Ok(None) };
        let remote = self.remote(project.id, &format!("upstream {}", kept.upstream.name), &kept.upstream.endpoint, kept.secret.as_ref()).await?;
        let place = Place { org: project.org.id, project: project.id, name: name.clone() };
        let source = Source { remote, repository, prefix: kept.upstream.prefix.clone(), pace: Pace::default() };
        Ok(Some(Origin { place, upstream: kept.upstream.clone(), source }))
    }

    /// Refuses pushes to a repository that is a cache: the next look at the upstream would undo them.
    ///
    /// # Errors
    /// It is one.
    pub async fn takes_pushes(&self, name: &RepositoryName) -> Result<()> {
        let Ok(project) = self.host.auth.project(name.org().as_str(), name.project().as_str()) else { return Ok(()) };
        match self.settings(project.id).await?.upstream_of(name.rest()) {
            None => Ok(()),
            Some((kept, there)) => {
                let text = format!("{name} is a cache of {there} at {}: push there, or to a repository outside of the cache", kept.upstream.endpoint.url);
                Err(Error::Denied(Problem::conflict("registry.cached", text)))
            }
        }
    }

    /// A manifest as a client pulls it: from here, or through the cache.
    ///
    /// # Errors
    /// Neither here nor there, or the store.
    pub async fn pull(&self, name: &RepositoryName, reference: &Reference) -> Result<Found> {
        if let Some(origin) = self.origin(name).await? {
            self.refresh(&origin, reference).await?;
        }
        self.manifest(name, reference).await
    }

    /// Makes what a reference names here what it names at the upstream, if it is time to ask.
    ///
    /// # Errors
    /// Nothing is here, and the upstream does not help.
    pub async fn refresh(&self, origin: &Origin, reference: &Reference) -> Result<()> {
        let (name, text) = (&origin.place.name, reference.to_string());
        if self.is_fresh(name, &text).await? && self.here(name, reference).await?.is_some() {
            return Ok(());
        }
        let turn = format!("manifest {name} {text}");
        self.flow.turns.alone(&turn, self.look_there(origin, reference)).await
    }

    async fn look_there(&self, origin: &Origin, reference: &Reference) -> Result<()> {
        let (name, text) = (&origin.place.name, reference.to_string());
        let here = self.here(name, reference).await?;
        if let Some(here) = &here {
            // Content never changes; a tag may have been looked at while this call waited for its turn.
            if matches!(reference, Reference::Digest(_))
                || !origin.upstream.enabled
                || self.is_fresh(name, &text).await?
                || self.is_frozen(origin, reference).await?
            {
                return Ok(());
            }
            let digest = Digest::parse(here).ok();
            match origin.source.remote.head(&origin.source.repository, &text).await {
                Ok(Some(Some(there))) if Some(&there) == digest.as_ref() => return self.compared(origin, &text, None).await,
                Ok(Some(_)) => {}
                Ok(None) => {
                    let why = format!("the tag is gone at {}; what was there is still served", origin.source.remote.host());
                    return self.compared(origin, &text, Some((Duration::from_secs(origin.upstream.fresh_seconds.into()), &why))).await;
                }
                Err(error) => return self.went_wrong(origin, &text, &error).await,
            }
        } else if !origin.upstream.enabled {
            return Err(Error::UnknownManifest(text));
        }
        let kept = match origin.source.remote.manifest(&origin.source.repository, &text).await {
            Ok(pulled) => self.keep_pulled(origin, reference, pulled).await,
            Err(RemoteError::Unknown(_)) if here.is_none() => return Err(Error::UnknownManifest(text)),
            Err(error) if here.is_some() => return self.went_wrong(origin, &text, &error).await,
            Err(error) => {
                self.state(origin, Some(&error.to_string())).await;
                return Err(Error::Denied(away(&error)));
            }
        };
        match kept {
            Ok(()) => self.compared(origin, &text, None).await,
            // The new image cannot be had now; the one before can.
            Err(error) if here.is_some() => {
                tracing::warn!(repository = %name, reference = text, error = %error, "a cached tag could not be renewed and is served as it was");
                self.compared(origin, &text, Some((AFTER_FAULT, &error.to_string()))).await
            }
            Err(error) => Err(error),
        }
    }

    async fn here(&self, name: &RepositoryName, reference: &Reference) -> Result<Option<String>> {
        Ok(images::manifest(&self.host.db().orm, name, reference).await?.map(|row| row.digest))
    }

    /// An immutable tag stays as it is, whatever happens at the upstream.
    async fn is_frozen(&self, origin: &Origin, reference: &Reference) -> Result<bool> {
        let Reference::Tag(tag) = reference else { return Ok(false) };
        let settings = self.settings(origin.place.project).await?;
        Ok(settings.frozen(origin.place.name.rest()).iter().any(|p| pattern::matches(p, tag.as_str())))
    }

    /// Keeps a manifest as it came, with its config: what it is for is read from that. The rest of it follows.
    pub(super) async fn keep_pulled(&self, origin: &Origin, reference: &Reference, pulled: Pulled) -> Result<()> {
        let name = &origin.place.name;
        let manifest = Manifest::parse(pulled.media_type.as_deref(), &pulled.bytes)?;
        if let Some(config) = manifest.image_config().filter(|c| c.size <= MAX_BYTES as u64) {
            self.ensure_blob(name, &config.digest, config.size, &origin.source).await?;
        }
        let fill = Fill { repository: name.to_string(), digest: pulled.digest.to_string() };
        let (db, payload) = (&self.host.db().orm, serde_json::to_value(&fill).map_err(anyhow::Error::from)?);
        // Before the image: one that is here is not fetched again, so whoever is killed in between would leave it without its rest.
        Todo::enqueue_after(db, FILL, &fill.key(), &payload, KEEPING).await?;
        let pushing = Pushing { reference, more_tags: Vec::new(), media_type: pulled.media_type.as_deref(), bytes: pulled.bytes, lacking: Lacking::Anything };
        self.keep_manifest(name, pushing, Meta::system()).await?;
        Todo::enqueue(db, FILL, &fill.key(), &payload).await?;
        Ok(())
    }

    /// The upstream failed, and something is here: it is served, and the upstream left alone for a while.
    async fn went_wrong(&self, origin: &Origin, reference: &str, error: &RemoteError) -> Result<()> {
        let pause = match error {
            RemoteError::TooMany(_, after) => (*after).max(AFTER_FAULT),
            _ => AFTER_FAULT,
        };
        let text = error.to_string();
        tracing::warn!(repository = %origin.place.name, reference, upstream = origin.source.remote.host(), error = text, "the upstream does not help; what is here is served");
        self.state(origin, Some(&text)).await;
        self.compared(origin, reference, Some((pause, &text))).await
    }

    /// Notes that a reference was compared; with a fault, it is again after a pause of its own.
    pub(super) async fn compared(&self, origin: &Origin, reference: &str, fault: Option<(Duration, &str)>) -> Result<()> {
        let now = self.host.env.now();
        let pause = fault.map_or(Duration::from_secs(origin.upstream.fresh_seconds.into()), |(pause, _)| pause);
        if fault.is_none() {
            self.state(origin, None).await;
        }
        let (repository, reference) = (origin.place.name.to_string(), reference.to_owned());
        let check = Check { repository, reference, checked_at: now, next_at: now + pause, error: fault.map(|(_, why)| why.to_owned()) };
        cache::note(&self.host.db().orm, &check).await?;
        self.flow.checked.0.insert((check.repository, check.reference), check.next_at).await;
        Ok(())
    }

    pub(super) async fn is_fresh(&self, name: &RepositoryName, reference: &str) -> Result<bool> {
        let key = (name.to_string(), reference.to_owned());
        let now = self.host.env.now();
        if let Some(next) = self.flow.checked.0.get(&key).await {
            return Ok(next > now);
        }
        // After a restart, and with another replica, the table knows.
        let next = cache::next(&self.host.db().orm, name.as_str(), reference).await?;
        if let Some(next) = next.filter(|n| *n > now) {
            self.flow.checked.0.insert(key, next).await;
            return Ok(true);
        }
        Ok(false)
    }

    async fn state(&self, origin: &Origin, error: Option<&str>) {
        let noted = cache::answered(&self.host.db().orm, origin.place.project.0, &origin.upstream.name, self.host.env.now(), error).await;
        if let Err(error) = noted {
            tracing::warn!(error = %error, "how an upstream is could not be noted");
        }
    }

    /// A blob as a client pulls it. `whole`: from its beginning to its end; only then it can be read while it comes.
    ///
    /// # Errors
    /// Neither here nor there, or the store.
    pub async fn pull_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        head: bool,
        whole: bool,
    ) -> Result<Readable<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>>> {
        let unknown = match self.blob(name, digest, head).await {
            Ok(kept) => return Ok(Readable::Here(kept)),
            Err(error @ Error::UnknownBlob(_)) => error,
            Err(error) => return Err(error),
        };
        let Some(origin) = self.origin(name).await?.filter(|o| o.upstream.enabled) else { return Err(unknown) };
        let size = blobs::announced_size(&self.host.db().orm, name, digest).await?;
        if head {
            let size = match size {
                Some(size) => Some(size),
                None => {
                    let scope = crate::adapters::remote::Scope::Pull(origin.source.repository.clone());
                    let asked = origin.source.remote.blob_size(&origin.source.repository, digest, &scope).await;
                    asked.map_err(|e| Error::Denied(away(&e)))?
                }
            };
            return size.map(|size| Readable::There { size }).ok_or(unknown);
        }
        // Only what a manifest here names: others have been asked for by their digest alone.
        if size.is_some() && self.mount_own(name, digest, &origin.source).await? {
            return Ok(Readable::Here(self.blob(name, digest, head).await?));
        }
        let coming = self.fetch(name, digest, size, &origin.source).await?;
        if whole {
            return Ok(Readable::Coming { size: coming.size(), stream: coming.stream() });
        }
        coming.ended().await.map_err(|why| Error::Denied(Problem::new(gantry_kernel::Kind::Unavailable, "registry.upstream_away", why)))?;
        Ok(Readable::Here(self.blob(name, digest, head).await?))
    }
}
