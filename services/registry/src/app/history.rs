//! Who moved and deleted which tag when, and bringing a deleted tag back while its content lives.

use gantry_es::Meta;
use gantry_es_pg::Store;
use gantry_kernel::Problem;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::App;
use super::manifests::PushDone;
use crate::domain::digest::Digest;
use crate::domain::manifest::{MAX_BYTES, Manifest};
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::domain::repository::Repository;
use crate::error::{Error, Result};
use crate::store::entities::tag_history::{Column, Entity, Model};
use crate::store::{blobs, history, images};

impl App {
    /// The history of a repository's tags, newest first, before position `before`.
    ///
    /// # Errors
    /// The store.
    pub async fn history(&self, name: &RepositoryName, tag: Option<&Tag>, before: Option<i64>, limit: u64) -> Result<Vec<Model>> {
        let mut query = Entity::find().filter(Column::Repository.eq(name.as_str()));
        if let Some(tag) = tag {
            query = query.filter(Column::Tag.eq(tag.as_str()));
        }
        if let Some(before) = before {
            query = query.filter(Column::Position.lt(before));
        }
        Ok(query.order_by_desc(Column::Position).limit(limit).all(&self.host.db().orm).await?)
    }

    /// Points a tag at an image it pointed at before: the one it had when it was deleted, or `digest`. The image itself may have
    /// been deleted, too, as long as its content is still on the disk.
    ///
    /// # Errors
    /// The tag never pointed there, it is in use, or the content is gone.
    pub async fn restore(&self, name: &RepositoryName, tag: &Tag, digest: Option<&Digest>, meta: Meta) -> Result<PushDone> {
        let db = &self.host.db().orm;
        let wanted = match digest {
            Some(digest) => history::has_pointed(db, name, tag, digest).await?.then(|| digest.to_string()),
            None => self.history(name, Some(tag), None, 1).await?.pop().map(|last| last.digest),
        };
        let wanted = wanted.ok_or_else(|| Error::UnknownManifest(tag.to_string()))?;
        let present = images::manifest(db, name, &Reference::Tag(tag.clone())).await?;
        if digest.is_none()
            && let Some(present) = present
        {
            let text = format!("the tag `{tag}` is in use: it points at {}; say which digest it should have, or delete it first", present.digest);
            return Err(Problem::conflict("registry.tag_in_use", text).into());
        }
        let gone = || Error::from(Problem::conflict("registry.content_gone", format!("the content of {wanted} has been removed; push the image again")));
        let wanted_digest = Digest::parse(&wanted).map_err(|e| Error::Internal(e.into()))?;
        let bytes = self.blobs.read_small(&wanted_digest, MAX_BYTES as u64).await?.ok_or_else(gone)?;
        let manifest = Manifest::parse(None, &bytes)?;
        // What the repository had by its own history, a link makes readable here again, as an upload would. A manifest may name what it never had
        // (a sparse image), perhaps somebody else's: that stays as missing as it was.
        let names: Vec<String> = manifest.blobs().iter().map(|d| d.digest.to_string()).collect();
        let visible = blobs::visible(db, name, &names).await?;
        let pushes = history::missing_at_pushes(db, Store::<Repository>::stream(name).as_str(), &wanted_digest).await?;
        let had = |blob: &str| visible.iter().any(|v| v == blob) || pushes.iter().any(|missing| missing.iter().all(|m| m != blob));
        let (mut needed, mut ours): (Vec<&Digest>, Vec<String>) = (Vec::new(), Vec::new());
        for blob in manifest.blobs().into_iter().filter(|d| had(d.digest.as_str())) {
            needed.push(&blob.digest);
            ours.push(blob.digest.to_string());
        }
        let now = self.host.env.now();
        if blobs::touch(db, &ours, now, self.config.fresh()).await?.len() < needed.len() {
            return Err(gone());
        }
        for blob in needed {
            blobs::link(db, name, blob, now).await?;
        }
        self.push_manifest(name, &Reference::Digest(wanted_digest), vec![tag.clone()], Some(&manifest.media_type), bytes.into(), meta).await
    }
}
