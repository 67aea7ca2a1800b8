//! The reconciler: makes the world match what the events say. Woken by the log, by agents and by a timer; without input;
//! each round looks at what is and takes the next steps, so a repeated or lost wake costs nothing. One process at a time
//! holds the lease and decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gantry_contract::cluster::ClusterEvent;
use gantry_contract::kept::ConfigEvent;
use gantry_contract::scheduler::{AppEvent, InstanceEvent, NodeEvent, PlacementEvent};
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, Appended, Lease, StreamWrite};
use gantry_kernel::{AppId, InstanceId, Name, OffsetDateTime, SpaceId};
use tokio::time::Instant;

use super::push::Pushed;
use super::queue::Passed;
use super::reserved::Leftovers;
use super::rows::Rows;
use super::together::AT_ONCE;
use super::world::{Formulas, Known};
use crate::app::Scheduler;
use crate::domain::model::Demand;
use crate::store;

/// While something is not as wanted yet.
const BUSY: Duration = Duration::from_millis(500);
/// When all is well: only nodes that fall silent and credentials that age need the timer.
const CALM: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(1);
/// Events of the log.
const READ_AT_ONCE: i64 = 1_000;
/// In a round with many applications nodes hear of the first ones after this time, see [`untold`].
const UNTOLD: Duration = Duration::from_millis(300);
/// To tell all nodes takes this part of such a round at most, one in so many: each is told its whole state, also of the instances that it
/// is told of a moment later.
const TELLING: u32 = 5;
/// They hear of it after this time in any case: it may have taken long because the database was slow once.
const UNTOLD_MOST: Duration = Duration::from_secs(10);

pub struct Reconciler {
    pub(super) s: Scheduler,
    /// The log has been followed up to here.
    position: i64,
    pub(super) dirty: BTreeSet<AppId>,
    /// Those of them that events of their own are about, and not only of what concerns everybody.
    news: BTreeSet<AppId>,
    /// Nodes of which something has been heard.
    heard: BTreeSet<Name>,
    /// Applications that want one instance on each node: whoever else waits for a node is looked at in every round until it has one.
    pub(super) everywhere: BTreeSet<AppId>,
    pub(super) unsettled: BTreeSet<AppId>,
    /// Since when this process decides: nodes have so long to come back.
    pub(super) since: OffsetDateTime,
    /// The same by the time in which nodes could be heard.
    pub(super) leading: Duration,
    /// What was last reserved for each application.
    pub(super) reserved: BTreeMap<AppId, Demand>,
    pub(super) leftovers: Leftovers,
    /// Applications that were not as wanted after the last round.
    pub(super) busy: BTreeSet<AppId>,
    /// The highest priority among each application's workloads, as of its last look.
    pub(super) priorities: HashMap<AppId, i32>,
    /// What revisions with instances are.
    pub(super) known: HashMap<(AppId, u64), Arc<Known>>,
    /// Spaces' expressions as of the last round.
    pub(super) formulas: Formulas,
    /// Workloads for which others make room, and those who have to go. These and the targets are written down, too.
    pub(super) nominated: BTreeMap<(AppId, Name), Vec<InstanceId>>,
    /// Where instances that are moved to make the cluster even are to go.
    pub(super) targets: BTreeMap<InstanceId, String>,
    /// Applications that wait for room in the quota: not asked again before.
    pub(super) queued_until: BTreeMap<AppId, OffsetDateTime>,
    /// Those for whom others need not wait in the queue.
    pub(super) passed: BTreeMap<AppId, Passed>,
    /// When workloads with a schedule are due next.
    pub(super) runs_at: BTreeMap<(AppId, Name), OffsetDateTime>,
    /// Bad answers in a row to the checks of releases, by the number of the last answer.
    pub(super) bad: BTreeMap<(AppId, u64, usize), (u64, u32)>,
    /// Applications that depend on what is measured.
    pub(super) measured: BTreeSet<AppId>,
    /// The last looks at workloads whose number follows something, and when they were written down.
    pub(super) scaled: BTreeMap<(AppId, Name), store::Scaled>,
    pub(super) written_at: BTreeMap<(AppId, Name), OffsetDateTime>,
    /// Workloads for which the quota had no room: not looked at again before.
    pub(super) full_until: BTreeMap<(AppId, Name), OffsetDateTime>,
    /// When releases take their next step.
    pub(super) steps_at: BTreeMap<AppId, OffsetDateTime>,
    /// Releases that have rested: none while they rest, and then since when they go on.
    pub(super) rested: BTreeMap<AppId, Option<OffsetDateTime>>,
    /// When the next toleration for some time ends.
    evict_at: Option<OffsetDateTime>,
    /// A node has come or come back, and the cluster may be uneven.
    pub(super) uneven: bool,
    pub(super) clusters: super::on_cluster::Kept,
    /// Instances and nodes as their rows were last.
    pub(super) rows: Rows,
    pub(super) pushed: Pushed,
    /// How long it took to tell the nodes last.
    telling: Duration,
    /// Positions of own events after which the rows were looked at anew already, as far as the log has not been followed.
    recorded: BTreeSet<i64>,
}

impl Reconciler {
    /// Runs until shutdown.
    pub async fn run(s: Scheduler) {
        while !s.host.cancel.is_cancelled() {
            let Some(mut lease) = Lease::acquire(&s.host.db().pool, "reconciler", &s.host.cancel).await else { return };
            let position = s.host.log().head();
            let (since, leading) = (s.host.env.now(), s.agents.awake());
            let mut own = Self {
                s: s.clone(),
                position,
                dirty: BTreeSet::new(),
                news: BTreeSet::new(),
                heard: BTreeSet::new(),
                everywhere: BTreeSet::new(),
                unsettled: BTreeSet::new(),
                since,
                leading,
                reserved: BTreeMap::new(),
                leftovers: Leftovers::default(),
                busy: BTreeSet::new(),
                priorities: HashMap::new(),
                known: HashMap::new(),
                formulas: Formulas::new(),
                nominated: BTreeMap::new(),
                targets: BTreeMap::new(),
                queued_until: BTreeMap::new(),
                passed: BTreeMap::new(),
                runs_at: BTreeMap::new(),
                bad: BTreeMap::new(),
                measured: BTreeSet::new(),
                scaled: BTreeMap::new(),
                written_at: BTreeMap::new(),
                full_until: BTreeMap::new(),
                steps_at: BTreeMap::new(),
                rested: BTreeMap::new(),
                evict_at: None,
                uneven: false,
                clusters: super::on_cluster::Kept::default(),
                rows: Rows::default(),
                pushed: Pushed::default(),
                telling: Duration::ZERO,
                recorded: BTreeSet::new(),
            };
            s.leading.store(true, Ordering::SeqCst);
            tracing::info!("this scheduler decides");
            own.lead(&mut lease).await;
            s.leading.store(false, Ordering::SeqCst);
            s.agents.detach_all();
            s.clusters.stop_all();
            lease.release().await;
        }
    }

    async fn lead(&mut self, lease: &mut Lease) {
        let mut head = self.s.host.log().watch_head();
        let mut agents = self.s.agents.changes();
        let mut measures = self.s.measures.changes();
        let mut clusters = self.s.clusters.changes();
        let mut all = true;
        loop {
            if measures.has_changed().unwrap_or(false) {
                measures.mark_unchanged();
                self.dirty.append(&mut self.measured);
            }
            head.mark_unchanged();
            agents.mark_unchanged();
            clusters.mark_unchanged();
            match self.round(all, lease).await {
                Ok(false) => return,
                Ok(true) => {
                    all = false;
                    let pause = if self.unsettled.is_empty() && !self.uneven { CALM } else { BUSY };
                    let pause = self.until_silent().map_or(pause, |ends| ends.min(pause));
                    tokio::select! {
                        () = self.s.host.cancel.cancelled() => return,
                        changed = head.changed() => if changed.is_err() { return },
                        changed = agents.changed() => if changed.is_err() { return },
                        changed = measures.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            self.dirty.append(&mut self.measured);
                        }
                        changed = clusters.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "a round of the reconciler failed and will be repeated");
                    all = true;
                    tokio::select! {
                        () = self.s.host.cancel.cancelled() => return,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
            if self.s.host.cancel.is_cancelled() || !lease.check().await {
                return;
            }
        }
    }

    /// False: it was broken off, since another process may decide by now.
    async fn round(&mut self, all: bool, lease: &mut Lease) -> anyhow::Result<bool> {
        if all {
            self.rows.forget();
            self.settle(self.s.host.log().head()).await?;
            store::forget_gone(self.s.orm()).await?;
            self.dirty.extend(store::cared_for(self.s.orm()).await?);
            self.remember().await?;
        }
        self.follow().await?;
        self.members().await?;
        self.observe().await?;
        let reports = crate::app::view::reports(&self.s);
        // From its first word on there is one more node to place on, also for those who wait for nothing and want one on each.
        if reports.keys().any(|node| !self.heard.contains(node)) {
            self.dirty.extend(&self.everywhere);
        }
        self.heard = reports.keys().cloned().collect();
        // Whoever waits for an application without instances is heard at once.
        let waiting = reports.values().flat_map(|r| &r.waiting);
        self.dirty.extend(waiting.filter_map(|id| id.split('.').next()?.parse::<AppId>().ok()));
        self.keep_clusters().await?;
        self.observe_clusters().await?;
        self.follow().await?;
        self.settle_leftovers().await?;
        let mut todo = std::mem::take(&mut self.dirty);
        let news = std::mem::take(&mut self.news);
        self.busy = std::mem::take(&mut self.unsettled);
        todo.extend(self.busy.iter().copied());
        let now = self.s.host.env.now();
        todo.extend(self.clusters.due(now));
        todo.extend(self.runs_at.extract_if(.., |_, at| *at <= now).map(|((app, _), _)| app));
        todo.extend(self.steps_at.extract_if(.., |_, at| *at <= now).map(|(app, _)| app));
        let due = self.evict_at.is_some_and(|at| at <= self.s.host.env.now());
        if !todo.is_empty() || self.uneven || due {
            let mut world = self.world().await?;
            self.evict_at = world.evict_at;
            self.forget(&world);
            self.displace(&mut world).await?;
            let mut told_at = Instant::now();
            for some in self.by_priority(todo, &news).chunks(AT_ONCE) {
                // A round may take long, and whoever decides by now finds places for the same ones.
                if !lease.check().await {
                    tracing::warn!("the lease was lost in the middle of a round, which is broken off");
                    return Ok(false);
                }
                // Nodes need not wait for all the others: what is recorded counts, and who breaks off here tells it next time.
                if told_at.elapsed() > untold(self.telling) {
                    self.tell().await?;
                    told_at = Instant::now();
                }
                self.advance_all(some, &mut world).await;
            }
        }
        self.tell().await?;
        self.s.moved.send_modify(|n| *n += 1);
        Ok(true)
    }

    async fn tell(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        self.push().await?;
        self.telling = began.elapsed();
        Ok(())
    }

    /// Those for whom room was made come first, then the higher priorities, and of equal ones those that wait for something or have news of
    /// their own: after a change of a cluster all others have to look whether it concerns them, too.
    fn by_priority(&self, todo: BTreeSet<AppId>, news: &BTreeSet<AppId>) -> Vec<AppId> {
        let waiting: BTreeSet<AppId> = self.nominated.keys().map(|(app, _)| *app).collect();
        let mut order: Vec<AppId> = todo.into_iter().collect();
        let is_calm = |app: &AppId| !news.contains(app) && !self.busy.contains(app);
        order.sort_by_key(|app| (!waiting.contains(app), std::cmp::Reverse(self.priorities.get(app).copied().unwrap_or(0)), is_calm(app), *app));
        order
    }

    /// What was remembered of an application that is gone.
    pub(super) fn forget_app(&mut self, app: AppId) {
        self.reserved.remove(&app);
        self.everywhere.remove(&app);
        self.priorities.remove(&app);
        self.queued_until.remove(&app);
        self.passed.remove(&app);
        self.measured.remove(&app);
        self.steps_at.remove(&app);
        self.rested.remove(&app);
        self.runs_at.retain(|(of, _), _| *of != app);
        self.bad.retain(|(of, ..), _| *of != app);
        self.scaled.retain(|(of, _), _| *of != app);
        self.written_at.retain(|(of, _), _| *of != app);
        self.full_until.retain(|(of, _), _| *of != app);
    }

    /// Marks what the log has news about.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let (mut position, mut everybody, mut nodes) = (self.position, false, BTreeSet::new());
        loop {
            let events = self.s.host.log().read_shared(position, READ_AT_ONCE).await?;
            let Some(last) = events.last() else { break };
            position = last.position;
            for event in &events {
                if event.is::<AppEvent>() {
                    let id = event.stream.as_str().trim_start_matches("app-").parse::<AppId>().ok();
                    if let Some(app) = id {
                        self.clusters.changed(app);
                    }
                    self.dirty.extend(id);
                    self.news.extend(id);
                } else if event.is::<InstanceEvent>() {
                    let id = event.data.value().get("app").and_then(|a| a.as_str()).and_then(|a| a.parse::<AppId>().ok());
                    self.dirty.extend(id);
                    self.news.extend(id);
                    if !self.recorded.remove(&event.position)
                        && let Ok(instance) = event.stream.as_str().trim_start_matches("instance-").parse::<InstanceId>()
                    {
                        self.rows.instance_changed(instance.0);
                    }
                } else if event.is::<NodeEvent>() {
                    match event.data.value().get("node").and_then(|n| n.as_str()) {
                        Some(node) => {
                            self.rows.node_changed(node);
                            nodes.insert(node.to_owned());
                        }
                        None => self.rows.nodes_changed(),
                    }
                    self.uneven |=
                        self.s.config.placement.rebalance_moves > 0 && matches!(event.kind.as_str(), "node.joined" | "node.returned" | "node.uncordoned");
                } else if event.is::<ClusterEvent>() {
                    self.clusters.stale = true;
                    everybody = true;
                } else if event.is::<ConfigEvent>() {
                    // Its files change on a cluster when the application is looked at, and on nodes with every round.
                    let space = event.data.value().get("space").and_then(|s| s.as_str()).and_then(|s| s.parse::<SpaceId>().ok());
                    if let Some(space) = space.filter(|_| event.kind == "config.set") {
                        self.dirty.extend(store::apps(self.s.orm(), space, None, 10_000).await?.into_iter().map(|row| AppId(row.id)));
                    }
                } else if event.is::<PlacementEvent>() {
                    everybody = true;
                }
            }
        }
        if position > self.position {
            self.settle(position).await?;
            self.position = position;
        }
        if everybody {
            self.dirty.extend(store::cared_for(self.s.orm()).await?);
        }
        // Room or its loss concerns those who stand there and those who want one on each; who waits for room is looked at in any case.
        for node in &nodes {
            let here = self.alive_on(node).await?;
            self.dirty.extend(here.iter().map(|i| AppId(i.app)));
        }
        if !nodes.is_empty() {
            self.dirty.extend(&self.everywhere);
        }
        Ok(())
    }

    /// Until the own rows show everything up to `position`: deciding on older rows would do things twice.
    pub(super) async fn settle(&self, position: i64) -> anyhow::Result<()> {
        self.s.host.progress.settled(position, Duration::from_secs(10)).await?;
        Ok(())
    }

    /// Appends events of instances and waits until they can be read.
    pub(super) async fn record(&mut self, events: Vec<InstanceEvent>, meta: Meta) -> anyhow::Result<()> {
        let Some((append, ids)) = self.append_of(events, meta) else { return Ok(()) };
        let appended = self.s.host.log().append(append).await?;
        self.settle(appended.position).await?;
        self.appended(&ids, &appended);
        Ok(())
    }

    /// What appends them, and whose they are; nothing if there are none.
    pub(super) fn append_of(&mut self, events: Vec<InstanceEvent>, meta: Meta) -> Option<(Append, Vec<InstanceId>)> {
        if events.is_empty() {
            return None;
        }
        let mut writes: BTreeMap<InstanceId, StreamWrite> = BTreeMap::new();
        for event in events {
            let (id, new, app) = subject(&event);
            self.dirty.insert(app);
            self.news.insert(app);
            let new = new && !self.clusters.returned.remove(&id);
            let write =
                writes.entry(id).or_insert_with(|| StreamWrite { stream: StreamId::of::<InstanceEvent>(id), expected: new.then_some(0), events: Vec::new() });
            write.events.push(event.encode());
        }
        let ids: Vec<InstanceId> = writes.keys().copied().collect();
        Some((Append { writes: writes.into_values().collect(), claims: Vec::new(), meta }, ids))
    }

    /// Of what was appended and can be read by now, the rows are looked at anew.
    pub(super) fn appended(&mut self, ids: &[InstanceId], appended: &Appended) {
        ids.iter().for_each(|id| self.rows.instance_changed(id.0));
        self.recorded.extend(appended.events.iter().map(|e| e.position));
    }
}

/// Instance, whether this is its first event, application.
pub(super) fn subject(event: &InstanceEvent) -> (InstanceId, bool, AppId) {
    match event {
        InstanceEvent::Placed { instance, app, .. } => (*instance, true, *app),
        InstanceEvent::Running { instance, app, .. }
        | InstanceEvent::Unhealthy { instance, app, .. }
        | InstanceEvent::Restarted { instance, app, .. }
        | InstanceEvent::Lost { instance, app, .. }
        | InstanceEvent::Displaced { instance, app, .. }
        | InstanceEvent::Stayed { instance, app }
        | InstanceEvent::Suspected { instance, app, .. }
        | InstanceEvent::SignAcknowledged { instance, app, .. }
        | InstanceEvent::Stopping { instance, app }
        | InstanceEvent::Stopped { instance, app, .. } => (*instance, false, *app),
    }
}

/// After how long nodes hear of what a round has done so far, when it took `telling` to tell them last.
fn untold(telling: Duration) -> Duration {
    telling.saturating_mul(TELLING - 1).clamp(UNTOLD, UNTOLD_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_tell_all_nodes_takes_long_they_are_told_less_often() {
        assert_eq!(untold(Duration::from_millis(1)), UNTOLD);
        let long = Duration::from_secs(1);
        assert_eq!(untold(long), 4 * long);
        assert_eq!(untold(60 * long), UNTOLD_MOST);
    }
}
