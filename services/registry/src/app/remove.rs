//! Deleting tags and manifests. Bytes go later, when nothing refers to them.

use gantry_es::Meta;

use super::App;
use crate::domain::name::{Reference, RepositoryName};
use crate::domain::repository::Command;
use crate::error::{Error, Result};
use crate::store::images;

impl App {
    /// A tag: only the tag. A digest: the manifest and every tag that points at it.
    ///
    /// # Errors
    /// Not there.
    pub async fn delete_manifest(&self, name: &RepositoryName, reference: &Reference, meta: Meta) -> Result<()> {
        if images::repository(&self.host.db().orm, name).await?.is_none() {
            return Err(Error::UnknownRepository(name.to_string()));
        }
        let at = self.place(name).await?;
        let meta = meta.tenant(at.org);
        let (project, known, frozen) = (at.project, self.known_settings(at.project).await?, Vec::new());
        let command = match reference {
            Reference::Tag(tag) => Command::DeleteTag { at, tag: tag.clone(), frozen },
            Reference::Digest(digest) => Command::DeleteManifest { at, digest: digest.clone(), frozen },
        };
        let done = self.perform_by_rules(name, project, known, command, meta).await?;
        self.host.settled(done.position).await;
        Ok(())
    }
}
