//! The stages of a release over several clusters: one goes through all of them, then the next one begins with the first. So one that
//! is bad, by its checks or for somebody's eyes, has had requests on one cluster alone. Whose turn it is the clusters say themselves:
//! one where something of the revision before is left has not ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_kernel::Name;
use gantry_kubernetes::{Kind, REVISION};
use serde_json::Value;

use crate::adapters::clusters::Running;
use crate::app::change::scaled_in;
use crate::domain::fleet::{ClusterOverrides, Part, overridden, portion};
use crate::domain::model::Model;
use crate::domain::rollout::{self, Door, Standing};
use crate::flows::advance::Subject;
use crate::flows::on_cluster::are_ready_on;
use crate::flows::rollout::{Exchange, Verdict};

/// How one cluster stands in a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Nobody hears of it.
    Lost,
    /// It has the revision before, and has not been told of the new one.
    Before,
    /// It has been told, and none of the new one shall be there yet.
    Told,
    Both,
    /// Nothing is left there that could be exchanged.
    Done,
}

impl Side {
    /// By the sets that are there.
    pub(super) fn of(running: &Running, owner: &str, from: u64, current: u64) -> Self {
        let sets = Kind::of("apps/v1", "Deployment").map(|kind| running.engine.objects(owner, kind)).unwrap_or_default();
        side(&sets, from, current)
    }
}

fn side(sets: &[Value], from: u64, current: u64) -> Side {
    let of = |set: &Value| set["metadata"]["labels"][REVISION].as_str().and_then(|r| r.parse::<u64>().ok());
    let new = sets.iter().filter(|set| of(set) == Some(current)).map(|set| set["spec"]["replicas"].as_u64().unwrap_or(1)).max();
    match (sets.iter().any(|set| of(set) == Some(from)), new) {
        (false, _) => Side::Done,
        (true, None) => Side::Before,
        (true, Some(0)) => Side::Told,
        (true, Some(_)) => Side::Both,
    }
}

/// The one that has begun, or else the first that has not.
fn turn(sides: &[Side]) -> Option<usize> {
    let first = |wanted: Side| sides.iter().position(|side| *side == wanted);
    first(Side::Both).or_else(|| first(Side::Told)).or_else(|| first(Side::Before))
}

/// What was seen of the cluster whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    towards: usize,
    /// Its pods are ready for the stage that is striven for.
    ready: bool,
    /// Everybody knows where to send what.
    may_step: bool,
}

pub(super) struct Staged<'a> {
    exchange: &'a Exchange,
    sides: Vec<Side>,
    pub turn: Option<usize>,
    seen: Option<Seen>,
}

impl<'a> Staged<'a> {
    /// `sides`: by place.
    pub(super) fn of(exchange: &'a Exchange, sides: Vec<Side>) -> Self {
        let turn = turn(&sides);
        Self { exchange, sides, turn, seen: None }
    }

    pub(super) fn is_done(&self, at: usize) -> bool {
        matches!(self.sides.get(at), Some(Side::Done))
    }

    /// The cluster whose stages were gone through has ended: the next one begins.
    pub(super) fn goes_over(&self) -> bool {
        self.exchange.at.step > 0 && self.turn.is_some_and(|at| self.sides[at] == Side::Before)
    }

    /// The release as the cluster at this place has it: its part of the old revision, and its own step. `own`: its part of the new one.
    pub(super) fn on(
        &self,
        at: usize,
        here: &BTreeMap<Name, Part>,
        own: &Model,
        overrides: &ClusterOverrides,
        running: &Running,
        subject: &Subject,
    ) -> Exchange {
        let whole = self.exchange;
        let step = match self.sides.get(at) {
            _ if self.turn == Some(at) => whole.at.step,
            Some(Side::Done) | None => whole.stages.len(),
            // A lost one goes on with the revision before when it is back, until it has its turn.
            Some(Side::Lost | Side::Before | Side::Told | Side::Both) => 0,
        };
        let scale = scaled_in(&whole.base.row.scale);
        let count = |name: &Name| Some(scale.get(name).copied().unwrap_or(whole.base.model.workloads.get(name)?.replicas));
        let parts: BTreeMap<Name, Part> =
            here.iter().filter_map(|(name, part)| Some((name.clone(), Part { replicas: part.of_number(count(name)?), ..part.clone() }))).collect();
        let mut model = overridden(portion(&whole.base.model, &parts, &scale), overrides);
        model.release.clone_from(&whole.base.model.release);
        let mut row = whole.base.row.clone();
        // The parts are numbers already.
        row.scale = Value::Object(serde_json::Map::new());
        let of = &whole.base;
        let base = Subject { row, view: of.view.clone(), alive: of.alive.clone(), ended: of.ended.clone(), tries: of.tries.clone(), model: Arc::new(model) };
        let at_step = Standing { step, ..whole.at };
        let mut out = Exchange { stages: whole.stages.clone(), at: at_step, base, verdict: Verdict::Good, towards: step };
        let opens = self.turn == Some(at) && !out.ended() && matches!(whole.verdict, Verdict::Good) && rollout::door(&whole.stages, &whole.at) == Door::Open;
        if opens && are_ready_on(&out, step, subject, own, running) {
            out.towards = step + 1;
        }
        out
    }

    /// Takes in how the cluster stands that has the turn.
    pub(super) fn look(&mut self, at: usize, one: &Exchange, may_step: bool, own: &Model, running: &Running, subject: &Subject) {
        if self.turn == Some(at) {
            self.seen = Some(Seen { towards: one.towards, ready: are_ready_on(one, one.towards, subject, own, running), may_step });
        }
    }

    /// The stage that can begin there now.
    pub(super) fn next(&self) -> Option<usize> {
        self.seen.filter(|seen| seen.ready && seen.may_step && seen.towards > self.exchange.at.step).map(|seen| seen.towards)
    }

    /// Is nothing expected to move now: somebody, or a time, is waited for?
    pub(super) fn rests(&self) -> bool {
        !self.exchange.ended() && self.seen.is_some_and(|seen| seen.ready && seen.towards == self.exchange.at.step)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_has_ended_when_nothing_of_the_revision_before_is_left() {
        let set = |revision: &str, replicas: u32| json!({ "metadata": { "labels": { REVISION: revision } }, "spec": { "replicas": replicas } });
        assert_eq!(side(&[set("1", 2)], 1, 2), Side::Before);
        assert_eq!(side(&[set("1", 2), set("2", 0)], 1, 2), Side::Told);
        assert_eq!(side(&[set("1", 2), set("2", 1)], 1, 2), Side::Both);
        assert_eq!(side(&[set("2", 2)], 1, 2), Side::Done);
        assert_eq!(side(&[], 1, 2), Side::Done, "it had nothing, and gets the new one at once");
    }

    #[test]
    fn one_after_the_other_has_the_turn() {
        assert_eq!(turn(&[Side::Before, Side::Before]), Some(0));
        assert_eq!(turn(&[Side::Done, Side::Before]), Some(1));
        assert_eq!(turn(&[Side::Before, Side::Both]), Some(1), "what has begun goes on, also when one before it is back");
        assert_eq!(turn(&[Side::Lost, Side::Before]), Some(1));
        assert_eq!(turn(&[Side::Done, Side::Lost]), None);
    }
}
