//! The settings of each project, ready to be asked for at every push and pull.

use async_trait::async_trait;
use gantry_contract::registry::settings::SettingsEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::DatabaseTransaction;

use crate::store::settings;

pub struct Settings;

#[async_trait]
impl Projection for Settings {
    fn name(&self) -> &'static str {
        "settings"
    }

    fn ddl(&self) -> &'static str {
        "create table project_settings (project uuid primary key, org uuid not null, settings json not null)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["project_settings"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if !recorded.is::<Event>() {
            return Ok(());
        }
        let Event::Changed { org, project, change } = recorded.decode::<Event>()?;
        let mut all = settings::find(tx, project.0).await?;
        all.apply(&change);
        settings::keep(tx, org.0, project.0, &all).await
    }
}
