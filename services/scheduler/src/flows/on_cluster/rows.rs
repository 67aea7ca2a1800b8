//! Which clusters there are: engines are started, changed and stopped as the rows say, and what is on a cluster of applications
//! and spaces that have left it is taken away.

use gantry_kernel::{AppId, SpaceId};

use crate::app::clusters;
use crate::domain::cluster::ClusterSettings;
use crate::flows::reconcile::Reconciler;
use crate::store;

impl Reconciler {
    /// Starts, changes and stops engines as the rows say, and sees to what is on a cluster of those who are gone.
    pub(in crate::flows) async fn keep_clusters(&mut self) -> anyhow::Result<()> {
        self.read_clusters().await?;
        self.turn_clusters().await?;
        for (name, running) in self.s.clusters.all() {
            for owner in running.engine.strays() {
                let Ok(id) = owner.parse::<gantry_kernel::Uuid>() else { continue };
                let there = match store::app_by_id(self.s.orm(), AppId(id)).await? {
                    Some(row) => !row.deleted,
                    // Of a space, which may run elsewhere by now, or of nobody any more.
                    None => {
                        self.clusters.left.insert((name.clone(), SpaceId(id)));
                        !store::apps(self.s.orm(), SpaceId(id), None, 1).await?.is_empty()
                    }
                };
                if there {
                    self.dirty.insert(AppId(id));
                } else {
                    running.engine.unwant(&owner);
                }
            }
            // Another version or other kinds make other objects.
            if let Some(found) = running.engine.connection().found {
                let able = (found.minor, found.capabilities.gateway, found.capabilities.route_timeouts);
                if self.clusters.able.insert(name, able).is_some_and(|before| before != able) {
                    self.dirty.extend(store::cared_for(self.s.orm()).await?);
                }
            }
        }
        self.follow_names().await?;
        self.leave_spaces().await
    }

    /// The namespace of a space goes from a cluster with the last of its applications, also if they run elsewhere now.
    async fn leave_spaces(&mut self) -> anyhow::Result<()> {
        for (cluster, space) in self.clusters.left.clone() {
            let Some(running) = self.s.clusters.get(&cluster) else {
                self.clusters.left.remove(&(cluster, space));
                continue;
            };
            // What has not been seen must not be taken for gone.
            if !running.engine.connection().synced {
                continue;
            }
            let owner = space.to_string();
            if running.engine.has(&owner) {
                let apps: Vec<String> = store::apps(self.s.orm(), space, None, 10_000).await?.iter().map(|a| AppId(a.id).to_string()).collect();
                if !apps.iter().any(|a| running.engine.wants(a)) {
                    // Some are still on their way out, or not asked for yet after a start.
                    if apps.iter().any(|a| running.engine.has(a)) {
                        continue;
                    }
                    running.engine.unwant(&owner);
                }
            }
            self.clusters.left.remove(&(cluster, space));
        }
        Ok(())
    }

    async fn read_clusters(&mut self) -> anyhow::Result<()> {
        let now = self.s.host.env.now();
        let due = self.clusters.again.values().any(|at| *at <= now);
        if self.clusters.read && !self.clusters.stale && !due {
            return Ok(());
        }
        if !self.clusters.read {
            self.clusters.shared = store::shared_apps(self.s.orm()).await?;
        }
        let rows = store::clusters(self.s.orm()).await?;
        if self.clusters.stale {
            // What changed may have been told in the middle of the round before, which looked after them by the rows of its beginning.
            self.dirty.extend(store::cared_for(self.s.orm()).await?);
        }
        (self.clusters.read, self.clusters.stale) = (true, false);
        for (name, running) in self.s.clusters.all() {
            if !rows.iter().any(|r| r.name == name && r.id == running.id) {
                self.s.clusters.stop(&name);
            }
        }
        self.clusters.again.retain(|name, _| rows.iter().any(|r| r.name == *name));
        for row in rows {
            let settings: ClusterSettings = match serde_json::from_value(row.settings.clone()) {
                Ok(settings) => settings,
                // By others than its own, all that runs there would be brought elsewhere and told otherwise: it stays as it is.
                Err(error) => {
                    tracing::warn!(cluster.name = row.name, error = %error, "a cluster's settings cannot be read; it is left as it is until they can");
                    self.clusters.again.insert(row.name, now + time::Duration::seconds(30));
                    continue;
                }
            };
            if self.s.clusters.is_current(&row) {
                self.clusters.again.remove(&row.name);
                self.s.clusters.set(&row.name, settings, row.lost.is_some());
                continue;
            }
            match clusters::open(&self.s, &row).await {
                Ok(client) => {
                    self.clusters.again.remove(&row.name);
                    self.s.clusters.start(&self.s.host, &row, settings, client);
                }
                Err(problem) => {
                    tracing::warn!(cluster.name = row.name, error = problem.chain(), "a cluster's access cannot be used now and will be tried again");
                    self.clusters.again.insert(row.name, now + time::Duration::seconds(30));
                }
            }
        }
        Ok(())
    }

    /// An application is not on any cluster but this one any more.
    pub(in crate::flows) fn leave_clusters(&mut self, app: AppId, space: SpaceId, but: Option<&str>) {
        let owner = app.to_string();
        for (name, running) in self.s.clusters.all() {
            if Some(name.as_str()) != but && running.engine.has(&owner) {
                running.engine.unwant(&owner);
                self.clusters.left.insert((name, space));
            }
        }
        if but.is_none() {
            self.s.clusters.left(app);
        }
    }
}
