//! The part of a round about one application on a cluster. The engine itself does the steps.

use std::collections::BTreeMap;

use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Meta;
use gantry_kernel::{InstanceId, OrgId, SpaceId};
use gantry_kubernetes::Wanted;

use super::objects::{Asked, workload_object};
use super::refusals::replica_failure;
use super::stand::Pods;
use super::stuck::unblock;
use crate::adapters::clusters::{Running, Serving};
use crate::domain::cluster::{cluster_of, lacks_pods, missing_pods, rolled_out};
use crate::domain::kubernetes::cluster as made;
use crate::domain::model::{Model, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::traffic;
use crate::flows::advance::Subject;
use crate::flows::reconcile::Reconciler;
use crate::flows::rollout::{Exchange, Verdict};
use crate::flows::world::World;
use crate::store::{self, Pending};

impl Reconciler {
    /// The next steps of an application whose space is on a cluster. True: all is as wanted.
    pub(in crate::flows) async fn advance_on_cluster(
        &mut self,
        cluster: &str,
        subject: &Subject,
        goal: &Model,
        exchange: Option<&Exchange>,
        world: &mut World,
    ) -> anyhow::Result<bool> {
        let app = subject.view.id;
        // Another organisation may have one of this name by now.
        let mine = |one: &Running| one.org.is_none_or(|org| org.0 == subject.row.org);
        let Some(running) = self.s.clusters.get(cluster).filter(mine) else {
            let reason = format!("the cluster `{cluster}` is not known or its access cannot be used; see `gantry cluster test {cluster}`");
            return self.wait_on_cluster(subject, goal, reason).await;
        };
        if running.lost {
            let reason = format!("the cluster `{cluster}` is lost: it could not be reached for its grace time; see `gantry cluster show {cluster}`");
            return self.wait_on_cluster(subject, goal, reason).await;
        }
        let connection = running.engine.connection();
        if connection.found.is_none() {
            let reason = connection.problem.unwrap_or_else(|| format!("the cluster `{cluster}` is being looked at"));
            return self.wait_on_cluster(subject, goal, reason).await;
        }
        let owner = app.to_string();
        self.s.clusters.serves(app, cluster, serving(subject));
        let mut pending = BTreeMap::new();
        let division = self.divide(subject, goal, exchange, &running);
        if subject.row.deleted {
            running.engine.unwant(&owner);
            if store::apps(self.s.orm(), SpaceId(subject.row.space), None, 1).await?.is_empty() {
                running.engine.unwant(&subject.row.space.to_string());
            }
        } else {
            let Some(wanted) = self.objects_for(Asked { subject, goal, exchange, division: &division }, &running, world, &mut pending).await? else {
                return Ok(false);
            };
            let home = &subject.view.home;
            let space = made::space(home, &running.settings, self.s.config.default_cpu_millis, self.s.config.default_memory_bytes);
            let space_id = subject.row.space.to_string();
            // What is asked for depends on what stands there: it is asked for when all of that has been seen, and nothing is done before.
            if connection.synced {
                running.engine.want(&space_id, std::sync::Arc::new(Wanted::new(&running.scope, &space_id, space)));
                running.engine.want(&owner, std::sync::Arc::new(wanted));
            }
        }
        let standing = running.engine.standing(&owner);
        let applied = connection.synced && standing.applied && standing.problem.is_none();
        self.note_leaving(app, &running, &division, applied);
        let space = running.engine.standing(&subject.row.space.to_string());
        let mut settled = if subject.row.deleted { standing.gone } else { applied && pending.is_empty() && division.spared.is_empty() };
        let namespace = made::namespace(&subject.view.home, &running.settings);
        let connection = running.engine.connection();
        let problem = connection.problem.filter(|_| !connection.synced).or(space.problem).or(standing.problem);
        for (name, workload) in &goal.workloads {
            let Some((kind, object)) = workload_object(workload.kind, name, subject, &running, &namespace) else { continue };
            let rolled = rolled_out(workload.kind, object.as_ref());
            settled &= rolled.is_ok();
            if let Some(reason) =
                unblock(&running, &owner, name, subject.view.current, object.as_ref().filter(|_| workload.kind == WorkloadKind::Stateful)).await
            {
                pending.entry(name.to_string()).or_insert_with(|| Pending::because(0, reason));
            }
            let seen = Pods::of(&running, &owner, name);
            let missing = missing_pods(workload.kind, object.as_ref(), workload.replicas, seen.placed).max(seen.missing);
            let mut reason = problem.clone().or(seen.waits).or(rolled.err().filter(|_| kind.kind == "Deployment" && replica_failure(object.as_ref())));
            match object.filter(|o| reason.is_none() && !seen.starting && lacks_pods(workload.kind, Some(o), seen.pods)) {
                Some(object) => reason = self.refusal(cluster, &running, app, name, kind, &object).await,
                None => {
                    self.clusters.refusals.remove(&(app, name.clone()));
                }
            }
            if let Some(reason) = reason {
                pending.entry(name.to_string()).or_insert_with(|| Pending::because(missing, reason));
            }
        }
        // Instances on nodes with agents go when the cluster has all of it; what was deleted or stopped goes at once.
        let elsewhere: Vec<_> = subject.alive.iter().filter(|i| cluster_of(&i.node) != Some(cluster)).collect();
        let mut events = Vec::new();
        if settled || goal.workloads.is_empty() {
            let stops = elsewhere.iter().filter(|i| cluster_of(&i.node).is_none() && Phase::parse(&i.phase) != Phase::Stopping);
            events.extend(stops.map(|i| InstanceEvent::Stopping { instance: InstanceId(i.id), app }));
            self.leave_clusters(app, SpaceId(subject.row.space), Some(cluster));
        }
        settled &= subject.alive.iter().all(|i| i.revision == subject.row.current && !goal.workloads.is_empty() && cluster_of(&i.node) == Some(cluster));
        let meta = Meta::system().tenant(OrgId(subject.row.org));
        if let Some(exchange) = exchange {
            if self.give_up(exchange, subject, meta.clone()).await? {
                // What it says is looked at again with its new row.
                return Ok(false);
            }
            if let (Verdict::Open(reason), Some(first)) = (&exchange.verdict, goal.workloads.keys().next()) {
                let waits = || Pending::because(0, format!("the next step of the release waits: {reason}"));
                pending.entry(first.to_string()).or_insert_with(waits);
            }
        }
        let now = self.s.host.env.now();
        store::save_pending(self.s.orm(), app, &pending, now).await?;
        self.record(events, meta.clone()).await?;
        self.keep_reserved(subject, goal, exchange, world).await;
        let (mut ended, mut rests) = (true, false);
        if let Some(exchange) = exchange {
            let steps = exchange.ended() || (applied && self.may_step(exchange, subject, goal, &division, &running));
            ended = steps && self.step_on(exchange, subject, goal, world, meta.clone()).await?;
            rests = self.rests(exchange, subject, goal, world);
        }
        self.note_rest(subject, rests);
        if !rests && !subject.row.release_paused {
            self.move_release(subject, settled && ended, exchange.is_some(), &pending, meta).await?;
        }
        if subject.row.deleted && settled {
            self.s.clusters.left(app);
            self.clusters.refusals.retain(|(of, _), _| *of != app);
        }
        // Somebody, or a time, is waited for: nothing has to be looked at before.
        let calm = if rests { applied && division.spared.is_empty() } else { settled && ended };
        Ok(calm)
    }

    async fn wait_on_cluster(&self, subject: &Subject, goal: &Model, reason: String) -> anyhow::Result<bool> {
        let pending = goal.workloads.keys().map(|name| (name.to_string(), Pending::because(0, reason.clone()))).collect();
        store::save_pending(self.s.orm(), subject.view.id, &pending, self.s.host.env.now()).await?;
        Ok(false)
    }
}

/// What an application serves, as the cluster's part of the reports tells it.
pub(super) fn serving(subject: &Subject) -> Serving {
    let mut out = Serving::new();
    for (_, service) in subject.view.services() {
        let id = subject.view.service_id(service);
        if traffic::is_seen(service) {
            out.push((traffic::preview_id(&id), service.workload.clone()));
        }
        if service.has_rotation() {
            out.push((id, service.workload.clone()));
        }
    }
    out
}
