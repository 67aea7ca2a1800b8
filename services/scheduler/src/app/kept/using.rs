//! Who uses what, and which versions a new revision gets.

use std::collections::{BTreeMap, BTreeSet};

use gantry_auth::SpaceRef;
use gantry_kernel::{AppId, Problem, Uuid};

use super::bodies::ConfigUseBody;
use super::filling;
use crate::app::Scheduler;
use crate::app::deploy::database;
use crate::app::space_rules::{self, SpaceEngine};
use crate::domain::document::Kept;
use crate::domain::kept::{self, Version};
use crate::domain::model::Model;
use crate::domain::stored;
use crate::store;

/// Applications of a space, looked at to find out who uses its configs.
const MOST_APPS: u64 = 10_000;

/// What readers of documents have to know.
///
/// # Errors
/// When the database refuses.
pub async fn known(s: &Scheduler, space: &SpaceRef) -> Result<Kept, Problem> {
    let newest = store::newest_versions(s.orm(), space.id).await.map_err(database)?;
    let rows = store::all_kept(s.orm(), space.id).await.map_err(database)?;
    let keys = |id: Uuid| newest.iter().find(|v| v.config == id).map(|v| v.keys.keys().cloned().collect()).unwrap_or_default();
    Ok(rows.into_iter().map(|row| ((row.name, row.secret), keys(row.id))).collect())
}

/// Ties a model to versions: those it names, and the newest of the others.
///
/// # Errors
/// What is not there, with what to do; or the database refuses.
pub async fn pin(s: &Scheduler, space: &SpaceRef, model: &mut Model) -> Result<(), Problem> {
    let mut found = BTreeMap::new();
    for (own, name, secret, number) in kept::wanted(model) {
        let absent = || Problem::conflict("scheduler.config_missing", kept::missing(&name, secret));
        let row = store::kept(s.orm(), space.id, &name, secret).await.map_err(database)?.ok_or_else(absent)?;
        let number = number.unwrap_or(row.latest);
        let version = store::kept_version(s.orm(), row.id, number).await.map_err(database)?;
        let version =
            version.ok_or_else(|| Problem::conflict("scheduler.config_missing", format!("`{name}` has no version {number}; its newest is {}", row.latest)))?;
        found.insert(own, Version { config: row.id, number, fingerprint: version.fingerprint, keys: version.keys });
    }
    if found.is_empty() {
        return Ok(());
    }
    kept::pin(model, &found).map_err(|(field, detail)| Problem::invalid(field, detail))
}

/// Refuses to go back to a revision whose configs were deleted.
///
/// # Errors
/// What is not there any more; or the database refuses.
pub async fn still_there(s: &Scheduler, model: &Model) -> Result<(), Problem> {
    for config in model.configs.values() {
        let (Some(name), Some(pin)) = (&config.external, &config.pinned) else { continue };
        if store::kept_version(s.orm(), pin.config, pin.version).await.map_err(database)?.is_none() {
            let what = if config.secret { "secret" } else { "config" };
            return Err(Problem::conflict(
                "scheduler.config_missing",
                format!("that revision uses the {what} `{name}`, which was deleted: deploy a document that uses what there is"),
            ));
        }
    }
    Ok(())
}

/// Who uses each config of a space: by what is at work, by what is being replaced, and by instances that still run.
///
/// # Errors
/// When the database refuses.
pub async fn all(s: &Scheduler, space: &SpaceRef) -> Result<BTreeMap<Uuid, Vec<ConfigUseBody>>, Problem> {
    Ok(look(s, space).await?.0)
}

/// The same for whoever deletes what nobody uses.
///
/// # Errors
/// A revision that cannot be read, so that it is not known what it uses; or the database refuses.
pub async fn all_for_sure(s: &Scheduler, space: &SpaceRef) -> Result<BTreeMap<Uuid, Vec<ConfigUseBody>>, Problem> {
    let (out, not_known) = look(s, space).await?;
    if not_known.is_empty() {
        return Ok(out);
    }
    let detail = format!("what {} uses cannot be read: deploy anew or delete what is named here first", not_known.join(", "));
    Err(Problem::conflict("scheduler.revision_unreadable", detail))
}

/// And the revisions of which it is not known.
async fn look(s: &Scheduler, space: &SpaceRef) -> Result<(BTreeMap<Uuid, Vec<ConfigUseBody>>, Vec<String>), Problem> {
    let (mut out, mut not_known): (BTreeMap<Uuid, Vec<ConfigUseBody>>, Vec<String>) = (BTreeMap::new(), Vec::new());
    let kept_here: BTreeMap<Uuid, u32> = store::all_kept(s.orm(), space.id).await.map_err(database)?.into_iter().map(|row| (row.id, row.latest)).collect();
    if kept_here.is_empty() {
        return Ok((out, not_known));
    }
    let on_cluster = matches!(space_rules::engine(s, space).await?, SpaceEngine::Cluster { .. });
    for row in store::apps(s.orm(), space.id, None, MOST_APPS).await.map_err(database)? {
        let app = AppId(row.id);
        let alive = store::alive(s.orm(), app).await.map_err(database)?;
        let others: BTreeSet<i64> = row.release_from.into_iter().chain(alive.iter().map(|i| i.revision)).filter(|r| *r != row.current).collect();
        // The present one first: what it says of a config counts.
        for revision in std::iter::once(row.current).chain(others) {
            let Some(found) = store::revision(s.orm(), app, revision).await.map_err(database)? else { continue };
            let model = match stored::read(&found.model) {
                Ok(stored) => stored.outline,
                Err(error) => {
                    s.unreadable.tell("revision", format_args!("{app}/{revision}"), &error, "which configs it uses is not known");
                    not_known.push(format!("{} (revision {revision})", row.name));
                    continue;
                }
            };
            for (name, config) in &model.configs {
                let Some(pin) = &config.pinned else { continue };
                let (Some(latest), uses) = (kept_here.get(&pin.config).copied(), kept::uses(&model, name)) else { continue };
                let of = out.entry(pin.config).or_default();
                if let Some(known) = of.iter_mut().find(|u| u.app == row.name) {
                    // Under a second name in the same document.
                    if known.revision == revision.unsigned_abs() {
                        known.variables |= uses.variables;
                        known.files |= uses.files;
                    }
                    continue;
                }
                let number = revision.unsigned_abs();
                let files_version = filling::followed(s, app, number, config, pin).await.map_err(database)?;
                let fixed = uses.variables || (on_cluster && uses.single_files);
                let restart_needed = revision == row.current && config.version.is_none() && pin.version < latest && fixed;
                of.push(ConfigUseBody {
                    app: row.name.clone(),
                    revision: number,
                    version: pin.version,
                    variables: uses.variables,
                    files: uses.files,
                    files_version,
                    restart_needed,
                });
            }
        }
    }
    Ok((out, not_known))
}
