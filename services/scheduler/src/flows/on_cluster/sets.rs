//! The sets of pods that an application has on a cluster while its revisions are exchanged: how many of each, which of them have
//! the requests, and which are left to finish what they have.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::{AppId, Name};
use gantry_kubernetes::{Kind, REVISION, State};
use serde_json::Value;

use super::objects::workload_object;
use crate::adapters::clusters::Running;
use crate::app::change::{scaled, scaled_in};
use crate::app::rollout as seen;
use crate::domain::cluster::rolled_out;
use crate::domain::cluster_sets::{Facing, chosen, old_beside};
use crate::domain::kubernetes::cluster::{self as made, Sets, Shares};
use crate::domain::model::{Model, Service, Workload};
use crate::flows::advance::Subject;
use crate::flows::reconcile::Reconciler;
use crate::flows::rollout::Exchange;

/// How it is now, by what is asked of the cluster.
#[derive(Default)]
pub(super) struct Division {
    pub sets: Sets,
    /// How many pods of the current revision, of workloads that are exchanged.
    pub new: BTreeMap<Name, u32>,
    /// And of the one that is replaced.
    pub old: BTreeMap<Name, u32>,
    /// Revisions that are on the cluster beside the current one.
    others: BTreeSet<u64>,
    /// Those of them that stay although nobody asks for them any more.
    pub spared: BTreeSet<u64>,
    /// Deployments that older versions of the platform made for all revisions, until there is one for each.
    pub plain: BTreeSet<String>,
    /// Revisions that services have; all, if one has no revision of its own.
    reached: BTreeSet<u64>,
    all: bool,
    /// What takes the place of the others is there.
    complete: bool,
}

impl Division {
    fn reaches(&self, revision: u64) -> bool {
        self.all || self.reached.contains(&revision)
    }
}

type Ready = BTreeMap<String, BTreeMap<u64, u32>>;

impl Reconciler {
    /// An autoscaler of the cluster knows how many there are: what a release makes instead of them are as many.
    pub(in crate::flows) fn take_live_numbers(&self, cluster: &str, subject: &mut Subject) {
        let exchanges = seen::stages(&subject.row, &subject.model).is_some();
        let (Some(running), Some(from)) = (self.s.clusters.get(cluster), subject.row.release_from.filter(|_| exchanges)) else { return };
        let (from, current) = (from.unsigned_abs(), subject.view.current);
        let past = seen::traffic(&subject.row, &subject.model).share.is_some_and(|s| s.percent >= 100);
        let revision = if past { current } else { from };
        let Some(model) = subject.view.models.get(&revision).cloned() else { return };
        let namespace = made::namespace(&subject.view.home, &running.settings);
        for (name, _) in model.workloads.iter().filter(|(_, w)| w.scaling.is_some() && w.is_exchanged()) {
            if !subject.model.workloads.get(name).is_some_and(|w| w.scaling.is_some()) {
                continue;
            }
            if let Some(replicas) = replicas(&running, &namespace, &subject.view.name, &model, name, revision).filter(|n| *n > 0) {
                subject.row.scale[name.as_str()] = replicas.into();
            }
        }
    }

    pub(super) fn divide(&self, subject: &Subject, goal: &Model, exchange: Option<&Exchange>, running: &Running) -> Division {
        let exchange = exchange.filter(|e| !e.ended());
        let (app, current) = (subject.view.id, subject.view.current);
        let owner = app.to_string();
        let namespace = made::namespace(&subject.view.home, &running.settings);
        let found = running.engine.connection().found.unwrap_or_default();
        let gateway = found.capabilities.gateway && !running.settings.gateway.is_empty();
        let mut out = Division { others: running.engine.revisions(&owner), ..Division::default() };
        out.others.remove(&current);
        if goal.workloads.is_empty() {
            return out;
        }
        let labelled = !out.others.is_empty();
        if let Some(exchange) = exchange {
            self.count_both(exchange, subject, goal, running, gateway, &mut out);
        }
        let ready = ready(running, &owner);
        let names: BTreeSet<&Name> =
            goal.services.iter().filter(|s| goal.workloads.get(&s.workload).is_some_and(|w| w.is_exchanged())).map(|s| &s.name).collect();
        let scale = scaled(&subject.row);
        for name in names {
            let of: Vec<&Service> = goal.services.iter().filter(|s| s.name == *name).collect();
            let workload = &of[0].workload;
            let both = exchange.filter(|e| e.has(goal, workload) && e.base.model.workloads.contains_key(workload));
            let stage = both.and_then(Exchange::stage);
            let weighted = gateway && of.iter().any(|s| !s.routes.is_empty());
            let moved = both.map(|e| moved(&of, &e.base.model)).unwrap_or_default();
            let target = match (both, stage) {
                (Some(e), Some(stage)) => match stage.share {
                    0 => Some(e.base.view.current),
                    100.. => Some(current),
                    // One selector for both has one port for both.
                    _ if weighted || !moved.is_empty() => Some(e.base.view.current),
                    _ => None,
                },
                _ => (made::is_apart(goal) || labelled).then_some(current),
            };
            let count = goal.workloads.get(workload).map_or(0, |w| w.count(scale.get(workload).copied(), 0));
            let none = BTreeMap::new();
            let chosen = target.and_then(|target| {
                let needed = match both {
                    Some(_) if target != current => out.old.get(workload).copied().unwrap_or(0),
                    Some(e) => e.size(e.at.step, count),
                    None => count,
                };
                let before = selected(running, &namespace, &made::named(&subject.view.name, name.as_str()));
                let ready = ready.get(workload.as_str()).unwrap_or(&none);
                chosen(&Facing { target, needed, before, ready, given_up: &subject.view.traffic.hidden })
            });
            match chosen {
                Some(revision) => {
                    out.sets.chosen.insert(name.clone(), revision);
                    out.reached.insert(revision);
                    if revision != current {
                        out.sets.ports.extend(moved.into_iter().map(|(called_at, port)| ((name.clone(), called_at), port)));
                    }
                }
                None => out.all = true,
            }
            if let (Some(stage), true) = (stage, weighted) {
                let percent = if stage.share >= 100 { 0 } else { stage.share };
                let shares = out.sets.shares.get_or_insert_with(|| Shares { percent, header: stage.header.clone(), services: BTreeSet::new() });
                shares.services.insert(name.clone());
                out.reached.extend((percent > 0 || stage.header.is_some()).then_some(current));
            }
        }
        out.sets.staged = exchange.and_then(Exchange::stage).is_some_and(|s| s.share < 100);
        out.complete = exchange.is_some() || self.is_complete(subject, goal, running, &namespace);
        let base = exchange.map(|e| e.base.view.current);
        let stands = |e: &Exchange| stands(running, &namespace, &subject.view.name, &e.base.model, e.base.view.current);
        if made::is_apart(goal) && !exchange.map_or(out.complete, stands) {
            let exchanged = goal.workloads.iter().filter(|(_, w)| w.is_exchanged());
            let plain = exchanged.map(|(name, _)| made::named(&subject.view.name, name.as_str()));
            let there = |name: &String| Kind::of("apps/v1", "Deployment").is_some_and(|k| running.engine.object(k, &namespace, name).is_some());
            out.plain = plain.filter(there).collect();
        }
        out.others.extend(base);
        out.spared =
            out.others.iter().copied().filter(|r| Some(*r) != base && !(out.complete && !out.reaches(*r) && self.is_drained(app, running, *r))).collect();
        out
    }

    /// How many pods of each revision.
    fn count_both(&self, exchange: &Exchange, subject: &Subject, goal: &Model, running: &Running, gateway: bool, out: &mut Division) {
        let scale = scaled(&subject.row);
        let base_scale = scaled_in(&exchange.base.row.scale);
        let (share, size) = exchange.stage().map_or((100, 100), |s| (s.share, s.size));
        // Nobody is kept, or all are about to be replaced: those that have gone need not come back.
        let closing = size >= 100 && exchange.at.step > 0 && (share < 100 || goal.release.keep_seconds == 0);
        let count = |name: &Name| goal.workloads.get(name).map_or(0, |w| w.count(scale.get(name).copied(), 0));
        for (name, _) in goal.workloads.iter().filter(|(name, _)| exchange.has(goal, name)) {
            out.new.insert(name.clone(), exchange.size(exchange.towards, count(name)));
        }
        let namespace = made::namespace(&subject.view.home, &running.settings);
        for (name, old) in exchange.base.model.workloads.iter().filter(|(name, w)| w.is_exchanged() && exchange.has(goal, name)) {
            let mut all = old.count(base_scale.get(name).copied(), 0);
            let from = exchange.base.view.current;
            if old.scaling.is_some() {
                // They stay as many as the autoscaler has made them, also when it has gone over to the new ones.
                all = replicas(running, &namespace, &subject.view.name, &exchange.base.model, name, from).unwrap_or(all);
            } else if goal.services.iter().any(|s| s.workload == *name && s.port > 0 && !(gateway && !s.routes.is_empty())) {
                let there = replicas(running, &namespace, &subject.view.name, &exchange.base.model, name, from);
                all = match there.filter(|_| closing) {
                    Some(there) => there.min(all),
                    None => old_beside(exchange.size(exchange.at.step, count(name)), share, all),
                };
            }
            out.old.insert(name.clone(), all);
        }
    }

    /// Does every workload that can be exchanged have all of the current revision?
    fn is_complete(&self, subject: &Subject, goal: &Model, running: &Running, namespace: &str) -> bool {
        goal.workloads.iter().filter(|(_, w)| w.is_exchanged()).all(|(name, w)| {
            let found = workload_object(w.kind, name, subject, running, namespace);
            found.is_some_and(|(_, object)| rolled_out(w.kind, object.as_ref()).is_ok())
        })
    }

    /// Has nothing been sent to a revision's pods for so long that everybody knows?
    fn is_drained(&self, app: AppId, running: &Running, revision: u64) -> bool {
        let drain = time::Duration::seconds(self.s.config.kubernetes.drain_seconds.into());
        self.clusters.leaving.get(&(app, running.id, revision)).is_some_and(|since| self.s.host.env.now() - *since >= drain)
    }

    /// Remembers since when the cluster sends nothing to a revision. `applied`: it was told all of this.
    pub(super) fn note_leaving(&mut self, app: AppId, running: &Running, division: &Division, applied: bool) {
        let now = self.s.host.env.now();
        self.clusters.leaving.retain(|(of, on, revision), _| (*of, *on) != (app, running.id) || division.others.contains(revision));
        for revision in &division.others {
            if !division.complete || division.reaches(*revision) {
                self.clusters.leaving.remove(&(app, running.id, *revision));
            } else if applied {
                self.clusters.leaving.entry((app, running.id, *revision)).or_insert(now);
            }
        }
    }

    /// Can the next stage begin, as far as the cluster is concerned? What was given up before is gone, routes find the new pods
    /// where they are sent, and the old ones are not taken away before everybody knows that they get nothing.
    pub(super) fn may_step(&self, exchange: &Exchange, subject: &Subject, goal: &Model, division: &Division, running: &Running) -> bool {
        if !division.spared.is_empty() {
            return false;
        }
        let Some(next) = exchange.stages.get(exchange.towards) else {
            return self.is_drained(subject.view.id, running, exchange.base.view.current);
        };
        let Some(shares) = division.sets.shares.as_ref().filter(|_| next.share > 0 || next.header.is_some()) else { return true };
        let (owner, namespace) = (subject.view.id.to_string(), made::namespace(&subject.view.home, &running.settings));
        let scale = scaled(&subject.row);
        shares.services.iter().all(|name| {
            let workload = goal.services.iter().find(|s| s.name == *name).and_then(|s| Some((&s.workload, goal.workloads.get(&s.workload)?)));
            let needed = workload.map_or(0, |(of, w)| exchange.size(exchange.towards, w.count(scale.get(of).copied(), 0)));
            let service = made::named(&subject.view.name, &made::shared_service(name, subject.view.current));
            running.engine.endpoints(&owner, &namespace, &service) >= usize::try_from(needed).unwrap_or(usize::MAX)
        })
    }
}

/// Are enough pods of the new revision ready on one cluster for a stage? `goal`: its part.
pub(in crate::flows) fn are_ready_on(exchange: &Exchange, stage: usize, subject: &Subject, goal: &Model, running: &Running) -> bool {
    let (ready, none) = (ready(running, &subject.view.id.to_string()), BTreeMap::new());
    goal.workloads.iter().filter(|(name, _)| exchange.has(goal, name)).all(|(name, workload)| {
        let there = ready.get(name.as_str()).unwrap_or(&none).get(&subject.view.current).copied().unwrap_or(0);
        there >= exchange.size(stage, workload.count(None, 0))
    })
}

/// A set's object, as it is now.
fn set(running: &Running, namespace: &str, app: &Name, model: &Model, workload: &Name, revision: u64) -> Option<Value> {
    let kind = Kind::of("apps/v1", "Deployment")?;
    running.engine.object(kind, namespace, &made::named(app, &made::set_name(model, workload, revision)))
}

fn replicas(running: &Running, namespace: &str, app: &Name, model: &Model, workload: &Name, revision: u64) -> Option<u32> {
    u32::try_from(set(running, namespace, app, model, workload, revision)?["spec"]["replicas"].as_u64()?).ok()
}

/// Are all sets of a revision there, and at work?
fn stands(running: &Running, namespace: &str, app: &Name, model: &Model, revision: u64) -> bool {
    let exchanged = model.workloads.iter().filter(|(_, w)| w.is_exchanged());
    let at_work = |(name, w): (&Name, &Workload)| rolled_out(w.kind, set(running, namespace, app, model, name, revision).as_ref()).is_ok();
    exchanged.map(at_work).all(|stands| stands)
}

/// The revision that a service has alone.
fn selected(running: &Running, namespace: &str, service: &str) -> Option<u64> {
    let object = running.engine.object(Kind::of("v1", "Service")?, namespace, service)?;
    object["spec"]["selector"][REVISION].as_str()?.parse().ok()
}

/// Ready pods of each workload and revision.
fn ready(running: &Running, owner: &str) -> Ready {
    let mut out = Ready::new();
    running.engine.each_pod_of(owner, |pod| {
        if pod.ready && pod.state == State::Running {
            *out.entry(pod.workload.clone()).or_default().entry(pod.revision).or_default() += 1;
        }
    });
    out
}

/// Ports of a service's containers that were others in the model before: by where the service is called.
fn moved(of: &[&Service], before: &Model) -> BTreeMap<u16, (u16, crate::domain::model::Protocol)> {
    let old = |s: &Service| before.services.iter().find(|b| b.name == s.name && b.called_at() == s.called_at() && b.port > 0);
    of.iter().copied().filter_map(|s| old(s).filter(|b| b.port != s.port).map(|b| (s.called_at(), (b.port, b.protocol)))).collect()
}
