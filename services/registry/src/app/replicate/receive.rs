//! From the target: an image with all it lists, what refers to it, and last the tag.

use futures::future::BoxFuture;

use super::{Fault, Running, Took, Way};
use crate::adapters::remote::{Pulled, RemoteError};
use crate::app::App;
use crate::app::retention::gone_is_fine;
use crate::domain::digest::Digest;
use crate::domain::manifest::Manifest;
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::error::Error;
use crate::store::images;
use crate::store::replications::Item;

impl App {
    pub(super) async fn receive_tag(&self, running: &Running, item: &Item) -> Result<Took, Fault> {
        let name = running.ours(&item.other)?;
        let tag = Tag::parse(&item.tag)?;
        self.takes_pushes(&name).await?;
        let pulled = running.remote.manifest(&item.repository, tag.as_str()).await?;
        let (bytes, media_type) = (pulled.bytes.clone(), pulled.media_type.clone());
        let mut way = Way::default();
        self.receive_whole(running, &name, &item.repository, pulled, &mut way).await?;
        self.push_manifest(&name, &Reference::Tag(tag), Vec::new(), media_type.as_deref(), bytes, running.meta.clone()).await?;
        Ok(way.took)
    }

    fn receive_whole<'a>(
        &'a self,
        running: &'a Running,
        name: &'a RepositoryName,
        from: &'a str,
        pulled: Pulled,
        way: &'a mut Way,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            if !way.enter(&pulled.digest)? {
                return Ok(());
            }
            let received = self.receive_parts(running, name, from, pulled, way).await;
            way.leave();
            received
        })
    }

    async fn receive_parts(&self, running: &Running, name: &RepositoryName, from: &str, pulled: Pulled, way: &mut Way) -> Result<(), Fault> {
        let digest = pulled.digest.clone();
        if images::manifest(&self.host.db().orm, name, &Reference::Digest(digest.clone())).await?.is_none() {
            let manifest = Manifest::parse(pulled.media_type.as_deref(), &pulled.bytes).map_err(Error::from)?;
            for child in manifest.children() {
                match running.remote.manifest(from, child.digest.as_str()).await {
                    Ok(child) => self.receive_whole(running, name, from, child, way).await?,
                    // A sparse index there is one here.
                    Err(RemoteError::Unknown(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            for blob in manifest.blobs() {
                match self.ensure_blob(name, &blob.digest, blob.size, &running.source(from)).await? {
                    0 => way.took.there += 1,
                    bytes => {
                        way.took.bytes += bytes;
                        way.took.blobs += 1;
                    }
                }
            }
            let reference = Reference::Digest(digest.clone());
            self.push_manifest(name, &reference, Vec::new(), pulled.media_type.as_deref(), pulled.bytes, running.meta.clone()).await?;
        }
        self.receive_referrers(running, name, from, &digest, way).await
    }

    async fn receive_referrers(&self, running: &Running, name: &RepositoryName, from: &str, digest: &Digest, way: &mut Way) -> Result<(), Fault> {
        for listed in running.remote.referrers(from, digest).await? {
            match running.remote.manifest(from, &listed.digest).await {
                Ok(referrer) => self.receive_whole(running, name, from, referrer, way).await?,
                Err(RemoteError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for suffix in ["sig", "att", "sbom"] {
            let Ok(tag) = Tag::parse(&format!("{}.{suffix}", digest.as_str().replace(':', "-"))) else { continue };
            match running.remote.manifest(from, tag.as_str()).await {
                Ok(about) => {
                    let (bytes, media_type) = (about.bytes.clone(), about.media_type.clone());
                    self.receive_whole(running, name, from, about, way).await?;
                    self.push_manifest(name, &Reference::Tag(tag), Vec::new(), media_type.as_deref(), bytes, running.meta.clone()).await?;
                }
                Err(RemoteError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) async fn local_tag_goes(&self, running: &Running, item: &Item) -> Result<(), Fault> {
        let name = running.ours(&item.other)?;
        let tag = Tag::parse(&item.tag)?;
        let gone = match item.digest.as_deref().map(Digest::parse) {
            // What was pushed here since the plan was made is not what the source has dropped.
            Some(Ok(digest)) => self.delete_tag_of(&name, &tag, &digest, running.meta.clone()).await,
            _ => self.delete_manifest(&name, &Reference::Tag(tag), running.meta.clone()).await,
        };
        Ok(gone_is_fine(gone)?)
    }
}
