//! The part of a round about Kubernetes clusters: which there are, what their pods mean for recorded instances, and what is
//! wanted of a cluster for an application. The engine itself does the steps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Meta;
use gantry_kernel::{AppId, InstanceId, Name, OffsetDateTime, OrgId, ProjectId, SpaceId};
use gantry_kubernetes::{Kind, Pod, Wanted};
use serde_json::json;

use super::advance::{Subject, restarted_at};
use super::reconcile::Reconciler;
use super::world::World;
use crate::adapters::clusters::Running;
use crate::adapters::images;
use crate::app::change::scaled;
use crate::app::clusters;
use crate::app::kept::filling;
use crate::domain::cluster::{ClusterSettings, cluster_of, lacks_pods, node_name, observed, ordinal, refusal, rolled_out};
use crate::domain::engine::Report;
use crate::domain::kubernetes::cluster::{self as made, Place};
use crate::domain::model::{Model, WorkloadKind};
use crate::domain::observe::{self, Phase};
use crate::store::{self, Pending};

/// What is remembered between rounds; all of it can be found anew.
#[derive(Default)]
pub(super) struct Kept {
    /// The rows have to be read again.
    pub stale: bool,
    read: bool,
    /// Pods whose instances have ended: they stay on the cluster for a while.
    ended: HashSet<InstanceId>,
    /// Pods whose instances were lost and are placed again.
    pub returned: HashSet<InstanceId>,
    /// When credentials for images are to be renewed.
    renew: BTreeMap<AppId, OffsetDateTime>,
    /// Spaces that applications have left a cluster in.
    left: BTreeSet<(String, SpaceId)>,
    /// Why pods are refused, as events said it, and when to ask again.
    refusals: BTreeMap<(AppId, Name), (OffsetDateTime, Option<String>)>,
    /// When events of a cluster may be asked for again.
    events_at: BTreeMap<String, OffsetDateTime>,
    /// What each cluster could do at the last look.
    able: BTreeMap<String, (u32, bool)>,
    /// Clusters that could not be opened, and when to try again.
    again: BTreeMap<String, OffsetDateTime>,
}

impl Kept {
    /// Applications that something is due for.
    pub fn due(&mut self, now: OffsetDateTime) -> Vec<AppId> {
        self.renew.extract_if(.., |_, at| *at <= now).map(|(app, _)| app).collect()
    }
}

impl Reconciler {
    /// Starts, changes and stops engines as the rows say, and sees to what is on a cluster of those who are gone.
    pub(super) async fn keep_clusters(&mut self) -> anyhow::Result<()> {
        self.read_clusters().await?;
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
                let able = (found.minor, found.capabilities.gateway);
                if self.clusters.able.insert(name, able).is_some_and(|before| before != able) {
                    self.dirty.extend(store::cared_for(self.s.orm()).await?);
                }
            }
        }
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
        let rows = store::clusters(self.s.orm()).await?;
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
                self.s.clusters.set(&row.name, settings);
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

    /// Pods become instances, and what happens to them events.
    pub(super) async fn observe_clusters(&mut self) -> anyhow::Result<()> {
        let running = self.s.clusters.all();
        let alive = store::all_alive(self.s.orm()).await?;
        let on_clusters = alive.iter().filter(|i| cluster_of(&i.node).is_some());
        if running.is_empty() && on_clusters.clone().next().is_none() {
            return Ok(());
        }
        let mut events = Vec::new();
        let known: HashSet<InstanceId> = alive.iter().map(|i| InstanceId(i.id)).collect();
        let names: BTreeSet<&str> = running.iter().map(|(name, _)| name.as_str()).collect();
        for row in on_clusters.clone().filter(|i| cluster_of(&i.node).is_some_and(|c| !names.contains(c) && !self.clusters.again.contains_key(c))) {
            let Ok(node) = Name::parse(&row.node) else { continue };
            events.push(InstanceEvent::Lost { instance: InstanceId(row.id), app: AppId(row.app), node });
        }
        let mut new: BTreeMap<AppId, Vec<(String, Pod)>> = BTreeMap::new();
        for (name, one) in &running {
            // What has not been seen must not be taken for gone.
            if !one.engine.connection().synced {
                continue;
            }
            let mut report = Report { generation: u64::MAX, ..Report::default() };
            let mut stopping = HashSet::new();
            one.engine.each_pod(|pod| {
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
            });
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
        self.record(events, Meta::system()).await
    }

    /// Pods that are seen for the first time.
    async fn place_pods(
        &mut self,
        new: BTreeMap<AppId, Vec<(String, Pod)>>,
        alive: &[store::instance::Model],
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

    /// The next steps of an application whose space is on a cluster. True: all is as wanted.
    pub(super) async fn advance_on_cluster(&mut self, cluster: &str, subject: &Subject, goal: &Model, world: &mut World) -> anyhow::Result<bool> {
        let app = subject.view.id;
        // Another organisation may have one of this name by now.
        let mine = |one: &Running| one.org.is_none_or(|org| org.0 == subject.row.org);
        let Some(running) = self.s.clusters.get(cluster).filter(mine) else {
            let reason = format!("the cluster `{cluster}` is not known or its access cannot be used; see `gantry cluster test {cluster}`");
            return self.wait_on_cluster(subject, goal, reason).await;
        };
        let connection = running.engine.connection();
        if connection.found.is_none() {
            let reason = connection.problem.unwrap_or_else(|| format!("the cluster `{cluster}` is being looked at"));
            return self.wait_on_cluster(subject, goal, reason).await;
        }
        let owner = app.to_string();
        let serving = subject.view.services().into_iter().filter(|(_, s)| s.has_rotation());
        self.s.clusters.serves(app, cluster, serving.map(|(_, s)| (subject.view.service_id(s), s.workload.clone())).collect());
        let mut pending = BTreeMap::new();
        if subject.row.deleted {
            running.engine.unwant(&owner);
            if store::apps(self.s.orm(), SpaceId(subject.row.space), None, 1).await?.is_empty() {
                running.engine.unwant(&subject.row.space.to_string());
            }
        } else {
            let Some(wanted) = self.objects_for(subject, goal, &running, world, &mut pending).await? else { return Ok(false) };
            let home = &subject.view.home;
            let space = made::space(home, &running.settings, self.s.config.default_cpu_millis, self.s.config.default_memory_bytes);
            let space_id = subject.row.space.to_string();
            running.engine.want(&space_id, std::sync::Arc::new(Wanted::new(&running.scope, &space_id, space)));
            running.engine.want(&owner, std::sync::Arc::new(wanted));
        }
        let standing = running.engine.standing(&owner);
        let space = running.engine.standing(&subject.row.space.to_string());
        let mut settled = if subject.row.deleted { standing.gone } else { standing.applied && standing.problem.is_none() && pending.is_empty() };
        let namespace = made::namespace(&subject.view.home, &running.settings);
        let connection = running.engine.connection();
        let problem = connection.problem.filter(|_| !connection.synced).or(space.problem).or(standing.problem);
        for (name, workload) in &goal.workloads {
            let Some((kind, object)) = workload_object(workload.kind, &subject.view.name, name, subject, &running, &namespace) else { continue };
            let rolled = rolled_out(workload.kind, object.as_ref());
            settled &= rolled.is_ok();
            let mut missing = 0;
            let mut waits = None;
            let (mut pods, mut starting) = (0, false);
            running.engine.each_pod_of(&owner, |pod| {
                use gantry_kubernetes::State;
                if pod.workload != name.as_str() {
                    return;
                }
                pods += u64::from(!matches!(pod.state, State::Succeeded | State::Failed));
                starting |= matches!(pod.state, State::Pending | State::Starting);
                if pod.state == State::Pending {
                    missing += 1;
                    waits.get_or_insert_with(|| pod.reason.clone());
                }
            });
            let mut reason = problem.clone().or(waits).or(rolled.err().filter(|_| kind.kind == "Deployment" && replica_failure(object.as_ref())));
            match object.filter(|o| reason.is_none() && !starting && lacks_pods(workload.kind, Some(o), pods)) {
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
        let now = self.s.host.env.now();
        store::save_pending(self.s.orm(), app, &pending, now).await?;
        let meta = Meta::system().tenant(OrgId(subject.row.org));
        self.record(events, meta.clone()).await?;
        let reserved = self.keep_reserved(subject, goal, None, world).await;
        self.move_release(subject, settled, false, &pending, meta).await?;
        if subject.row.deleted && settled {
            self.s.clusters.left(app);
            self.clusters.refusals.retain(|(of, _), _| *of != app);
        }
        Ok(settled && reserved)
    }

    async fn wait_on_cluster(&self, subject: &Subject, goal: &Model, reason: String) -> anyhow::Result<bool> {
        let pending = goal.workloads.keys().map(|name| (name.to_string(), Pending::because(0, reason.clone()))).collect();
        store::save_pending(self.s.orm(), subject.view.id, &pending, self.s.host.env.now()).await?;
        Ok(false)
    }

    /// Why the pods of an object are not made, which only its events say. Asked seldom, of one object at a time, and not waited
    /// for long: whatever else is to be done waits meanwhile.
    async fn refusal(&mut self, cluster: &str, running: &Running, app: AppId, name: &Name, kind: &Kind, object: &serde_json::Value) -> Option<String> {
        let (now, key) = (self.s.host.env.now(), (app, name.clone()));
        let before = self.clusters.refusals.get(&key).cloned();
        let busy = self.clusters.events_at.get(cluster).is_some_and(|at| *at > now);
        if busy || before.as_ref().is_some_and(|(at, _)| *at > now) {
            return before.and_then(|(_, told)| told);
        }
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let path = format!(
            "/api/v1/namespaces/{}/events?fieldSelector=involvedObject.kind%3D{}%2CinvolvedObject.name%3D{}%2Ctype%3DWarning&limit=100",
            text("namespace"),
            kind.kind,
            text("name")
        );
        let asked = tokio::time::timeout(std::time::Duration::from_secs(2), running.engine.client().get(&path)).await;
        let (pause, told) = match asked {
            Ok(Ok(events)) => (1, refusal(&events, text("uid"))),
            Ok(Err(trouble)) => {
                tracing::debug!(cluster.name = cluster, app.id = %app, error = %trouble, "events cannot be read now");
                (30, before.and_then(|(_, told)| told))
            }
            Err(_) => (30, before.and_then(|(_, told)| told)),
        };
        self.clusters.events_at.insert(cluster.to_owned(), now + time::Duration::seconds(pause));
        self.clusters.refusals.insert(key, (now + time::Duration::seconds(15), told.clone()));
        told
    }

    /// `None`: not now, and what was wanted before stays.
    async fn objects_for(
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

    /// An application is not on any cluster but this one any more.
    pub(super) fn leave_clusters(&mut self, app: AppId, space: SpaceId, but: Option<&str>) {
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

/// The kind of a workload's object, and the object if it is there.
fn workload_object(
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

fn replica_failure(object: Option<&serde_json::Value>) -> bool {
    let conditions = object.and_then(|o| o["status"]["conditions"].as_array());
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "ReplicaFailure" && c["status"] == "True"))
}
