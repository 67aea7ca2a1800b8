//! Each project's settings, as the read model keeps them, and a short memory of them for every pull.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use gantry_es_pg::Db;
use gantry_kernel::{ProjectId, Uuid};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};
use tokio::time::Instant;

use super::entities::project_settings as table;
use crate::domain::settings::Settings;

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

/// The memory. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<HashMap<Uuid, (Instant, Arc<Settings>)>>>);

impl Shelf {
    /// # Errors
    /// Database.
    pub async fn get(&self, db: &Db, project: ProjectId) -> anyhow::Result<Arc<Settings>> {
        if let Some((at, settings)) = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&project.0)
            && at.elapsed() < REMEMBERED
        {
            return Ok(settings.clone());
        }
        let read = Arc::new(find(&db.orm, project.0).await?);
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(project.0, (Instant::now(), read.clone()));
        Ok(read)
    }

    /// The next look reads it anew.
    pub fn forget(&self, project: ProjectId) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&project.0);
    }
}
