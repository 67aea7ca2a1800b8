//! Each project's settings, as the read model keeps them, and a short memory of what the log says of them for every push and pull.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use gantry_es_pg::Store;
use gantry_kernel::{ProjectId, Uuid};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};
use tokio::time::Instant;

use super::entities::project_settings as table;
use crate::domain::settings::{ProjectSettings, Settings};

/// How long another replica may go on with what it read: changes made here count at once.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Projects remembered at most; then it starts anew.
const MOST: usize = 10_000;

/// # Errors
/// Database, or a stored document of another shape.
pub async fn find(db: &impl ConnectionTrait, project: Uuid) -> anyhow::Result<Settings> {
    let row = table::Entity::find_by_id(project).one(db).await?;
    row.map_or_else(|| Ok(Settings::default()), |r| serde_json::from_value(r.settings).with_context(|| format!("the kept settings of project {project}")))
}

/// # Errors
/// Database.
pub async fn keep(db: &impl ConnectionTrait, org: Uuid, project: Uuid, settings: &Settings) -> anyhow::Result<()> {
    let row = table::ActiveModel { project: Set(project), org: Set(org), settings: Set(serde_json::to_value(settings)?) };
    let conflict = OnConflict::column(table::Column::Project).update_columns([table::Column::Org, table::Column::Settings]).to_owned();
    table::Entity::insert(row).on_conflict(conflict).exec_without_returning(db).await?;
    Ok(())
}

/// Every project that has any, with its organisation.
///
/// # Errors
/// Database, or a stored document of another shape.
pub async fn all(db: &impl ConnectionTrait) -> anyhow::Result<Vec<(Uuid, Uuid, Settings)>> {
    let rows: Vec<table::Model> = table::Entity::find().all(db).await?;
    rows.into_iter().map(|r| Ok((r.org, r.project, serde_json::from_value(r.settings)?))).collect()
}

/// Settings, and at which version of their stream they were so. Cheap to clone.
#[derive(Clone, Default)]
pub struct Known {
    pub settings: Arc<Settings>,
    pub version: i64,
}

/// The memory. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    settings: HashMap<Uuid, (Instant, Known)>,
    /// Goes up with each change: what was read before it is not kept after it.
    changes: u64,
}

impl Shelf {
    /// # Errors
    /// The log.
    pub async fn get(&self, store: &Store<ProjectSettings>, project: ProjectId) -> anyhow::Result<Known> {
        let seen = {
            let kept = self.lock();
            match kept.settings.get(&project.0) {
                Some((at, known)) if at.elapsed() < REMEMBERED => return Ok(known.clone()),
                _ => kept.changes,
            }
        };
        let loaded = store.load(project).await?;
        let read = Known { settings: Arc::new(loaded.state), version: loaded.version };
        self.put(project, read.clone(), seen);
        Ok(read)
    }

    fn put(&self, project: ProjectId, read: Known, seen: u64) {
        let mut kept = self.lock();
        if kept.changes != seen {
            return;
        }
        if kept.settings.len() >= MOST {
            kept.settings.clear();
        }
        kept.settings.insert(project.0, (Instant::now(), read));
    }

    /// The next look reads it anew.
    pub fn forget(&self, project: ProjectId) {
        let mut kept = self.lock();
        kept.settings.remove(&project.0);
        kept.changes += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let (shelf, project) = (Shelf::default(), ProjectId(Uuid::from_u128(1)));
        shelf.put(project, Known::default(), 0);
        assert!(shelf.lock().settings.contains_key(&project.0));
        // Somebody has read, and puts what was read down after the change was made.
        let seen = shelf.lock().changes;
        shelf.forget(project);
        shelf.put(project, Known::default(), seen);
        assert!(!shelf.lock().settings.contains_key(&project.0));
    }
}
