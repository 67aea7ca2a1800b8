//! Which application of a space has a service's name alone, for all of the space: the oldest that has one called so. Read once for a
//! space, and then only anew of applications that have changed.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::{AppId, Name, OffsetDateTime, SpaceId};

use crate::domain::model::Model;
use crate::flows::advance::Subject;
use crate::flows::reconcile::Reconciler;
use crate::store;

/// Of more applications in a space the last by name are not looked at.
const MOST: u64 = 10_000;

/// What the applications of one space call their services.
#[derive(Default)]
pub(super) struct SpaceNames {
    apps: BTreeMap<AppId, Declared>,
    /// Who calls one so, the oldest first.
    by_name: BTreeMap<Name, BTreeSet<(OffsetDateTime, AppId)>>,
}

struct Declared {
    created_at: OffsetDateTime,
    revision: u64,
    services: BTreeSet<Name>,
}

impl SpaceNames {
    /// An application as it is now; without services: it has none, or is gone. Others that call one the same are told: a name may
    /// be theirs now, or theirs no more.
    fn put(&mut self, app: AppId, created_at: OffsetDateTime, revision: u64, services: BTreeSet<Name>) -> BTreeSet<AppId> {
        let was = self.apps.remove(&app).map_or_else(|| (created_at, BTreeSet::new()), |before| (before.created_at, before.services));
        let mut concerned = BTreeSet::new();
        for name in was.1.symmetric_difference(&services) {
            let of = self.by_name.entry(name.clone()).or_default();
            if services.contains(name) {
                of.insert((created_at, app));
            } else {
                of.remove(&(was.0, app));
            }
            concerned.extend(of.iter().map(|(_, other)| *other).filter(|other| *other != app));
            if of.is_empty() {
                self.by_name.remove(name);
            }
        }
        if revision > 0 {
            self.apps.insert(app, Declared { created_at, revision, services });
        }
        concerned
    }

    /// No older application calls one so.
    fn is_free(&self, name: &Name, created_at: OffsetDateTime, app: AppId) -> bool {
        self.by_name.get(name).and_then(|of| of.first()).is_none_or(|oldest| *oldest >= (created_at, app))
    }
}

impl Reconciler {
    /// Services that no older application of the space calls the same.
    pub(super) async fn plain_names(&mut self, subject: &Subject, goal: &Model) -> anyhow::Result<BTreeSet<Name>> {
        let space = SpaceId(subject.row.space);
        self.follow_names().await?;
        if !self.clusters.names.contains_key(&space) {
            let mut names = SpaceNames::default();
            for row in store::apps(self.s.orm(), space, None, MOST).await? {
                let (app, revision) = (AppId(row.id), row.current.unsigned_abs());
                let services = self.services_of(app, revision).await?;
                names.put(app, row.created_at, revision, services);
            }
            self.clusters.names.insert(space, names);
        }
        let (created_at, app) = (subject.row.created_at, subject.view.id);
        let Some(names) = self.clusters.names.get(&space) else { return Ok(BTreeSet::new()) };
        Ok(goal.services.iter().map(|s| &s.name).filter(|name| names.is_free(name, created_at, app)).cloned().collect())
    }

    /// Reads anew who has changed. Those whose names that concerns are looked at.
    pub(super) async fn follow_names(&mut self) -> anyhow::Result<()> {
        while let Some(app) = self.clusters.renamed.first().copied() {
            if let Some(row) = store::app_by_id(self.s.orm(), app).await? {
                let space = SpaceId(row.space);
                let revision = if row.deleted { 0 } else { row.current.unsigned_abs() };
                let known = self.clusters.names.get(&space);
                // Most of what happens to an application changes no names.
                if known.is_some_and(|names| names.apps.get(&app).map_or(0, |d| d.revision) != revision) {
                    let services = self.services_of(app, revision).await?;
                    if let Some(names) = self.clusters.names.get_mut(&space) {
                        let concerned = names.put(app, row.created_at, revision, services);
                        self.dirty.extend(concerned);
                    }
                }
            }
            self.clusters.renamed.remove(&app);
        }
        Ok(())
    }

    /// Of revision 0 there are none, and of one that cannot be read none are known.
    async fn services_of(&mut self, app: AppId, revision: u64) -> anyhow::Result<BTreeSet<Name>> {
        if revision == 0 {
            return Ok(BTreeSet::new());
        }
        self.know(app, revision).await?;
        Ok(self.known.get(&(app, revision)).map(|known| known.model.services.iter().map(|s| s.name.clone()).collect()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;

    fn app(number: u128) -> AppId {
        AppId(Uuid::from_u128(number))
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    fn services(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|n| Name::parse(n).unwrap()).collect()
    }

    #[test]
    fn the_oldest_has_the_name_and_the_next_one_after_it() {
        let web = Name::parse("web").unwrap();
        let mut names = SpaceNames::default();
        assert_eq!(names.put(app(1), at(10), 1, services(&["web", "db"])), BTreeSet::new());
        assert_eq!(names.put(app(2), at(20), 1, services(&["web"])), BTreeSet::from([app(1)]));
        assert!(names.is_free(&web, at(10), app(1)) && !names.is_free(&web, at(20), app(2)));
        assert!(names.is_free(&Name::parse("cache").unwrap(), at(20), app(2)), "nobody has it");
        assert_eq!(names.put(app(1), at(10), 2, services(&["web"])), BTreeSet::new(), "nobody else calls one `db`");
        assert_eq!(names.put(app(1), at(10), 0, BTreeSet::new()), BTreeSet::from([app(2)]), "it was deleted");
        assert!(names.is_free(&web, at(20), app(2)));
        assert_eq!((names.apps.len(), names.by_name.len()), (1, 1));
    }
}
