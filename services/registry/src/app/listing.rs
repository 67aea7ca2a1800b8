//! What people see: repositories of a project with their tags and scan results.

use std::collections::{HashMap, HashSet};

use gantry_kernel::{ProjectId, Scope, Uuid};
use sea_orm::DbErr;

use super::App;
use crate::store::entities::{manifests, repositories, tags};
use crate::store::images;

/// A repository with everything its line in a list shows.
pub struct Listed {
    pub repository: repositories::Model,
    /// Newest first, each with what it points at.
    pub tags: Vec<(tags::Model, Option<manifests::Model>)>,
    /// The image pushed last.
    pub newest: Option<manifests::Model>,
    pub images: usize,
    /// Bytes of all content, shared content once.
    pub stored_bytes: u64,
}

impl App {
    /// Projects whose repositories `subject` may see; "" is anonymous.
    pub fn visible_projects(&self, subject: &str) -> Vec<Uuid> {
        self.host.auth.read(|r| r.projects().filter(|p| p.public || r.role(subject, Scope::Project(p.id)).is_some()).map(|p| p.id.0).collect())
    }

    /// Repositories of a project after `last`, by name.
    ///
    /// # Errors
    /// Database.
    pub async fn list(&self, project: ProjectId, last: Option<&str>, limit: u64) -> Result<Vec<Listed>, DbErr> {
        let db = &self.host.db().orm;
        let repositories = images::repositories_of(db, project, last, limit).await?;
        let names: Vec<String> = repositories.iter().map(|r| r.name.clone()).collect();
        let mut by_repository: HashMap<String, Vec<manifests::Model>> = HashMap::new();
        for manifest in images::manifests_of(db, &names).await? {
            by_repository.entry(manifest.repository.clone()).or_default().push(manifest);
        }
        let mut tags_of: HashMap<String, Vec<tags::Model>> = HashMap::new();
        for tag in images::tags_of(db, &names).await? {
            tags_of.entry(tag.repository.clone()).or_default().push(tag);
        }
        let mut blobs_of: HashMap<String, HashSet<(String, i64)>> = HashMap::new();
        for blob in images::blobs_of(db, &names).await? {
            blobs_of.entry(blob.repository).or_default().insert((blob.blob, blob.size_bytes));
        }
        let listed = repositories.into_iter().map(|repository| {
            let manifests = by_repository.remove(&repository.name).unwrap_or_default();
            let by_digest: HashMap<&str, &manifests::Model> = manifests.iter().map(|m| (m.digest.as_str(), m)).collect();
            let tags = tags_of.remove(&repository.name).unwrap_or_default();
            let tags: Vec<_> = tags
                .into_iter()
                .map(|t| {
                    let m = by_digest.get(t.digest.as_str()).map(|m| (*m).clone());
                    (t, m)
                })
                .collect();
            // Signatures and the like are about an image, not images.
            let newest = tags.iter().find_map(|(_, m)| m.clone()).or_else(|| manifests.iter().find(|m| m.subject.is_none()).cloned());
            let blobs = blobs_of.remove(&repository.name).unwrap_or_default();
            let stored = blobs.iter().map(|(_, size)| size.unsigned_abs()).sum::<u64>() + manifests.iter().map(|m| m.size_bytes.unsigned_abs()).sum::<u64>();
            Listed { images: manifests.iter().filter(|m| m.subject.is_none()).count(), stored_bytes: stored, repository, tags, newest }
        });
        Ok(listed.collect())
    }
}
