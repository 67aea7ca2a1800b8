//! Pushing and reading manifests.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use gantry_contract::registry::BlobRef;
use gantry_es::Meta;
use gantry_es_pg::{ExecuteError, Trace};
use gantry_kernel::{ProjectId, Uuid};

use super::App;
use crate::adapters::blob_store::UploadError;
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::manifest::{MAX_BYTES, Manifest, config_platform};
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::domain::repository::{Command, Pushed};
use crate::error::{Error, Result};
use crate::store::entities::manifests;
use crate::store::settings::Known;
use crate::store::{blobs, bookings, images};

/// What a push made.
pub struct PushDone {
    pub digest: Digest,
    pub subject: Option<Digest>,
    /// Blobs it names that this repository does not have.
    pub missing: Vec<String>,
    /// Tags that point at it now because of this push.
    pub tags: Vec<Tag>,
}

/// A manifest to be kept.
pub(super) struct Pushing<'a> {
    pub reference: &'a Reference,
    pub more_tags: Vec<Tag>,
    pub media_type: Option<&'a str>,
    pub bytes: Bytes,
    pub lacking: Lacking,
}

/// What of an image's content need not be here yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacking {
    /// As much as `sparse_images` allows.
    Little,
    /// It is a cache's: the rest is fetched when it is asked for.
    Anything,
}

/// A manifest with its bytes.
pub struct Found {
    /// Shared with what is kept at hand.
    pub row: Arc<manifests::Model>,
    pub bytes: Bytes,
}

impl App {
    /// Keeps a manifest under its digest and points tags at it. On return it is durable and every later read sees it.
    ///
    /// # Errors
    /// A document that is not a manifest, content that is not here, another digest than asked for.
    pub async fn push_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        more_tags: Vec<Tag>,
        media_type: Option<&str>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<PushDone> {
        self.keep_manifest(name, Pushing { reference, more_tags, media_type, bytes, lacking: Lacking::Little }, meta).await
    }

    /// The same, for one that may lack more than a client's may.
    ///
    /// # Errors
    /// As [`App::push_manifest`].
    pub(super) async fn keep_manifest(&self, name: &RepositoryName, pushing: Pushing<'_>, meta: Meta) -> Result<PushDone> {
        let Pushing { reference, more_tags, media_type, bytes, lacking } = pushing;
        let at = self.place(name).await?;
        self.rush.pushed(std::time::Instant::now());
        let manifest = Manifest::parse(media_type, &bytes)?;
        let (digest, mut tags) = match reference {
            Reference::Tag(tag) => (Digest::of(Algorithm::Sha256, &bytes), vec![tag.clone()]),
            Reference::Digest(said) => {
                let found = Digest::of(said.algorithm(), &bytes);
                if found != *said {
                    return Err(Error::WrongDigest { said: said.to_string(), found: found.to_string() });
                }
                (found, vec![])
            }
        };
        tags.extend(more_tags);
        if bytes.len() as u64 > self.config.inline_bytes {
            // Refused further down, it lies on the disk until collection takes it.
            self.manifest_may_come(name, &digest, bytes.len() as u64).await?;
        }
        // Its own bytes go to the store meanwhile: if the push is refused, nothing refers to them, and they are collected.
        let (content, kept) = tokio::join!(self.check_content(name, &manifest, lacking), self.keep_bytes(&digest, bytes.clone()));
        let (missing, config) = content?;
        let platforms = self.platforms(name, &manifest, config).await?;
        kept?;
        let (project, known) = (at.project, self.known_settings(at.project).await?);
        let booked = self.book(&known.settings, project, &digest, &manifest, bytes.len() as u64).await?;

        let subject = manifest.subject.as_ref().map(|s| s.digest.clone());
        let pushed = Pushed {
            digest: digest.clone(),
            media_type: manifest.media_type.clone(),
            artifact_type: manifest.artifact_type.clone(),
            subject: subject.clone(),
            size_bytes: bytes.len() as u64,
            blobs: manifest.blobs().into_iter().map(|d| BlobRef { digest: d.digest.to_string(), size_bytes: d.size }).collect(),
            missing: missing.clone(),
            manifests: manifest.children().iter().map(|d| d.digest.to_string()).collect(),
            platforms,
            annotations: manifest.event_annotations(),
        };
        let meta = meta.tenant(at.org);
        let command = Command::Push { at, manifest: Box::new(pushed), tags: tags.clone(), frozen: Vec::new() };
        match booked {
            None => {
                let done = self.perform_by_rules(name, project, known, command, meta).await?;
                self.host.settled(done.position).await;
            }
            Some(booked) => self.append_booked(name, project, known, command, meta, booked).await?,
        }
        Ok(PushDone { digest, subject, missing, tags })
    }

    /// Appends a push, and gives back what it has booked of the quota. In a task of its own: where the client is gone the event may stand all
    /// the same, and the room must be given back all the same.
    async fn append_booked(&self, name: &RepositoryName, project: ProjectId, known: Known, command: Command, meta: Meta, booked: Uuid) -> Result<()> {
        let trace = meta.trace.clone().or_else(|| Trace::current().map(|t| t.to_string()));
        let (app, name, meta) = (self.clone(), name.clone(), Meta { trace, ..meta });
        let appending = self.host.tracker.spawn(async move {
            let done = app.perform_by_rules(&name, project, known, command, meta).await;
            let over = match &done {
                Ok(done) => {
                    app.host.settled(done.position).await;
                    // Where the read model does not come along, what was pushed stays booked for a while.
                    app.host.progress.watch("usage").is_none_or(|at| *at.borrow() >= done.position)
                }
                // It may stand although nobody could say so.
                Err(ExecuteError::Log(_)) => false,
                Err(_) => true,
            };
            if over && let Err(error) = bookings::give_back(&app.host.db().pool, booked).await {
                tracing::warn!(repository = %name, error = %error, "a push that is over has its room in the quota for some minutes");
            }
            done.map(drop)
        });
        Ok(appending.await.map_err(|e| Error::Internal(e.into()))??)
    }

    /// Config and layers must be readable in this repository and as large as the manifest says. Children of an index may be
    /// missing, and some layers of an image (`sparse_images`): which ones is the answer, with the config's bytes if they were at hand.
    /// Content of another repository is as missing as content that is nowhere.
    async fn check_content(&self, name: &RepositoryName, manifest: &Manifest, lacking: Lacking) -> Result<(Vec<String>, Option<Vec<u8>>)> {
        let needed = manifest.blobs();
        let digests: Vec<String> = needed.iter().map(|d| d.digest.to_string()).collect();
        let config = manifest.image_config().filter(|c| c.size <= MAX_BYTES as u64).map(|c| &c.digest);
        let (db, now) = (&self.host.db().orm, self.host.env.now());
        let mut found = blobs::named(db, name, &digests, config).await?;
        let bytes = found.iter_mut().filter(|b| b.visible).find_map(|b| b.bytes.take());
        let visible: HashSet<&str> = found.iter().filter(|b| b.visible).map(|b| b.digest.as_str()).collect();
        // From here on they are safe from garbage collection for a grace period; what was marked a moment ago is.
        let sizes: HashMap<String, u64> = if found.iter().all(|b| now - b.touched_at < self.config.fresh()) {
            found.iter().map(|b| (b.digest.clone(), b.size_bytes.unsigned_abs())).collect()
        } else {
            blobs::touch(db, &digests, now, self.config.fresh()).await?.into_iter().collect()
        };
        let missing: Vec<_> = digests.iter().filter(|d| !visible.contains(d.as_str()) || !sizes.contains_key(*d)).cloned().collect();
        let allowed = match lacking {
            Lacking::Little => self.config.sparse_images && manifest.may_lack(&missing),
            Lacking::Anything => true,
        };
        if !missing.is_empty() && !allowed {
            return Err(Error::MissingContent(missing));
        }
        for descriptor in needed.into_iter().filter(|d| !missing.iter().any(|m| m == d.digest.as_str())) {
            let has = sizes.get(descriptor.digest.as_str()).copied().unwrap_or_default();
            if has != descriptor.size {
                return Err(Error::WrongSize { digest: descriptor.digest.to_string(), said: descriptor.size, has });
            }
        }
        Ok((missing, bytes))
    }

    /// `config_bytes`: those of the image's config, if they are at hand.
    async fn platforms(&self, name: &RepositoryName, manifest: &Manifest, config_bytes: Option<Vec<u8>>) -> Result<Vec<String>> {
        if let Some(config) = manifest.image_config() {
            let bytes = match config_bytes {
                Some(bytes) => Some(bytes),
                // A config larger than any real one says nothing about its platform; it is kept all the same.
                None if config.size > MAX_BYTES as u64 => None,
                None => self.blobs.read_small(&config.digest, MAX_BYTES as u64).await?,
            };
            return Ok(bytes.and_then(|b| config_platform(&b)).into_iter().collect());
        }
        let mut platforms = manifest.index_platforms();
        if platforms.is_empty() {
            let digests: Vec<_> = manifest.children().iter().map(|d| d.digest.to_string()).collect();
            for child in images::known_manifests(&self.host.db().orm, name, &digests).await? {
                platforms.extend(strings(&child.platforms));
            }
            platforms.sort();
            platforms.dedup();
            platforms.truncate(200);
        }
        Ok(platforms)
    }

    /// Before the event that names them: an append is repeated where the database was away for a moment, and then stands although what was
    /// not on the disk before is gone.
    async fn keep_bytes(&self, digest: &Digest, bytes: Bytes) -> Result<()> {
        let stage = || self.blobs.stage(self.host.env.uuid(), digest.clone(), bytes.clone());
        match self.publish_or_discard(None, stage().await?).await {
            // The same bytes stood there when they were staged, and were collected before their row was locked: now they are written.
            Err(Error::Upload(UploadError::Io(gone))) if gone.kind() == io::ErrorKind::NotFound => self.publish_or_discard(None, stage().await?).await,
            done => done,
        }
    }

    /// # Errors
    /// Not in this repository, or the store.
    pub async fn manifest_row(&self, name: &RepositoryName, reference: &Reference) -> Result<manifests::Model> {
        match images::manifest(&self.host.db().orm, name, reference).await? {
            Some(row) => Ok(row),
            None if images::repository(&self.host.db().orm, name).await?.is_none() => Err(Error::UnknownRepository(name.to_string())),
            None => Err(Error::UnknownManifest(reference.to_string())),
        }
    }

    /// All annotations of a kept manifest: from the read model, or from its bytes when they were too large for an event.
    ///
    /// # Errors
    /// The store.
    pub async fn annotations(&self, row: &manifests::Model) -> Result<BTreeMap<String, String>> {
        let kept: BTreeMap<String, String> = serde_json::from_value(row.annotations.clone()).unwrap_or_default();
        if !kept.is_empty() || !Manifest::may_hide_annotations(row.size_bytes.unsigned_abs()) {
            return Ok(kept);
        }
        let digest = Digest::parse(&row.digest).map_err(|e| Error::Internal(e.into()))?;
        let bytes = self.blobs.read_small(&digest, MAX_BYTES as u64).await?.unwrap_or_default();
        Ok(Manifest::parse(Some(&row.media_type), &bytes).map(|m| m.annotations).unwrap_or_default())
    }

    /// # Errors
    /// Not in this repository, or the store.
    pub async fn manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<Found> {
        let text = reference.to_string();
        let read = self.host.progress.watch("images").map_or(0, |position| *position.borrow());
        if let Some(kept) = self.manifests.get(name.as_str(), &text, self.host.log().head(), read).await {
            return Ok(Found { row: kept.row.clone(), bytes: kept.bytes.clone() });
        }
        let row = Arc::new(self.manifest_row(name, reference).await?);
        let digest = Digest::parse(&row.digest).map_err(|e| Error::Internal(e.into()))?;
        let bytes = Bytes::from(self.blobs.read_small(&digest, MAX_BYTES as u64).await?.unwrap_or_default());
        if Digest::of(digest.algorithm(), &bytes) != digest {
            self.report_damage(digest.clone());
            return Err(Error::UnknownManifest(reference.to_string()));
        }
        self.manifests.put(name.as_str(), &text, row.clone(), bytes.clone(), read).await;
        Ok(Found { row, bytes })
    }
}

/// A JSON list of texts, as the read models keep it.
pub fn strings(json: &serde_json::Value) -> Vec<String> {
    json.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}
