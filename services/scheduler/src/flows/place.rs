//! One instance's place: the planner's choice, the space's own scheduler if it has one, or the room that others have to make.
//! What was found is kept, so that "why" can be answered.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use gantry_contract::scheduler::InstanceEvent;
use gantry_kernel::{AppId, InstanceId, Name, OrgId, ProjectId, SpaceId};
use gantry_planner::{Choice, Cluster, GroupIx, Hints, InstanceKey, NodeIx};

use super::advance::{Subject, home_of_volumes};
use super::reconcile::Reconciler;
use super::world::{World, only};
use crate::adapters::advisor;
use crate::domain::model::Workload;
use crate::domain::placement::{self, Chosen, External};
use crate::domain::release;
use crate::store::{self, Pending, Purpose};

/// What a round does for one application.
#[derive(Default)]
pub(super) struct Steps {
    pub events: Vec<InstanceEvent>,
    pub pending: BTreeMap<String, Pending>,
    pub chosen: Vec<(InstanceId, Chosen)>,
    /// Who has to go, and what for.
    pub displaced: Vec<(InstanceId, Purpose)>,
    /// Whose successors got the place that was meant for them.
    pub arrived: Vec<InstanceId>,
    /// A job that has failed for good, and why.
    pub given_up: Option<String>,
}

impl Steps {
    fn waits(&mut self, name: &Name, pending: Pending) {
        self.pending.entry(name.to_string()).or_insert(pending).instances += 1;
    }
}

impl Steps {
    /// The numbers of a workload that are taken: those of `all` its instances, and those that were placed already.
    pub fn taken(&self, name: &Name, all: &[release::Instance]) -> HashSet<u32> {
        let placed = self.events.iter().filter_map(|event| number_of(event, name));
        all.iter().map(|i| i.index).chain(placed).collect()
    }

    /// The number of what was placed last, if that is of this workload.
    pub fn last_number(&self, name: &Name) -> Option<u32> {
        self.events.last().and_then(|event| number_of(event, name))
    }

    /// Takes back what was placed of a workload since `before`, if not all of it found a place.
    pub fn all_or_none(&mut self, name: &Name, before: usize, world: &mut World) {
        let Some(pending) = self.pending.get_mut(name.as_str()) else { return };
        let mut taken_back = Vec::new();
        let kept = self.events.split_off(before).into_iter().filter(|event| match event {
            InstanceEvent::Placed { instance, .. } => {
                taken_back.push(*instance);
                false
            }
            _ => true,
        });
        let kept: Vec<InstanceEvent> = kept.collect();
        self.events.extend(kept);
        for instance in &taken_back {
            world.cluster.remove(InstanceKey(instance.0.as_u128()));
        }
        self.chosen.retain(|(instance, _)| !taken_back.contains(instance));
        let placed = u32::try_from(taken_back.len()).unwrap_or(u32::MAX);
        pending.instances += placed;
        if pending.reason.is_empty() && placed > 0 {
            pending.reason = format!("only {placed} of {} find a place, and it starts whole or not at all", pending.instances);
        }
    }
}

fn number_of(event: &InstanceEvent, name: &Name) -> Option<u32> {
    match event {
        InstanceEvent::Placed { workload, index, .. } if workload == name => Some(*index),
        _ => None,
    }
}

/// `index`, or the next number that is not taken.
pub(super) fn free_number(index: u32, taken: &HashSet<u32>) -> u32 {
    (index..u32::MAX).find(|n| !taken.contains(n)).unwrap_or(index)
}

/// So long external schedulers are waited for in one round, each; what is left over is asked in the next one.
const ASKED_A_ROUND: Duration = Duration::from_secs(1);

/// What a place is looked for.
#[derive(Clone, Copy)]
struct Wish<'a> {
    subject: &'a Subject,
    name: &'a Name,
    workload: &'a Workload,
}

/// A choice, who made it, and what is to be said of it.
type Made = (Choice, &'static str, String);

impl Reconciler {
    pub(super) async fn place(&mut self, subject: &Subject, name: &Name, workload: &Workload, index: u32, world: &mut World, steps: &mut Steps) {
        let (space, wish) = (SpaceId(subject.row.space), Wish { subject, name, workload });
        let Some(group) = self.group(subject, name, world) else { return };
        if world.unreadable.contains(&space) {
            return steps.waits(name, Pending::because(0, "the space's placement rules cannot be read: set them anew (`gantry app placement --set`)".into()));
        }
        let weights = world.weights(space);
        let mut hints = Hints::default();
        let home = home_of_volumes(subject, name, workload, index, world);
        if let Some(node) = home.as_ref().and_then(|n| world.cluster.node(n)) {
            hints = only(node);
        }
        let verdict = world.verdict(group, &weights, &hints);
        let by = if home.is_some() { "volumes" } else { "planner" };
        let decides_elsewhere = world.rules(space).external.is_some_and(|e| e.required);
        let made = match self.planned_move(subject, name, world, group, steps) {
            // A scheduler that has to be asked has the last word also on moves.
            Some(choice) if home.is_none() && !decides_elsewhere => Ok((choice, by, "the cluster is made even".to_owned())),
            _ => self.advised(wish, world, group, &hints, by).await,
        };
        let note = match made {
            Ok((choice, by, note)) => {
                let chosen = placement::chosen(&world.cluster, &verdict, choice, by, note);
                let instance = self.book(wish, index, world, steps, group, choice.node);
                steps.chosen.push((instance, chosen));
                return;
            }
            Err(note) => note,
        };
        if !note.is_empty() {
            return steps.waits(name, Pending::without_place(&verdict, note));
        }
        let going = self.nominated.get(&(subject.view.id, name.clone())).map(|all| all.iter().filter(|v| world.alive.contains_key(v)).count());
        if let Some(going) = going.filter(|n| *n > 0) {
            return steps.waits(name, Pending::without_place(&verdict, format!("waits until {going} instances of lower priority have gone")));
        }
        let reason = self.make_room(subject, name, world, steps, group, &hints);
        steps.waits(name, Pending::without_place(&verdict, reason));
    }

    fn group(&self, subject: &Subject, name: &Name, world: &mut World) -> Option<GroupIx> {
        let (app, revision) = (subject.view.id, subject.view.current);
        let known = self.known.get(&(app, revision))?.clone();
        world.group(&known, app, revision, SpaceId(subject.row.space), name)
    }

    /// How many nodes a workload with one instance on each has. Where one stands already it stays, also when the node takes nothing
    /// new by now: with one fewer to be wanted, any would be stopped, also one on a node that may have it.
    pub(super) fn eligible(&self, subject: &Subject, name: &Name, world: &mut World) -> u32 {
        let Some(group) = self.group(subject, name, world) else { return 0 };
        let nodes = u32::try_from(world.cluster.len()).unwrap_or(u32::MAX);
        let stays =
            |i: &&store::instance::Model| i.workload == name.as_str() && i.phase != "stopping" && i.displaced.is_none() && !world.draining.contains(&i.node);
        let standing: BTreeSet<String> = subject.alive.iter().filter(stays).map(|i| i.node.clone()).collect();
        let has = |at: u32, cluster: &mut Cluster| cluster.eligible(group, NodeIx(at)) || standing.contains(cluster.node_name(NodeIx(at)));
        let all = (0..nodes).filter(|at| has(*at, &mut world.cluster)).count();
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    /// Where one of the workload's instances is to be moved to, if it can still go there.
    fn planned_move(&mut self, subject: &Subject, name: &Name, world: &mut World, group: GroupIx, steps: &mut Steps) -> Option<Choice> {
        let of = |id: &InstanceId| subject.alive.iter().any(|i| i.id == id.0 && i.workload == name.as_str());
        let id = *self.targets.keys().find(|id| of(id))?;
        steps.arrived.push(id);
        let node = world.cluster.node(&self.targets.remove(&id)?)?;
        let weights = world.weights(SpaceId(subject.row.space));
        world.cluster.choose(group, &weights, &only(node))
    }

    /// The planner's choice, or that of the space's own scheduler among the nodes that would do. The text says why nothing
    /// is chosen although there are such nodes.
    async fn advised(&self, wish: Wish<'_>, world: &mut World, group: GroupIx, hints: &Hints, by: &'static str) -> Result<Made, String> {
        let space = SpaceId(wish.subject.row.space);
        let weights = world.weights(space);
        let own = world.cluster.choose(group, &weights, hints).ok_or_else(String::new)?;
        let Some(external) = world.rules(space).external else { return Ok((own, by, String::new())) };
        // One slow scheduler of one space must not hold up all the others.
        if world.asked.get(&external.url).is_some_and(|spent| *spent >= ASKED_A_ROUND) {
            return Err(format!("waits for its turn to ask the space's own scheduler at {}", external.url));
        }
        let began = tokio::time::Instant::now();
        let answer = self.ask_external(&external, wish, world, group, hints).await;
        *world.asked.entry(external.url.clone()).or_default() += began.elapsed();
        match answer {
            Ok(Some(choice)) => Ok((choice, "external", String::new())),
            Ok(None) => Err(format!("the space's own scheduler at {} takes none of the nodes that would do", external.url)),
            Err(trouble) if external.required => Err(format!("waits for the space's own scheduler at {}: {trouble}", external.url)),
            Err(trouble) => Ok((own, by, format!("the space's own scheduler at {} did not answer: {trouble}", external.url))),
        }
    }

    async fn ask_external(&self, external: &External, wish: Wish<'_>, world: &mut World, group: GroupIx, hints: &Hints) -> Result<Option<Choice>, String> {
        let Wish { subject, name, workload } = wish;
        if world.silent.contains(&external.url) {
            return Err("it did not answer just now".into());
        }
        let weights = world.weights(SpaceId(subject.row.space));
        let found = world.cluster.explain(group, &weights, hints);
        let fit: Vec<Choice> = found.iter().filter(|f| f.obstacles.is_empty()).map(|f| Choice { node: f.node, score: f.score }).collect();
        let candidates: Vec<(String, f32)> = fit.iter().map(|c| (world.cluster.node_name(c.node).to_owned(), c.score)).collect();
        let question = advisor::Question {
            home: &subject.view.home,
            app: &subject.view.name,
            workload: name,
            spec: workload,
            revision: subject.view.current,
            priority: world.cluster.spec(group).priority,
        };
        let ranked = advisor::rank(external, &question, &candidates).await.inspect_err(|_| {
            world.silent.insert(external.url.clone());
        })?;
        // Only what would do is taken; equal scores go to what the planner likes better.
        let scored = fit.iter().zip(&candidates).filter_map(|(choice, (node, _))| Some((*ranked.get(node)?, *choice)));
        let best = scored.reduce(|a, b| if b.0 > a.0 || (b.0 == a.0 && b.1.score > a.1.score) { b } else { a });
        Ok(best.map(|(score, choice)| Choice { score, ..choice }))
    }

    fn book(&self, wish: Wish<'_>, index: u32, world: &mut World, steps: &mut Steps, group: GroupIx, at: NodeIx) -> InstanceId {
        let Wish { subject, name, workload } = wish;
        let instance = InstanceId(self.s.host.env.uuid());
        world.cluster.place(InstanceKey(instance.0.as_u128()), group, at);
        let Ok(node) = Name::parse(world.cluster.node_name(at)) else { return instance };
        steps.events.push(InstanceEvent::Placed {
            instance,
            app: subject.view.id,
            org: OrgId(subject.row.org),
            project: ProjectId(subject.row.project),
            space: SpaceId(subject.row.space),
            workload: name.clone(),
            index,
            revision: subject.view.current,
            node,
            cpu_millis: workload.requests.cpu_millis,
            memory_bytes: workload.requests.memory_bytes,
            storage_bytes: workload.requests.storage_bytes,
        });
        instance
    }

    /// Sends away those of lower priority whose room is enough; says so, or nothing if that is not possible.
    fn make_room(&mut self, subject: &Subject, name: &Name, world: &mut World, steps: &mut Steps, group: GroupIx, hints: &Hints) -> String {
        let weights = world.weights(SpaceId(subject.row.space));
        let Some(plan) = world.cluster.preempt(group, &weights, hints) else { return String::new() };
        let priority = world.cluster.spec(group).priority;
        let Ok(node) = Name::parse(world.cluster.node_name(plan.node)) else { return String::new() };
        let reason = format!("`{name}` of {} has priority {priority} and needs the room", subject.view.name);
        let mut gone = Vec::new();
        for victim in &plan.victims {
            let instance = InstanceId(gantry_kernel::Uuid::from_u128(victim.0));
            let Some(alive) = world.alive.get(&instance) else { continue };
            gone.push(format!("`{}` of {}", alive.workload, alive.app_name));
            steps.events.push(InstanceEvent::Displaced { instance, app: alive.app, node: node.clone(), reason: reason.clone() });
            steps.events.push(InstanceEvent::Stopping { instance, app: alive.app });
            world.cluster.displace(*victim);
        }
        let victims: Vec<InstanceId> = plan.victims.iter().map(|v| InstanceId(gantry_kernel::Uuid::from_u128(v.0))).collect();
        steps.displaced.extend(victims.iter().map(|v| (*v, Purpose::RoomFor(subject.view.id, name.clone()))));
        self.nominated.entry((subject.view.id, name.clone())).or_default().extend(victims);
        // Nobody else takes the room in this round; in the next ones it is the first to be asked, by its priority.
        world.cluster.place(InstanceKey(self.s.host.env.uuid().as_u128()), group, plan.node);
        format!("room is made on {node}: {} has to go", gone.join(", "))
    }

    /// Forgets displacements of applications that are gone, that are over, or that were planned and not recorded.
    pub(super) fn forget(&mut self, world: &World) {
        let leaving = |id: &InstanceId| world.alive.get(id).is_some_and(|a| a.leaving);
        self.nominated.retain(|_, victims| {
            victims.retain(leaving);
            !victims.is_empty()
        });
        self.targets.retain(|id, _| leaving(id));
    }

    /// What a process before this one, or a round that failed, has planned of what is on its way out now.
    pub(super) async fn remember(&mut self) -> anyhow::Result<()> {
        let mut moves = Vec::new();
        for (instance, purpose) in store::load_displacements(self.s.orm()).await? {
            match purpose {
                Purpose::RoomFor(app, workload) => {
                    let victims = self.nominated.entry((app, workload)).or_default();
                    if !victims.contains(&instance) {
                        victims.push(instance);
                    }
                }
                Purpose::MoveTo(node) => {
                    self.targets.entry(instance).or_insert(node);
                    // There were more to come, perhaps.
                    self.uneven |= self.s.config.placement.rebalance_moves > 0;
                }
                Purpose::GoesOn(successor) => moves.push((instance, successor)),
            }
        }
        self.end_moves(moves).await
    }

    /// Evictions by taints, and moves that make the cluster even.
    pub(super) async fn displace(&mut self, world: &mut World) -> anyhow::Result<()> {
        let (mut events, mut planned_moves): (Vec<InstanceEvent>, Vec<(InstanceId, Purpose)>) = (Vec::new(), Vec::new());
        for (instance, app, node, reason) in std::mem::take(&mut world.evicted) {
            events.push(InstanceEvent::Displaced { instance, app, node, reason });
        }
        // The next few when those before have arrived.
        if self.uneven && world.leaving == 0 && world.unheard.is_empty() {
            let moves = usize::try_from(self.s.config.placement.rebalance_moves).unwrap_or(0);
            let limits = gantry_planner::Limits { moves, ..gantry_planner::Limits::default() };
            let weights = placement::weights(&self.s.config.placement, &placement::SpaceRules::default());
            let movable: HashSet<InstanceKey> = world.alive.iter().filter(|(_, a)| a.movable).map(|(id, _)| InstanceKey(id.0.as_u128())).collect();
            let planned = world.cluster.rebalance(&limits, &weights, |key| movable.contains(&key));
            // Applications in the middle of something are looked at again when they are as wanted; those without instances have nothing to move.
            self.uneven = !planned.is_empty() || world.alive.values().any(|a| self.busy.contains(&a.app));
            for one in planned {
                let instance = InstanceId(gantry_kernel::Uuid::from_u128(one.instance.0));
                let (Some(alive), Ok(node)) = (world.alive.get(&instance), Name::parse(world.cluster.node_name(one.from))) else { continue };
                let to = world.cluster.node_name(one.to).to_owned();
                events.push(InstanceEvent::Displaced { instance, app: alive.app, node, reason: format!("to {to}: {}", one.reason) });
                planned_moves.push((instance, Purpose::MoveTo(to.clone())));
                self.targets.insert(instance, to);
                // It is where it was until its successor is ready.
                if let Some(group) = world.cluster.group_of(one.instance) {
                    world.cluster.place(one.instance, group, one.from);
                }
            }
        }
        store::save_displacements(self.s.orm(), &planned_moves).await?;
        let apps: Vec<AppId> = events.iter().map(|e| super::reconcile::subject(e).2).collect();
        self.record(events, gantry_es::Meta::system()).await?;
        self.unsettled.extend(apps);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(name: &str, index: u32) -> InstanceEvent {
        let uuid = gantry_kernel::Uuid::nil();
        InstanceEvent::Placed {
            instance: InstanceId(uuid),
            app: AppId(uuid),
            org: OrgId(uuid),
            project: ProjectId(uuid),
            space: SpaceId(uuid),
            workload: Name::parse(name).unwrap(),
            index,
            revision: 1,
            node: Name::parse("a").unwrap(),
            cpu_millis: 0,
            memory_bytes: 0,
            storage_bytes: 0,
        }
    }

    #[test]
    fn numbers_that_are_kept_beside_are_those_that_a_search_through_all_finds() {
        let name = Name::parse("web").unwrap();
        let standing = |index: u32| release::Instance {
            id: InstanceId(gantry_kernel::Uuid::nil()),
            index,
            current: true,
            available: true,
            stopping: false,
            displaced: false,
        };
        let all = [0, 2, 5].map(standing);
        let mut steps = Steps { events: vec![placed("web", 1), placed("db", 3)], ..Steps::default() };
        let mut taken = steps.taken(&name, &all);
        assert_eq!(steps.last_number(&name), None, "the last one is another workload's");
        for wanted in [0, 3, 3, 1, 7, 4] {
            let searched = (wanted..).find(|n| {
                let is_placed = steps.events.iter().any(|e| matches!(e, InstanceEvent::Placed { workload, index, .. } if *workload == name && index == n));
                !is_placed && !all.iter().any(|i| i.index == *n)
            });
            let found = free_number(wanted, &taken);
            assert_eq!(Some(found), searched);
            steps.events.push(placed("web", found));
            taken.extend(steps.last_number(&name));
        }
        assert_eq!(taken, (0..10).collect::<HashSet<u32>>());
    }
}
