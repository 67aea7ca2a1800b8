//! What people see: repositories of a project with their tags and scan results.

use std::collections::HashMap;

use gantry_kernel::{ProjectId, Scope, Uuid};
use sea_orm::DbErr;

use super::App;
use crate::store::entities::{manifests, repositories, tags};
use crate::store::usage::Stored;
use crate::store::{images, usage};

/// Tags that a repository's line in a list shows.
const SHOWN: i64 = 20;

/// A repository with everything its line in a list shows.
pub struct Listed {
    pub repository: repositories::Model,
    /// The newest ones, newest first, each with what it points at.
    pub tags: Vec<(tags::Model, Option<manifests::Model>)>,
    /// The image behind the newest tag, or the one pushed last.
    pub newest: Option<manifests::Model>,
    /// What it keeps, and how many.
    pub stored: Stored,
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
        let mut tags_of: HashMap<String, Vec<tags::Model>> = HashMap::new();
        let shown = images::newest_tags(db, &names, SHOWN).await?;
        let places: Vec<(String, String)> = shown.iter().map(|t| (t.repository.clone(), t.digest.clone())).collect();
        for tag in shown {
            tags_of.entry(tag.repository.clone()).or_default().push(tag);
        }
        let manifests = images::manifests_at(db, &places).await?;
        let by_place: HashMap<(&str, &str), &manifests::Model> = manifests.iter().map(|m| ((m.repository.as_str(), m.digest.as_str()), m)).collect();
        let mut newest: HashMap<String, manifests::Model> = images::newest_images(db, &names).await?.into_iter().map(|m| (m.repository.clone(), m)).collect();
        let mut stored: HashMap<String, Stored> = usage::stored_in(db, &names).await?.into_iter().map(|s| (s.repository.clone(), s)).collect();
        let listed = repositories.into_iter().map(|repository| {
            let name = repository.name.as_str();
            let tags = tags_of.remove(name).unwrap_or_default().into_iter().map(|t| {
                let manifest = by_place.get(&(name, t.digest.as_str())).map(|m| (*m).clone());
                (t, manifest)
            });
            let tags: Vec<_> = tags.collect();
            let newest = tags.iter().find_map(|(_, m)| m.clone()).or_else(|| newest.remove(name));
            let stored = stored.remove(name).unwrap_or_default();
            Listed { stored, tags, newest, repository }
        });
        Ok(listed.collect())
    }
}
