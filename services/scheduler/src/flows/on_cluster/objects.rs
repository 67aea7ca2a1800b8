//! What is wanted of a cluster for an application.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_kernel::{AppId, Name, SpaceId};
use gantry_kubernetes::{Kind, Wanted};
use serde_json::json;

use crate::adapters::clusters::Running;
use crate::adapters::images;
use crate::app::change::scaled;
use crate::app::kept::filling;
use crate::domain::kubernetes::cluster::{self as made, Place};
use crate::domain::model::{Model, WorkloadKind};
use crate::flows::advance::{Subject, restarted_at};
use crate::flows::reconcile::Reconciler;
use crate::flows::world::World;
use crate::store::{self, Pending};

impl Reconciler {
    /// `None`: not now, and what was wanted before stays.
    pub(super) async fn objects_for(
        &mut self,
        subject: &Subject,
        goal: &Model,
        running: &Running,
        world: &World,
        pending: &mut BTreeMap<String, Pending>,
    ) -> anyhow::Result<Option<Wanted>> {
        let app = subject.view.id;
        let namespace = made::namespace(&subject.view.home, &running.settings);
        let pull = match self.pull_secret(app, goal).await {
            Ok(pull) => pull,
            Err(problem) => {
                tracing::warn!(app.id = %app, error = problem.chain(), "no credential for the application's images could be had");
                return Ok(None);
            }
        };
        // What stands is not taken away because something it depends on is unwell.
        let mut held = BTreeSet::new();
        for (name, workload) in &goal.workloads {
            let there = workload_object(workload.kind, &subject.view.name, name, subject, running, &namespace).is_some_and(|(_, object)| object.is_some());
            if let Some(reason) = self.dependency(subject, goal, workload, world).filter(|_| !there) {
                held.insert(name.clone());
                pending.insert(name.to_string(), Pending::because(workload.replicas, reason));
            }
        }
        let restarts = goal.workloads.keys().map(|n| (n.clone(), restarted_at(subject, n))).filter(|(_, position)| *position > 0).collect();
        let (scale, plain) = (scaled(&subject.row), self.plain_names(subject, goal).await?);
        let found = running.engine.connection().found.unwrap_or_default();
        let place = Place {
            app,
            app_name: &subject.view.name,
            home: &subject.view.home,
            scope: &running.scope,
            revision: subject.view.current,
            settings: &running.settings,
            gateway: found.capabilities.gateway,
            minor: found.minor,
            scale: &scale,
            restarts: &restarts,
            plain: &plain,
            pull: pull.as_deref(),
            held: &held,
        };
        let filled = filling::fill(&self.s, app, subject.view.current, goal).await?;
        Ok(Some(Wanted::new(&running.scope, &app.to_string(), made::objects(filled.as_ref().unwrap_or(goal), &place))))
    }

    /// The registry's credential as clients keep it; renewed in time.
    async fn pull_secret(&mut self, app: AppId, goal: &Model) -> Result<Option<String>, gantry_kernel::Problem> {
        let registry = self.s.host.platform.public_host().to_owned();
        let pinned = goal.images();
        let repositories: BTreeSet<String> = pinned.iter().filter_map(|p| images::repository(p, &registry)).map(str::to_owned).collect();
        if repositories.is_empty() {
            return Ok(None);
        }
        let credential = self.s.credentials.get(app, &repositories).await?;
        let left = (credential.expires_at_unix - self.s.host.env.now().unix_timestamp()).max(2);
        self.clusters.renew.insert(app, self.s.host.env.now() + time::Duration::seconds(left / 2));
        let auth = STANDARD.encode(format!("{}:{}", credential.username, credential.password));
        Ok(Some(json!({ "auths": { registry: { "username": credential.username, "password": credential.password, "auth": auth } } }).to_string()))
    }

    /// Services that no older application of the space calls the same.
    async fn plain_names(&mut self, subject: &Subject, goal: &Model) -> anyhow::Result<BTreeSet<Name>> {
        let mut free: BTreeSet<Name> = goal.services.iter().map(|s| s.name.clone()).collect();
        for other in store::apps(self.s.orm(), SpaceId(subject.row.space), None, 1_000).await? {
            let (id, mine) = (AppId(other.id), (subject.row.created_at, subject.row.id));
            if (other.created_at, other.id) >= mine || other.current == 0 {
                continue;
            }
            let revision = other.current.unsigned_abs();
            self.know(id, revision).await?;
            if let Some(known) = self.known.get(&(id, revision)) {
                known.model.services.iter().for_each(|s| {
                    free.remove(&s.name);
                });
            }
        }
        Ok(free)
    }
}

/// The kind of a workload's object, and the object if it is there.
pub(super) fn workload_object(
    kind: WorkloadKind,
    app: &Name,
    name: &Name,
    subject: &Subject,
    running: &Running,
    namespace: &str,
) -> Option<(&'static Kind, Option<serde_json::Value>)> {
    let (api, word) = match kind {
        WorkloadKind::Stateless => ("apps/v1", "Deployment"),
        WorkloadKind::Stateful => ("apps/v1", "StatefulSet"),
        WorkloadKind::Global => ("apps/v1", "DaemonSet"),
        WorkloadKind::Job => ("batch/v1", "Job"),
        WorkloadKind::CronJob => ("batch/v1", "CronJob"),
    };
    let kind_of = Kind::of(api, word)?;
    let text = if kind == WorkloadKind::Job { made::job_name(name, subject.view.current, restarted_at(subject, name)) } else { name.to_string() };
    Some((kind_of, running.engine.object(kind_of, namespace, &made::named(app, &text))))
}
