//! Contents of configs and secrets for those who run instances: opened once, since a version never changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gantry_es_pg::KeyringError;
use gantry_kernel::{AppId, Uuid};

use crate::app::Scheduler;
use crate::domain::kept::{self, Contents};
use crate::domain::model::{Config, Model, Pin};
use crate::store::{self, KeptVersion};

const OPENED_AT_MOST: usize = 500;

/// Opened contents by config and version.
#[derive(Default)]
pub struct Opened(Mutex<BTreeMap<(Uuid, u32), Arc<Config>>>);

/// The key's subject.
pub fn subject(config: Uuid) -> String {
    format!("config:{config}")
}

/// # Errors
/// When its key was erased or cannot be reached.
pub async fn open(s: &Scheduler, version: &KeptVersion) -> anyhow::Result<Arc<Config>> {
    let key = (version.config, version.number);
    if let Some(content) = s.opened.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(content.clone());
    }
    let text = s.host.keyring().open(&subject(version.config), &version.content).await?;
    let content = Arc::new(serde_json::from_str::<Config>(&text)?);
    let mut opened = s.opened.0.lock().unwrap_or_else(PoisonError::into_inner);
    if opened.len() >= OPENED_AT_MOST {
        opened.clear();
    }
    opened.insert(key, content.clone());
    Ok(content)
}

/// Nothing of it is held any more.
pub fn forget(s: &Scheduler, config: Uuid) {
    s.opened.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| *of != config);
}

/// The version that files of a revision have now: the one it is tied to, or a newer one that was set since it is at work.
///
/// # Errors
/// When the database refuses.
pub async fn followed(s: &Scheduler, app: AppId, revision: u64, config: &Config, pin: &Pin) -> Result<u32, sea_orm::DbErr> {
    if config.version.is_some() {
        return Ok(pin.version);
    }
    Ok(store::followed(s.orm(), pin.config, app, revision).await?.map_or(pin.version, |newest| newest.max(pin.version)))
}

/// A revision's model with the contents of what its space keeps; `None` if it uses nothing of it.
///
/// # Errors
/// When the database or the keys cannot be reached. What was deleted meanwhile is left out, and told.
pub async fn fill(s: &Scheduler, app: AppId, revision: u64, model: &Model) -> anyhow::Result<Option<Model>> {
    let mut contents = BTreeMap::new();
    for (name, config) in &model.configs {
        let (Some(_), Some(pin)) = (&config.external, &config.pinned) else { continue };
        let live = followed(s, app, revision, config, pin).await?;
        let pinned = version(s, pin.config, pin.version).await?;
        let live = if live == pin.version { pinned.clone() } else { version(s, pin.config, live).await? };
        contents.insert(name.clone(), Contents { pinned, live });
    }
    Ok((!contents.is_empty()).then(|| kept::fill(model, &contents)))
}

async fn version(s: &Scheduler, config: Uuid, number: u32) -> anyhow::Result<Arc<Config>> {
    let lost = |why: &str| {
        tracing::warn!(config.id = %config, version = number, why, "a config or secret that an application uses is not there any more");
        Ok(Arc::default())
    };
    let Some(version) = store::kept_version(s.orm(), config, number).await? else { return lost("deleted") };
    match open(s, &version).await {
        // For ever so: nothing would be told to any node if this was waited for.
        Err(error) if matches!(error.downcast_ref(), Some(KeyringError::Erased | KeyringError::Damaged)) => lost(&error.to_string()),
        opened => opened,
    }
}
