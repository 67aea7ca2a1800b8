//! Each project's settings, as the read model keeps them, and a short memory of what the log says of them for every push and pull.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use gantry_contract::registry::settings::SettingsEvent;
use gantry_es::{DecodeError, Recorded, StreamId};
use gantry_es_pg::Log;
use gantry_kernel::{ProjectId, Uuid};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};
use tokio::time::Instant;

use super::entities::project_settings as table;
use crate::domain::settings::{Settings, newer};

/// How long another replica may go on with what it read, where nobody tells it that the log has grown: changes made here count at once.
const REMEMBERED: Duration = Duration::from_secs(1);
/// And where the log has grown, which need not be a change of settings.
const SOON: Duration = Duration::from_millis(100);
/// Projects remembered at most; then it starts anew.
const MOST: usize = 10_000;

/// Whole, for who writes them back: what this program does not know would be lost.
///
/// # Errors
/// Database, or a stored document of another shape, perhaps a newer program's.
pub async fn find(db: &impl ConnectionTrait, project: Uuid) -> anyhow::Result<Settings> {
    let row = table::Entity::find_by_id(project).one(db).await?;
    row.map_or_else(|| Ok(Settings::default()), |r| newer::whole(r.settings).with_context(|| format!("the kept settings of project {project}")))
}

/// As far as this program understands them.
///
/// # Errors
/// Database, or a stored document of another shape.
async fn understood(db: &impl ConnectionTrait, project: Uuid) -> anyhow::Result<Settings> {
    let row = table::Entity::find_by_id(project).one(db).await?;
    row.map_or_else(|| Ok(Settings::default()), |r| newer::read(&r.settings).with_context(|| format!("the kept settings of project {project}")))
}

/// # Errors
/// Database.
pub async fn keep(db: &impl ConnectionTrait, org: Uuid, project: Uuid, settings: &Settings) -> anyhow::Result<()> {
    let row = table::ActiveModel { project: Set(project), org: Set(org), settings: Set(serde_json::to_value(settings)?) };
    let conflict = OnConflict::column(table::Column::Project).update_columns([table::Column::Org, table::Column::Settings]).to_owned();
    table::Entity::insert(row).on_conflict(conflict).exec_without_returning(db).await?;
    Ok(())
}

/// Every project that has any, with its organisation, for work by schedule. Those that a newer program has written are left to that one: it has
/// the schedule, too, and knows what must stay.
///
/// # Errors
/// Database.
pub async fn all(db: &impl ConnectionTrait) -> anyhow::Result<Vec<(Uuid, Uuid, Settings)>> {
    let rows: Vec<table::Model> = table::Entity::find().all(db).await?;
    Ok(rows.into_iter().filter_map(whole).collect())
}

fn whole(row: table::Model) -> Option<(Uuid, Uuid, Settings)> {
    match newer::whole(row.settings) {
        Ok(settings) => Some((row.org, row.project, settings)),
        Err(error) => {
            tracing::warn!(project.id = %row.project, error = %error, "the settings of a project are not of this program's shape; nothing is done there by schedule");
            None
        }
    }
}

/// Settings, and at which version of their stream they were so. Cheap to clone.
#[derive(Clone, Default)]
pub struct Known {
    pub settings: Arc<Settings>,
    pub version: i64,
    /// From the read model, which may be behind its stream: no ground for what comes next.
    by_model: bool,
}

impl Known {
    /// As after these events of its stream.
    fn after(self, events: &[Recorded]) -> Result<Self, DecodeError> {
        let Some(last) = events.last() else { return Ok(self) };
        let mut settings = Settings::clone(&self.settings);
        for event in events {
            match event.decode::<SettingsEvent>() {
                Ok(SettingsEvent::Changed { change, .. }) => settings.apply(&change),
                // While replicas are updated a newer one writes what this one does not know: it goes on with what it understands.
                Err(DecodeError::Shape { .. }) if newer::apply(&mut settings, &event.data.value()["change"]).is_ok() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { settings: Arc::new(settings), version: last.version, by_model: false })
    }
}

/// The memory. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    settings: HashMap<Uuid, Entry>,
    /// Goes up with each change: what was read before it is not kept after it.
    changes: u64,
}

struct Entry {
    known: Known,
    at: Instant,
    /// How far the log was when it was read.
    head: i64,
}

impl Entry {
    fn is_fresh(&self, head: i64) -> bool {
        is_fresh(self.at.elapsed(), self.head != head)
    }
}

/// A log that stands still holds no change.
fn is_fresh(age: Duration, has_grown: bool) -> bool {
    age < if has_grown { SOON } else { REMEMBERED }
}

impl Shelf {
    /// # Errors
    /// The log, or a stored document of another shape.
    pub async fn get(&self, log: &Log, project: ProjectId) -> anyhow::Result<Known> {
        // Before it is read: what is appended meanwhile moves it.
        let head = log.head();
        let (seen, before) = {
            let kept = self.lock();
            match kept.settings.get(&project.0) {
                Some(entry) if entry.is_fresh(head) => return Ok(entry.known.clone()),
                entry => (kept.changes, entry.map(|e| &e.known).filter(|known| !known.by_model).cloned().unwrap_or_default()),
            }
        };
        let events = log.read_stream(&StreamId::of::<SettingsEvent>(project), before.version).await?;
        let read = match before.after(&events) {
            Ok(read) => read,
            // Of kinds that this program does not know, the read model tells what came of them.
            Err(error @ (DecodeError::Newer { .. } | DecodeError::Unknown { .. })) => {
                tracing::debug!(project.id = %project.0, error = %error, "settings are newer than this program");
                let version = events.last().map_or(0, |last| last.version);
                Known { settings: Arc::new(understood(&log.db().orm, project.0).await?), version, by_model: true }
            }
            Err(error) => return Err(error.into()),
        };
        self.put(project, read.clone(), seen, head);
        Ok(read)
    }

    fn put(&self, project: ProjectId, known: Known, seen: u64, head: i64) {
        let mut kept = self.lock();
        if kept.changes != seen || kept.settings.get(&project.0).is_some_and(|there| there.known.version > known.version) {
            return;
        }
        if kept.settings.len() >= MOST {
            kept.settings.clear();
        }
        kept.settings.insert(project.0, Entry { known, at: Instant::now(), head });
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
    use gantry_contract::registry::settings::Change;
    use gantry_es::{EventData, Meta};
    use gantry_kernel::{OffsetDateTime, OrgId};

    use super::*;

    fn project() -> ProjectId {
        ProjectId(Uuid::from_u128(1))
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let shelf = Shelf::default();
        shelf.put(project(), Known::default(), 0, 0);
        assert!(shelf.lock().settings.contains_key(&project().0));
        // Somebody has read, and puts what was read down after the change was made.
        let seen = shelf.lock().changes;
        shelf.forget(project());
        shelf.put(project(), Known::default(), seen, 0);
        assert!(!shelf.lock().settings.contains_key(&project().0));
    }

    #[test]
    fn what_is_newer_stays_whoever_comes_later() {
        let shelf = Shelf::default();
        for (version, kept) in [(3, 3), (2, 3), (4, 4)] {
            shelf.put(project(), Known { version, ..Known::default() }, 0, 0);
            assert_eq!(shelf.lock().settings[&project().0].known.version, kept);
        }
    }

    #[test]
    fn a_log_that_grows_is_looked_at_sooner_than_one_that_stands_still() {
        assert!(is_fresh(Duration::ZERO, true) && is_fresh(SOON, false));
        assert!(!is_fresh(SOON, true) && !is_fresh(REMEMBERED, false));
    }

    #[test]
    fn settings_follow_the_events_of_their_stream() {
        let event = |version: i64, bytes: u64| {
            let (org, project) = (OrgId(Uuid::nil()), project());
            let changed = SettingsEvent::Changed { org, project, change: Change::Quota(Some(bytes)) }.encode();
            Recorded {
                position: version,
                stream: StreamId::of::<SettingsEvent>(project),
                version,
                id: Uuid::nil(),
                kind: changed.kind,
                kind_version: changed.kind_version,
                data: changed.data,
                meta: Meta::system(),
                at: OffsetDateTime::UNIX_EPOCH,
                origin: "registry".into(),
            }
        };
        let none = Known::default().after(&[]).unwrap();
        assert_eq!((none.version, none.settings.quota_bytes), (0, None));
        let two = none.after(&[event(1, 5), event(2, 6)]).unwrap();
        assert_eq!((two.version, two.settings.quota_bytes), (2, Some(6)));
        let three = two.after(&[event(3, 7)]).unwrap();
        assert_eq!((three.version, three.settings.quota_bytes), (3, Some(7)));
        // A newer program has added a field, a part, and a value.
        let of = |version: i64, change: serde_json::Value| {
            let data = serde_json::json!({ "org": OrgId(Uuid::nil()), "project": project(), "change": change });
            Recorded { data: data.into(), ..event(version, 0) }
        };
        let policy =
            |at: &str| serde_json::json!({ "part": "policy_set", "value": { "name": "p", "at": [at], "must_be_scanned": true, "must_have_sbom": true } });
        let five = three.after(&[of(4, policy("pull")), of(5, serde_json::json!({ "part": "quarantine", "value": 3 }))]).unwrap();
        assert_eq!((five.version, five.settings.quota_bytes, five.settings.policies.len()), (5, Some(7), 1));
        assert!(five.settings.beyond.contains(&newer::of_policy("p")));
        assert!(five.after(&[of(6, policy("build"))]).err().unwrap().is_newer());
    }

    #[test]
    fn work_by_schedule_leaves_settings_of_newer_programs_alone() {
        let row = |settings: serde_json::Value| table::Model { project: Uuid::from_u128(1), org: Uuid::nil(), settings };
        assert!(whole(row(serde_json::json!({ "retention": { "rules": [] } }))).is_some());
        assert!(whole(row(serde_json::json!({ "retention": { "rules": [], "unless": "x" } }))).is_none());
    }
}
