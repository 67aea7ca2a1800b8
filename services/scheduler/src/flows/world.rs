//! What a round plans on: all nodes and instances in the planner's words. Built from rows; what the round places is booked
//! in it, so that later decisions of the same round count it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_kernel::{AppId, InstanceId, Name, OffsetDateTime, SpaceId};
use gantry_planner::{Cluster, Effect, GroupIx, Hints, InstanceKey, NodeIx, Spec, Taint, UserRule, Weights};

use super::alike::{Alike, allow, sorted};
use super::described::Described;
use super::reconcile::Reconciler;
use crate::app::change::scaled_in;
use crate::app::context::home;
use crate::app::view;
use crate::domain::model::{Model, Toleration, Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::placement::{self, Expression, Policy, SpaceRules, Standing, Verdict};
use crate::domain::stored;
use crate::domain::wanted::{Reports, node_volumes};
use crate::store;

/// What is known of a revision and never changes: kept over rounds.
pub(super) struct Known {
    app_name: String,
    /// `<org>/<project>/<space>`
    pub(super) space: String,
    org: String,
    pub(super) model: Model,
    /// When it was accepted, and by whom: `user:<uuid>`.
    pub(super) at: OffsetDateTime,
    pub(super) author: String,
}

#[cfg(test)]
impl Known {
    /// Of an application of which nothing else matters.
    pub(super) fn of(model: Model) -> Self {
        let text = String::new;
        Self { app_name: text(), space: text(), org: text(), model, at: OffsetDateTime::UNIX_EPOCH, author: text() }
    }
}

/// An instance that has not ended.
pub(super) struct Alive {
    pub app: AppId,
    pub workload: Arc<str>,
    pub app_name: Arc<str>,
    /// May be moved to make the cluster even.
    pub movable: bool,
    /// On its way out.
    pub leaving: bool,
}

pub(super) struct World {
    pub cluster: Cluster,
    pub draining: BTreeSet<String>,
    /// Not lost, but not heard from since this process decides.
    pub unheard: BTreeSet<String>,
    pub reports: Reports,
    /// Heard from.
    pub present: BTreeSet<String>,
    /// Heard from, and taking instances.
    pub open: u32,
    pub alive: HashMap<InstanceId, Alive>,
    /// How many are to leave their node and have not left yet.
    pub leaving: usize,
    /// Has to leave a node that keeps it away, and why.
    pub evicted: Vec<(InstanceId, AppId, Name, String)>,
    /// When the next toleration for some time ends.
    pub evict_at: Option<OffsetDateTime>,
    /// When the round began to look at it.
    pub now: OffsetDateTime,
    rules: BTreeMap<SpaceId, SpaceRules>,
    formulas: Formulas,
    policy: Policy,
    groups: HashMap<(AppId, u64, Name), GroupIx>,
    /// What was found in this round; on a large cluster it is told once for all equal instances.
    verdicts: HashMap<GroupIx, Arc<Verdict>>,
    /// External schedulers that did not answer in this round: they are not asked again before the next.
    pub silent: BTreeSet<String>,
    /// Spaces whose rules cannot be read.
    pub unreadable: BTreeSet<SpaceId>,
    /// How long external schedulers were waited for in this round.
    pub asked: BTreeMap<String, Duration>,
}

/// What spaces say in expressions, read once for as long as they say the same.
pub(super) type Formulas = BTreeMap<SpaceId, Arc<(Vec<Expression>, Vec<UserRule>)>>;

/// Up to so many nodes each decision is explained by itself.
const SMALL: usize = 200;

impl World {
    pub fn rules(&self, space: SpaceId) -> SpaceRules {
        self.rules.get(&space).cloned().unwrap_or_default()
    }

    pub fn weights(&self, space: SpaceId) -> Weights {
        placement::weights(&self.policy, &self.rules(space))
    }

    /// The planner's group of a workload.
    pub fn group(&mut self, known: &Known, app: AppId, revision: u64, space: SpaceId, name: &Name) -> Option<GroupIx> {
        let key = (app, revision, name.clone());
        if let Some(found) = self.groups.get(&key) {
            return Some(*found);
        }
        let workload = known.model.workloads.get(name)?;
        let standing = Standing { app, app_name: &known.app_name, org: &known.org, space: &known.space, revision };
        let formulas = self.formulas.get(&space).map(|known| known.1.clone()).unwrap_or_default();
        let spec = Spec { formulas, ..placement::group(&standing, name, workload, &self.policy, &self.rules(space)) };
        let group = self.cluster.set_group(&spec);
        self.groups.insert(key, group);
        Some(group)
    }

    /// What speaks against each node, and for the others.
    pub fn verdict(&mut self, group: GroupIx, weights: &Weights, hints: &Hints) -> Arc<Verdict> {
        let shared = self.cluster.len() > SMALL && *hints == Hints::default();
        if let Some(known) = self.verdicts.get(&group).filter(|_| shared) {
            return Arc::clone(known);
        }
        let found = self.cluster.explain(group, weights, hints);
        let verdict = Arc::new(placement::verdict(&self.cluster, &found));
        if shared {
            self.verdicts.insert(group, Arc::clone(&verdict));
        }
        verdict
    }
}

impl Reconciler {
    pub(super) async fn world(&mut self) -> anyhow::Result<World> {
        let reports = view::reports(&self.s);
        let rows = self.nodes().await?;
        let described = self.described(&rows);
        let alive = self.alive().await?;
        let (mut sorts, sort_of) = sorted(&alive);
        let in_use: BTreeSet<(AppId, u64)> = sorts.iter().map(|sort| (sort.app, sort.revision)).collect();
        for (app, revision) in &in_use {
            self.know(*app, *revision).await?;
        }
        sorts.iter_mut().for_each(|sort| self.complete(sort));
        // Those without instances are read again when they are needed.
        self.known.retain(|key, _| in_use.contains(key));
        let rules = store::all_space_rules(self.s.orm()).await?;
        let names: HashSet<String> = reports.keys().map(Name::to_string).collect();
        let heard = |name: &str| names.contains(name);
        let present: BTreeSet<String> = rows.iter().filter(|r| !r.lost && heard(&r.name)).map(|r| r.name.clone()).collect();
        let policy = self.s.config.placement;
        let mut world = World {
            cluster: Cluster::new(),
            draining: rows.iter().filter(|r| r.draining).map(|r| r.name.clone()).collect(),
            unheard: rows.iter().filter(|r| !r.lost && !heard(&r.name)).map(|r| r.name.clone()).collect(),
            open: u32::try_from(rows.iter().filter(|r| present.contains(&r.name) && !r.cordoned).count()).unwrap_or(u32::MAX),
            present,
            reports,
            alive: HashMap::with_capacity(alive.len()),
            leaving: alive.iter().filter(|i| i.displaced.is_some()).count(),
            now: self.s.host.env.now(),
            evicted: Vec::new(),
            evict_at: None,
            rules: BTreeMap::new(),
            formulas: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            asked: BTreeMap::new(),
            policy,
            groups: HashMap::new(),
            verdicts: HashMap::new(),
            silent: BTreeSet::new(),
        };
        for (space, text) in rules {
            let read = serde_json::from_value::<SpaceRules>(text).map_err(|error| error.to_string());
            match read.and_then(|rules| Ok((self.formulas(space, &rules)?, rules))) {
                Ok((formulas, rules)) => {
                    world.formulas.extend(formulas.map(|formulas| (space, formulas)));
                    world.rules.insert(space, rules);
                }
                // Without its hard rules it must not place anything.
                Err(error) => {
                    self.s.unreadable.tell("space's placement rules", space, error, "nothing is placed in it until they are set anew");
                    world.unreadable.insert(space);
                }
            }
        }
        self.formulas.clone_from(&world.formulas);
        let pinned: Vec<Option<String>> = sorts.iter().map(|sort| sort.workload()?.pinned.clone()).collect();
        let mut images: HashMap<&str, BTreeSet<&String>> = HashMap::new();
        for (row, sort) in alive.iter().zip(&sort_of) {
            images.entry(&row.node).or_default().extend(&pinned[*sort]);
        }
        let mut evicting: HashMap<&str, Evicting> = HashMap::new();
        for (row, described) in rows.iter().zip(described.iter()) {
            let Some(Described { name, facts, settings, unknown }) = described.as_deref() else { continue };
            // Of whom not all is known gets nothing new, as if it was cordoned, and nothing has to leave it.
            let closed = row.cordoned || *unknown;
            let mut node = placement::node(name, facts, settings, &policy, world.present.contains(&row.name), closed);
            node.images = images.remove(row.name.as_str()).into_iter().flatten().cloned().collect();
            node.images.extend(world.reports.get(name).into_iter().flat_map(|r| r.images_present()).cloned());
            let ix = world.cluster.set_node(&node);
            let taints: Vec<Taint> = settings.taints.iter().filter_map(|t| t.taint()).filter(|t| t.effect == Effect::NoExecute).collect();
            if !taints.is_empty() {
                evicting.insert(&row.name, Evicting { taints, since: row.settings_at.unwrap_or(row.joined_at) });
            }
            for reserved in &settings.reserved {
                world.cluster.reserve(&reserved.space, ix, &placement::amounts(&reserved.amounts));
            }
        }
        let scales = store::scales(self.s.orm()).await?;
        let scales: HashMap<AppId, BTreeMap<Name, u32>> = scales.into_iter().map(|(app, scale)| (app, scaled_in(&scale))).collect();
        for (row, sort) in alive.iter().zip(sort_of) {
            self.stand(row, &mut sorts[sort], &evicting, &mut world);
        }
        let open = world.open;
        let wanted = |app: AppId, name: &Name, workload: &Workload| workload.count(scales.get(&app).and_then(|all| all.get(name)).copied(), open);
        allow(&mut world.cluster, &sorts, wanted);
        Ok(world)
    }

    /// What a space's expressions are to the planner; none if it has none.
    fn formulas(&self, space: SpaceId, rules: &SpaceRules) -> Result<Option<Arc<(Vec<Expression>, Vec<UserRule>)>>, String> {
        if rules.expressions.is_empty() {
            return Ok(None);
        }
        match self.formulas.get(&space).filter(|known| known.0 == rules.expressions) {
            Some(known) => Ok(Some(Arc::clone(known))),
            None => {
                let compiled = placement::compiled(&rules.expressions).map_err(|fault| fault.to_string())?;
                Ok(Some(Arc::new((rules.expressions.clone(), compiled))))
            }
        }
    }

    /// Reads what a revision is, if it is not known yet.
    pub(super) async fn know(&mut self, app: AppId, revision: u64) -> anyhow::Result<()> {
        if self.known.contains_key(&(app, revision)) {
            return Ok(());
        }
        let number = i64::try_from(revision).unwrap_or(i64::MAX);
        let (Some(row), Some(accepted)) = (store::app_by_id(self.s.orm(), app).await?, store::revision(self.s.orm(), app, number).await?) else {
            return Ok(());
        };
        let stored = match stored::read(&accepted.model) {
            Ok(stored) => stored,
            Err(error) => {
                self.s.unreadable.tell("revision", format_args!("{app}/{revision}"), &error, "its instances stay where they are");
                return Ok(());
            }
        };
        let Some(home) = home(&row) else {
            self.s.unreadable.tell("application", app, "its names are none", "its instances stay where they are");
            return Ok(());
        };
        let space = format!("{}/{}/{}", home.org_name, home.project_name, home.space_name);
        let known = Known { app_name: row.name, space, org: home.org.to_string(), model: stored.outline, at: accepted.at, author: accepted.actor };
        self.known.insert((app, revision), Arc::new(known));
        Ok(())
    }

    /// What is known of instances that are alike.
    fn complete(&self, sort: &mut Alike) {
        sort.known = self.known.get(&(sort.app, sort.revision)).cloned();
        if let Some(known) = &sort.known {
            sort.app_name = known.app_name.as_str().into();
        }
        let has_home = |w: &Workload| sort.known.as_ref().is_none_or(|k| !node_volumes(w, &k.model.volumes).is_empty());
        sort.movable = !self.busy.contains(&sort.app) && sort.workload().is_some_and(|w| w.kind == WorkloadKind::Stateless && !has_home(w));
    }

    /// Books an instance where it stands.
    fn stand(&self, row: &store::instance::Model, sort: &mut Alike, evicting: &HashMap<&str, Evicting>, world: &mut World) {
        let Some(name) = &sort.name else { return };
        let Some(ix) = world.cluster.node(&row.node) else { return };
        let (app, space, known) = (sort.app, SpaceId(row.space), sort.known.as_ref());
        let shared = sort.group.or_else(|| world.group(known?, app, sort.revision, space, name));
        let group = shared.unwrap_or_else(|| world.cluster.set_group(&unknown(row)));
        let phase = Phase::parse(&row.phase);
        let readable = known.is_some() && !world.unreadable.contains(&space);
        // Of what cannot be read it is not known what it tolerates.
        if row.displaced.is_none()
            && phase != Phase::Stopping
            && readable
            && let Some(node) = evicting.get(row.node.as_str())
            && let own = sort.workload().map(|w| w.placement.tolerations.as_slice()).unwrap_or_default()
            && let Some((at, reason)) = kept_away(world.cluster.spec(group), own, node, row.placed_at)
            && let Ok(node) = Name::parse(&row.node)
        {
            if at <= self.s.host.env.now() {
                world.evicted.push((InstanceId(row.id), app, node, reason));
            } else {
                world.evict_at = Some(world.evict_at.map_or(at, |before| before.min(at)));
            }
        }
        let stays = phase == Phase::Running && row.displaced.is_none();
        let leaving = phase == Phase::Stopping || row.displaced.is_some();
        let (workload, app_name) = (Arc::clone(&sort.called), Arc::clone(&sort.app_name));
        world.alive.insert(InstanceId(row.id), Alive { app, workload, app_name, movable: stays && readable && sort.movable, leaving });
        sort.group = shared;
        sort.ready += u32::from(stays);
        // What is on its way out takes its room until it is gone, and cannot be sent away again.
        let group = match (leaving, sort.leaving) {
            (false, _) => group,
            (true, Some(known)) => known,
            (true, None) => {
                let own = world.cluster.set_group(&on_its_way_out(world.cluster.spec(group)));
                // Those of which nothing is known are each for itself.
                sort.leaving = shared.map(|_| own);
                own
            }
        };
        world.cluster.place(InstanceKey(row.id.as_u128()), group, ix);
    }
}

fn on_its_way_out(spec: &Spec) -> Spec {
    Spec { key: format!("{}/leaving", spec.key), priority: i32::MAX, ..spec.clone() }
}

/// An instance of a revision that cannot be read any more takes what its placement says.
fn unknown(row: &store::instance::Model) -> Spec {
    let requests = gantry_planner::Amounts {
        cpu_millis: row.cpu_millis.unsigned_abs(),
        memory_bytes: row.memory_bytes.unsigned_abs(),
        storage_bytes: row.storage_bytes.unsigned_abs(),
        ..gantry_planner::Amounts::default()
    };
    let family = format!("{}/{}", AppId(row.app), row.workload);
    Spec { key: format!("{family}/{}", row.revision), family, priority: i32::MAX, requests, ..Spec::default() }
}

/// A node that sends away what does not tolerate it.
struct Evicting {
    taints: Vec<Taint>,
    since: OffsetDateTime,
}

/// The taint because of which it may not stay, and from when on: a toleration may be for some time only.
fn kept_away(spec: &Spec, own: &[Toleration], node: &Evicting, placed_at: OffsetDateTime) -> Option<(OffsetDateTime, String)> {
    let leaves = node.taints.iter().filter_map(|taint| {
        let since = node.since;
        if !spec.rules.tolerations.iter().any(|t| t.tolerates(taint)) {
            return Some((since, taint));
        }
        // Those of the space are for ever; of its own, the longest counts.
        let of_space = spec.rules.tolerations.len() > own.len() && spec.rules.tolerations[own.len()..].iter().any(|t| t.tolerates(taint));
        let matching = || spec.rules.tolerations.iter().zip(own).filter(|(t, _)| t.tolerates(taint)).map(|(_, own)| own.seconds);
        let longest = if of_space || matching().any(|s| s.is_none()) { None } else { matching().flatten().max() };
        // Whoever came after the taint has its time from then on: otherwise it would be sent away as soon as it is there, and come again.
        longest.map(|s| (since.max(placed_at) + time::Duration::seconds(s.into()), taint))
    });
    leaves.min_by_key(|(at, _)| *at).map(|(at, taint)| (at, format!("its node has the taint `{taint}`, which it does not tolerate any longer")))
}

/// The node's index as the planner's hint.
pub(super) fn only(node: NodeIx) -> Hints {
    Hints { only: Some(vec![node]), except: Vec::new() }
}
