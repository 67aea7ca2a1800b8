//! To the target: an image with all it lists, what refers to it, and last the tag, so that whoever sees the tag finds
//! everything.

use std::sync::PoisonError;

use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Fault, Running, Took, Way};
use crate::adapters::remote::{Begun, RemoteError, Scope, fallback_tag};
use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::manifest::{Descriptor, MAX_BYTES, Manifest, OCI_INDEX};
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::error::Error;
use crate::store::entities::manifests;
use crate::store::images;
use crate::store::replications::Item;

/// Referrers of one image that are carried along.
const MOST_REFERRERS: u64 = 1_000;

impl App {
    pub(super) async fn send_tag(&self, running: &Running, item: &Item) -> Result<Took, Fault> {
        let name = running.ours(&item.repository)?;
        let Ok(tag) = Tag::parse(&item.tag) else { return Err(Fault { text: format!("`{}` is not a tag", item.tag), last: true }) };
        // As it is now: it may have moved since the plan was made.
        let found = self.manifest(&name, &Reference::Tag(tag)).await?;
        let digest = Digest::parse(&found.row.digest).map_err(|e| Fault { text: e.to_string(), last: true })?;
        let mut way = Way::default();
        self.send_whole(running, &name, &item.other, &digest, &mut way).await?;
        running.remote.put_manifest(&item.other, &item.tag, &found.row.media_type, found.bytes).await?;
        Ok(way.took)
    }

    /// A manifest by digest with all below it, then what refers to it.
    fn send_whole<'a>(
        &'a self,
        running: &'a Running,
        name: &'a RepositoryName,
        to: &'a str,
        digest: &'a Digest,
        way: &'a mut Way,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            if !way.enter(digest)? {
                return Ok(());
            }
            let sent = self.send_parts(running, name, to, digest, way).await;
            way.leave();
            sent
        })
    }

    async fn send_parts(&self, running: &Running, name: &RepositoryName, to: &str, digest: &Digest, way: &mut Way) -> Result<(), Fault> {
        let found = self.manifest(name, &Reference::Digest(digest.clone())).await?;
        let manifest = Manifest::parse(Some(&found.row.media_type), &found.bytes).map_err(Error::from)?;
        let there = running.remote.head(to, digest.as_str()).await?.is_some();
        if !there {
            for child in manifest.children() {
                match self.send_whole(running, name, to, &child.digest, way).await {
                    // A sparse index: the target has its own word on those.
                    Err(_) if !self.has(name, &child.digest).await? => {}
                    other => other?,
                }
            }
            for blob in manifest.blobs() {
                self.send_blob(running, name, to, blob, &mut way.took).await?;
            }
            running.remote.put_manifest(to, digest.as_str(), &found.row.media_type, found.bytes).await?;
        }
        self.send_referrers(running, name, to, digest, way).await
    }

    async fn has(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, Fault> {
        Ok(images::manifest(&self.host.db().orm, name, &Reference::Digest(digest.clone())).await?.is_some())
    }

    async fn send_blob(&self, running: &Running, name: &RepositoryName, to: &str, blob: &Descriptor, took: &mut Took) -> Result<(), Fault> {
        let known = running.known.lock().unwrap_or_else(PoisonError::into_inner).get(&blob.digest).cloned();
        let scope = Scope::Push(to.to_owned(), None);
        if known.as_deref() == Some(to) || running.remote.blob_size(to, &blob.digest, &scope).await?.is_some() {
            took.there += 1;
        } else {
            match running.remote.begin_upload(to, &blob.digest, known.as_deref()).await? {
                Begun::Mounted => took.there += 1,
                Begun::At(at) => {
                    if let Some(origin) = self.origin(name).await? {
                        self.ensure_blob(name, &blob.digest, blob.size, &origin.source).await?;
                    }
                    let kept = self.blob(name, &blob.digest, false).await?;
                    let size = kept.size;
                    let content = self.content(&blob.digest, kept, (0, size)).await?;
                    let pace = running.pace.clone();
                    let paced = content.then(move |piece| {
                        let pace = pace.clone();
                        async move {
                            if let Ok(piece) = &piece {
                                pace.allow(piece.len()).await;
                            }
                            piece
                        }
                    });
                    running.remote.upload(to, known.as_deref(), at, size, paced).await?;
                    took.bytes += size;
                    took.blobs += 1;
                }
            }
        }
        running.known.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest.clone(), to.to_owned());
        Ok(())
    }

    /// Signatures, bills of materials and the like: by subject, and by cosign's tags.
    async fn send_referrers(&self, running: &Running, name: &RepositoryName, to: &str, digest: &Digest, way: &mut Way) -> Result<(), Fault> {
        let db = &self.host.db().orm;
        let mut unlisted = Vec::new();
        for row in images::referrers(db, name, digest, None, None, MOST_REFERRERS).await? {
            let Ok(referrer) = Digest::parse(&row.digest) else { continue };
            self.send_whole(running, name, to, &referrer, way).await?;
            unlisted.push(row);
        }
        if !unlisted.is_empty() && !running.lists_referrers(to, digest).await? {
            running.list_by_tag(to, digest, &unlisted).await?;
        }
        for suffix in ["sig", "att", "sbom"] {
            let Ok(tag) = Tag::parse(&format!("{}.{suffix}", digest.as_str().replace(':', "-"))) else { continue };
            let Some(row) = images::manifest(db, name, &Reference::Tag(tag.clone())).await? else { continue };
            let Ok(about) = Digest::parse(&row.digest) else { continue };
            self.send_whole(running, name, to, &about, way).await?;
            let found = self.manifest(name, &Reference::Digest(about)).await?;
            running.remote.put_manifest(to, tag.as_str(), &row.media_type, found.bytes).await?;
        }
        Ok(())
    }
}

impl Running {
    /// Whether the target lists referrers itself.
    async fn lists_referrers(&self, to: &str, digest: &Digest) -> Result<bool, Fault> {
        Ok(self.remote.has_referrers_api(to, digest).await?)
    }

    /// Adds referrers to the list that clients of a registry without the API keep under a tag (distribution-spec, "Referrers Tag Schema").
    async fn list_by_tag(&self, to: &str, digest: &Digest, rows: &[manifests::Model]) -> Result<(), Fault> {
        let tag = fallback_tag(digest);
        let mut index: Value = match self.remote.manifest(to, &tag).await {
            Ok(found) => serde_json::from_slice(&found.bytes).unwrap_or_default(),
            Err(RemoteError::Unknown(_)) => Value::Null,
            Err(error) => return Err(error.into()),
        };
        if !index["manifests"].is_array() {
            index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
        }
        let Some(listed) = index["manifests"].as_array_mut() else { return Ok(()) };
        let before = listed.len();
        for row in rows {
            if listed.iter().all(|d| d["digest"] != row.digest.as_str()) {
                let mut descriptor = json!({ "mediaType": row.media_type, "digest": row.digest, "size": row.size_bytes });
                if let Some(kind) = &row.artifact_type {
                    descriptor["artifactType"] = kind.as_str().into();
                }
                if row.annotations.as_object().is_some_and(|a| !a.is_empty()) {
                    descriptor["annotations"] = row.annotations.clone();
                }
                listed.push(descriptor);
            }
        }
        let bytes = index.to_string();
        if index["manifests"].as_array().map_or(0, Vec::len) > before && bytes.len() <= MAX_BYTES {
            self.remote.put_manifest(to, &tag, OCI_INDEX, bytes.into()).await?;
        }
        Ok(())
    }

    /// Whether a tag at the target points at an image, or at an index that lists it.
    async fn needs(&self, repository: &str, tag: &str, digest: &Digest) -> Result<bool, Fault> {
        let found = match self.remote.manifest(repository, tag).await {
            Ok(found) => found,
            Err(RemoteError::Unknown(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let lists = || Manifest::parse(found.media_type.as_deref(), &found.bytes).is_ok_and(|m| m.children().iter().any(|c| c.digest == *digest));
        Ok(found.digest == *digest || lists())
    }

    /// Removes a tag at the target: by its name, or where a registry deletes by digest only, the image, if no other tag has it.
    pub(super) async fn remote_tag_goes(&self, repository: &str, tag: &str) -> Result<(), Fault> {
        let Some(digest) = self.remote.head(repository, tag).await? else { return Ok(()) };
        match self.remote.delete(repository, tag).await {
            // Some say so and do nothing.
            Ok(()) if self.remote.head(repository, tag).await?.is_none() => return Ok(()),
            Ok(()) | Err(RemoteError::Status(..)) => {}
            Err(error) => return Err(error.into()),
        }
        let digest = digest.ok_or_else(|| Fault { text: "the target deletes by digest only, and does not say it".into(), last: true })?;
        for other in self.remote.tags(repository).await? {
            if other != tag && self.needs(repository, &other, &digest).await? {
                let text = format!("the target deletes by digest only, and `{other}` needs the same image: it would go, too");
                return Err(Fault { text, last: true });
            }
        }
        Ok(self.remote.delete(repository, digest.as_str()).await?)
    }
}
