//! Models of revisions, read and opened once: a revision never changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use gantry_host::{AsProblem, Host};
use gantry_kernel::{AppId, Problem};
use sea_orm::{DatabaseConnection, DbErr};
use serde_json::Value;

use crate::domain::app::Refusal;
use crate::domain::model::Model;
use crate::domain::stored::{self, Stored, Unreadable};
use crate::store;

const KEPT: usize = 2_000;

#[derive(Default)]
pub struct Models {
    whole: Kept,
    outlines: Kept,
}

#[derive(Default)]
struct Kept(Mutex<BTreeMap<(AppId, u64), Arc<Model>>>);

impl Kept {
    fn get(&self, app: AppId, revision: u64) -> Option<Arc<Model>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(app, revision)).cloned()
    }

    fn put(&self, app: AppId, revision: u64, model: &Arc<Model>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert((app, revision), Arc::clone(model));
    }
}

impl Models {
    /// # Errors
    /// When there is no such revision, or its key was erased.
    pub async fn get(&self, host: &Host, app: AppId, revision: u64) -> anyhow::Result<Arc<Model>> {
        if let Some(model) = self.whole.get(app, revision) {
            return Ok(model);
        }
        let number = i64::try_from(revision)?;
        let row = store::revision(&host.db().orm, app, number).await?.with_context(|| format!("application {app} has no revision {revision}"))?;
        let model = Arc::new(open(host, app, &row.model).await?);
        self.whole.put(app, revision, &model);
        Ok(model)
    }

    /// Without the values of variables and the contents of files, for which no key is needed; `None`: there is no such revision. One that
    /// cannot be read is read anew each time, so that whoever looks at it says so.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn outline(&self, db: &DatabaseConnection, app: AppId, revision: u64) -> Result<Option<Result<Arc<Model>, Unreadable>>, DbErr> {
        if let Some(outline) = self.outlines.get(app, revision) {
            return Ok(Some(Ok(outline)));
        }
        let Some(row) = store::revision(db, app, i64::try_from(revision).unwrap_or(i64::MAX)).await? else { return Ok(None) };
        let outline = stored::read(&row.model).map(|stored| Arc::new(stored.outline));
        if let Ok(outline) = &outline {
            self.outlines.put(app, revision, outline);
        }
        Ok(Some(outline))
    }
}

/// What a person is told of a revision that [`Models::get`] does not give.
pub fn refused(error: anyhow::Error, revision: u64) -> Problem {
    if error.is::<stored::Unreadable>() { Refusal::Unreadable(revision).as_problem() } else { Problem::internal(error) }
}

/// # Errors
/// When it is not one of ours, or its key was erased.
pub async fn open(host: &Host, app: AppId, value: &Value) -> anyhow::Result<Model> {
    let stored = stored::read(value)?;
    let text = host.keyring().open(&stored::subject(app), &stored.sealed).await?;
    Ok(serde_json::from_str(&text)?)
}

/// # Errors
/// When the keys cannot be reached.
pub async fn seal(host: &Host, app: AppId, model: &Model) -> anyhow::Result<Value> {
    let text = serde_json::to_string(model)?;
    let sealed = host.keyring().seal(&stored::subject(app), &text).await?;
    Ok(serde_json::to_value(Stored { outline: stored::outline(model), sealed })?)
}
