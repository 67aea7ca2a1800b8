//! What one of several clusters is asked for of an application, and how it stands there. What follows for the whole is decided
//! where all of them are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_kernel::{AppId, Name, SpaceId};
use gantry_kubernetes::{State, Wanted};

use super::objects::{Asked, workload_object};
use super::refusals::replica_failure;
use super::sets::Division;
use super::steps::serving;
use super::stuck::unblock;
use crate::adapters::clusters::Running;
use crate::domain::cluster::{ClusterSettings, lacks_pods, missing_pods, rolled_out};
use crate::domain::kubernetes::cluster as made;
use crate::domain::model::{Model, WorkloadKind};
use crate::flows::advance::Subject;
use crate::flows::reconcile::Reconciler;
use crate::flows::rollout::Exchange;
use crate::flows::world::World;
use crate::store::Pending;

/// One cluster's side of an application.
pub(in crate::flows) struct Side<'a> {
    pub cluster: &'a str,
    /// Its part.
    pub goal: &'a Model,
    /// All of it, on all clusters.
    pub whole: &'a Model,
    /// With what is other there for this space.
    pub settings: &'a ClusterSettings,
    /// The release that exchanges instances, as this one has it.
    pub exchange: Option<&'a Exchange>,
}

/// How it stands there.
pub(in crate::flows) enum Stood {
    /// `may_step`: as far as it is concerned, the next stage of its release can begin.
    Stands { as_wanted: bool, may_step: bool },
    /// It cannot be looked at yet.
    Waits,
    /// What is to be asked for could not be put together; what was asked for before stays.
    NotNow,
}

impl Reconciler {
    pub(in crate::flows) async fn stand_on(
        &mut self,
        side: &Side<'_>,
        subject: &Subject,
        world: &mut World,
        pending: &mut BTreeMap<String, Pending>,
    ) -> anyhow::Result<Stood> {
        let (app, cluster) = (subject.view.id, side.cluster);
        let waits = |why: &str| -> BTreeMap<String, Pending> {
            side.goal.workloads.keys().map(|name| (name.to_string(), Pending::because(0, why.to_owned()))).collect()
        };
        let Some(running) = self.s.clusters.get(cluster) else {
            *pending = waits("its access cannot be used");
            return Ok(Stood::Waits);
        };
        let mut running = running;
        running.settings.clone_from(side.settings);
        let connection = running.engine.connection();
        if connection.found.is_none() {
            *pending = waits(connection.problem.as_deref().unwrap_or("the cluster is being looked at"));
            return Ok(Stood::Waits);
        }
        let owner = app.to_string();
        self.s.clusters.serves(app, cluster, serving(subject).into_iter().filter(|(_, workload)| side.goal.workloads.contains_key(workload)).collect());
        let division = self.divide(subject, side.goal, side.exchange, &running);
        let Some(wanted) = self.objects_of(side, (side.goal.clone(), &division), subject, &running, world, pending).await? else { return Ok(Stood::NotNow) };
        let space = made::space(&subject.view.home, &running.settings, self.s.config.default_cpu_millis, self.s.config.default_memory_bytes);
        let space_id = subject.row.space.to_string();
        // As on one cluster: not before all that stands there has been seen.
        let synced = connection.synced;
        if synced {
            running.engine.want(&space_id, Arc::new(Wanted::new(&running.scope, &space_id, space)));
            running.engine.want(&owner, Arc::new(wanted));
        }
        let (standing, space) = (running.engine.standing(&owner), running.engine.standing(&space_id));
        let namespace = made::namespace(&subject.view.home, &running.settings);
        let connection = running.engine.connection();
        let away = running.health.pulse().trouble().map(|(_, problem)| problem.to_owned());
        let applied = synced && standing.applied && standing.problem.is_none();
        self.note_leaving(app, &running, &division, applied);
        let mut as_wanted = applied && division.spared.is_empty() && pending.is_empty() && away.is_none();
        let problem = away.clone().or(connection.problem.filter(|_| !connection.synced)).or(space.problem).or(standing.problem);
        for (name, workload) in &side.goal.workloads {
            let Some((kind, object)) = workload_object(workload.kind, name, subject, &running, &namespace) else { continue };
            let rolled = rolled_out(workload.kind, object.as_ref());
            as_wanted &= rolled.is_ok();
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
        let may_step = side.exchange.is_none_or(|e| e.ended() || (applied && self.may_step(e, subject, side.goal, &division, &running)));
        Ok(if away.is_some() { Stood::Waits } else { Stood::Stands { as_wanted, may_step } })
    }

    /// What depends on something waits for it wherever that is.
    async fn objects_of(
        &mut self,
        side: &Side<'_>,
        (mut own, division): (Model, &Division),
        subject: &Subject,
        running: &Running,
        world: &mut World,
        pending: &mut BTreeMap<String, Pending>,
    ) -> anyhow::Result<Option<Wanted>> {
        let namespace = made::namespace(&subject.view.home, &running.settings);
        for (name, workload) in &side.goal.workloads {
            let there = workload_object(workload.kind, name, subject, running, &namespace).is_some_and(|(_, object)| object.is_some());
            let elsewhere = workload.depends_on.keys().any(|needed| !side.goal.workloads.contains_key(needed));
            if let Some(reason) = self.dependency(subject, side.whole, workload, world).filter(|_| elsewhere && !there) {
                own.workloads.remove(name);
                pending.insert(name.to_string(), Pending::because(workload.replicas, reason));
            }
        }
        self.objects_for(Asked { subject, goal: &own, exchange: side.exchange, division }, running, world, pending).await
    }

    /// An application is on no cluster but these any more.
    pub(in crate::flows) fn leave_all_but(&mut self, app: AppId, space: SpaceId, names: &BTreeSet<&str>) {
        let owner = app.to_string();
        for (name, running) in self.s.clusters.all() {
            if !names.contains(name.as_str()) && running.engine.has(&owner) {
                running.engine.unwant(&owner);
                self.clusters.left.insert((name, space));
            }
        }
        self.s.clusters.is_only_on(app, names);
        if names.is_empty() {
            self.clusters.refusals.retain(|(of, _), _| *of != app);
        }
    }
}

/// The pods of one workload.
#[derive(Default)]
pub(super) struct Pods {
    pub pods: u64,
    /// Those of them that have a node.
    pub placed: u64,
    pub starting: bool,
    /// Those of them that have none.
    pub missing: u32,
    /// Why one has no node.
    pub waits: Option<String>,
}

impl Pods {
    pub fn of(running: &Running, owner: &str, workload: &Name) -> Self {
        let mut out = Self::default();
        running.engine.each_pod_of(owner, |pod| {
            if pod.workload != workload.as_str() {
                return;
            }
            let alive = !matches!(pod.state, State::Succeeded | State::Failed);
            out.pods += u64::from(alive);
            out.placed += u64::from(alive && pod.state != State::Pending);
            out.starting |= matches!(pod.state, State::Pending | State::Starting);
            if pod.state == State::Pending {
                out.missing += 1;
                out.waits.get_or_insert_with(|| pod.reason.clone());
            }
        });
        out
    }
}
