//! Deleting tags and manifests. Bytes go later, when nothing refers to them.

use gantry_es::Meta;

use super::App;
use crate::domain::digest::Digest;
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::domain::repository::{Command, Place};
use crate::error::{Error, Result};
use crate::store::images;

impl App {
    /// A tag: only the tag. A digest: the manifest and every tag that points at it.
    ///
    /// # Errors
    /// Not there.
    pub async fn delete_manifest(&self, name: &RepositoryName, reference: &Reference, meta: Meta) -> Result<()> {
        let command = |at| match reference.clone() {
            Reference::Tag(tag) => Command::DeleteTag { at, tag, pointing_at: None, frozen: Vec::new() },
            Reference::Digest(digest) => Command::DeleteManifest { at, digest, nameless: false, frozen: Vec::new() },
        };
        self.delete(name, command, meta).await
    }

    /// A tag, if it still points at `digest`.
    ///
    /// # Errors
    /// Not there, or somewhere else.
    pub(super) async fn delete_tag_of(&self, name: &RepositoryName, tag: &Tag, digest: &Digest, meta: Meta) -> Result<()> {
        let command = |at| Command::DeleteTag { at, tag: tag.clone(), pointing_at: Some(digest.clone()), frozen: Vec::new() };
        self.delete(name, command, meta).await
    }

    /// A manifest, if no tag points at it; those of signatures go with it.
    ///
    /// # Errors
    /// Not there, or with a tag.
    pub(super) async fn delete_nameless(&self, name: &RepositoryName, digest: &Digest, meta: Meta) -> Result<()> {
        let command = |at| Command::DeleteManifest { at, digest: digest.clone(), nameless: true, frozen: Vec::new() };
        self.delete(name, command, meta).await
    }

    async fn delete(&self, name: &RepositoryName, command: impl FnOnce(Place) -> Command, meta: Meta) -> Result<()> {
        if images::repository(&self.host.db().orm, name).await?.is_none() {
            return Err(Error::UnknownRepository(name.to_string()));
        }
        let at = self.place(name).await?;
        let (project, meta) = (at.project, meta.tenant(at.org));
        let known = self.known_settings(project).await?;
        let done = self.perform_by_rules(name, project, known, command(at), meta).await?;
        self.host.settled(done.position).await;
        Ok(())
    }
}
