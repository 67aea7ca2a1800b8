//! What pods mean for recorded instances.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Meta;
use gantry_kernel::{AppId, InstanceId, Name, OrgId, ProjectId, SpaceId};
use gantry_kubernetes::Pod;

use super::kept::Looked;
use crate::adapters::clusters::Running;
use crate::domain::cluster::{cluster_of, node_name, observed, ordinal};
use crate::domain::engine::Report;
use crate::domain::model::WorkloadKind;
use crate::domain::observe::{self, Phase};
use crate::flows::reconcile::{Reconciler, subject};
use crate::store;

/// At least so often all instances are compared with all pods, whatever the watches have told.
const ALL: time::Duration = time::Duration::seconds(60);

impl Reconciler {
    /// Pods become instances, and what happens to them events. Only applications whose pods have changed are looked at, unless the
    /// clusters themselves have: a round costs what has happened, not what there is.
    pub(in crate::flows) async fn observe_clusters(&mut self) -> anyhow::Result<()> {
        let running = self.s.clusters.all();
        let (moved, looked) = self.to_look_at(&running);
        let alive = match &moved {
            None => self.alive().await?,
            Some(apps) if apps.is_empty() => {
                self.clusters.looked = Some(looked);
                return Ok(());
            }
            Some(apps) => self.alive_of_all(apps).await?,
        };
        let on_clusters = alive.iter().filter(|i| cluster_of(&i.node).is_some());
        if running.is_empty() && on_clusters.clone().next().is_none() {
            self.clusters.looked = Some(looked);
            return Ok(());
        }
        let mut events = Vec::new();
        let known: HashSet<InstanceId> = alive.iter().map(|i| InstanceId(i.id)).collect();
        // What a lost cluster showed last is no news.
        let names: BTreeSet<&str> = running.iter().filter(|(_, one)| !one.lost).map(|(name, _)| name.as_str()).collect();
        for row in on_clusters.clone().filter(|i| cluster_of(&i.node).is_some_and(|c| !names.contains(c) && !self.clusters.again.contains_key(c))) {
            let Ok(node) = Name::parse(&row.node) else { continue };
            events.push(InstanceEvent::Lost { instance: InstanceId(row.id), app: AppId(row.app), node });
        }
        let mut new: BTreeMap<AppId, Vec<(String, Pod)>> = BTreeMap::new();
        for (name, one) in &running {
            // What has not been seen must not be taken for gone.
            if one.lost || !one.engine.connection().synced {
                continue;
            }
            let mut report = Report { generation: u64::MAX, ..Report::default() };
            let mut stopping = HashSet::new();
            let mut see = |pod: &Pod| {
                let Ok(id) = pod.uid.parse::<InstanceId>() else { return };
                if pod.state == gantry_kubernetes::State::Stopping {
                    stopping.insert(id);
                }
                report.instances.insert(id, observed(pod));
                if let Some(app) =
                    pod.owner.parse::<AppId>().ok().filter(|_| !known.contains(&id) && !pod.node.is_empty() && !self.clusters.ended.contains(&id))
                {
                    new.entry(app).or_default().push((name.clone(), pod.clone()));
                }
            };
            match &moved {
                None => one.engine.each_pod(&mut see),
                Some(apps) => apps.iter().for_each(|app| one.engine.each_pod_of(&app.to_string(), &mut see)),
            }
            for row in on_clusters.clone().filter(|i| cluster_of(&i.node) == Some(name)) {
                let (id, app, phase) = (InstanceId(row.id), AppId(row.app), Phase::parse(&row.phase));
                let gone = !report.instances.contains_key(&id);
                if phase != Phase::Stopping && (gone || stopping.contains(&id)) {
                    events.push(InstanceEvent::Stopping { instance: id, app });
                }
                if gone {
                    events.push(InstanceEvent::Stopped { instance: id, app, exit_code: 0, reason: "removed".into() });
                    continue;
                }
                if stopping.contains(&id) {
                    continue;
                }
                let known = observe::Known { id, app, phase, address: row.address.clone(), restarts: row.restarts.unsigned_abs(), told: Some(0) };
                events.extend(observe::changes(
                    &[known],
                    &Report { instances: report.instances.remove_entry(&id).into_iter().collect(), ..Report { generation: u64::MAX, ..Report::default() } },
                ));
            }
        }
        for event in &events {
            if let InstanceEvent::Stopped { instance, .. } = event {
                self.clusters.ended.insert(*instance);
            }
        }
        self.place_pods(new, &alive, &mut events).await?;
        self.dirty.extend(self.unsettled.iter().copied().filter(|app| self.s.clusters.has(*app)));
        // One whose instance has just been recorded is compared with its pod again.
        let again: BTreeSet<AppId> = events.iter().map(|event| subject(event).2).collect();
        self.record(events, Meta::system()).await?;
        self.clusters.owed.extend(again);
        self.clusters.looked = Some(looked);
        Ok(())
    }

    /// The applications whose instances are to be compared with their pods, all if none are named; and what to remember when that
    /// is done: what fails on its way is done again for all.
    fn to_look_at(&mut self, running: &[(String, Running)]) -> (Option<BTreeSet<AppId>>, Looked) {
        let now = self.s.host.env.now();
        let mut moved = std::mem::take(&mut self.clusters.owed);
        for (_, one) in running {
            moved.extend(one.engine.moved().iter().filter_map(|owner| owner.parse::<AppId>().ok()));
        }
        let clusters = running.iter().map(|(name, one)| (name.clone(), (one.id, one.lost, one.engine.connection().synced))).collect();
        let again = self.clusters.again.keys().cloned().collect();
        let mut looked = Looked { at: now, clusters, again };
        match self.clusters.looked.take() {
            Some(before) if before.clusters == looked.clusters && before.again == looked.again && now - before.at < ALL => {
                looked.at = before.at;
                (Some(moved), looked)
            }
            _ => (None, looked),
        }
    }

    /// Pods that are seen for the first time.
    async fn place_pods(
        &mut self,
        new: BTreeMap<AppId, Vec<(String, Pod)>>,
        alive: &[Arc<store::instance::Model>],
        events: &mut Vec<InstanceEvent>,
    ) -> anyhow::Result<()> {
        for (app, pods) in new {
            let ids: Vec<InstanceId> = pods.iter().filter_map(|(_, p)| p.uid.parse().ok()).collect();
            let recorded = store::instances_of(self.s.orm(), app, &ids).await?;
            // Lost with the cluster that they ran on, and seen again on the same imported anew.
            let (lost, ended): (Vec<_>, Vec<_>) = recorded.into_iter().partition(|i| Phase::parse(&i.phase) == Phase::Lost);
            let ended: HashSet<InstanceId> = ended.into_iter().map(|i| InstanceId(i.id)).collect();
            self.clusters.returned.extend(lost.into_iter().map(|i| InstanceId(i.id)));
            self.clusters.ended.extend(ended.iter().copied());
            let Some(row) = store::app_by_id(self.s.orm(), app).await? else { continue };
            let mut taken: HashMap<String, BTreeSet<u32>> = HashMap::new();
            for i in alive.iter().filter(|i| i.app == app.0) {
                taken.entry(i.workload.clone()).or_default().insert(i.number.unsigned_abs());
            }
            for (cluster, pod) in pods {
                let (Ok(instance), Ok(workload)) = (pod.uid.parse::<InstanceId>(), Name::parse(&pod.workload)) else { continue };
                let Some(node) = node_name(&cluster, &pod.node).filter(|_| !ended.contains(&instance)) else { continue };
                self.know(app, pod.revision).await?;
                let of = self.known.get(&(app, pod.revision)).and_then(|k| k.model.workloads.get(&workload).cloned());
                let Some(of) = of else { continue };
                let numbers = taken.entry(pod.workload.clone()).or_default();
                let free = (0..).find(|n| !numbers.contains(n)).unwrap_or(0);
                let index = if of.kind == WorkloadKind::Stateful { ordinal(&pod).unwrap_or(free) } else { free };
                numbers.insert(index);
                events.push(InstanceEvent::Placed {
                    instance,
                    app,
                    org: OrgId(row.org),
                    project: ProjectId(row.project),
                    space: SpaceId(row.space),
                    workload,
                    index,
                    revision: pod.revision,
                    node,
                    cpu_millis: of.requests.cpu_millis,
                    memory_bytes: of.requests.memory_bytes,
                    storage_bytes: of.requests.storage_bytes,
                });
            }
        }
        Ok(())
    }
}
