//! The settings of each project, ready to be asked for at every push and pull.

use async_trait::async_trait;
use gantry_contract::registry::settings::{Change, SettingsEvent as Event};
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::DatabaseTransaction;

use crate::store::{scanner_reports, settings};

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
        // What another scanner of this name said (one that was removed, or the platform's) is not this one's word. Here, so that it goes with
        // the change, and only with one that is made; those that were asked since stay, also when this is built anew.
        let other = match &change {
            Change::ScannerSet { scanner, .. } if !all.scanners.contains_key(&scanner.name) => Some(&scanner.name),
            Change::ScannerRemoved(name) => Some(name),
            _ => None,
        };
        if let Some(name) = other {
            scanner_reports::forget_scanner(tx, project.0, name, recorded.at).await?;
        }
        all.apply(&change);
        settings::keep(tx, org.0, project.0, &all).await
    }
}
