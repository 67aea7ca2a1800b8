//! The decision: filter all nodes, score the rest, take the best. Equal scores go to the node that became known first.

use crate::amounts::{KINDS, Resource};
use crate::best::{NO, add_by, best, rule_out_below};
use crate::cluster::{Cluster, GroupIx, NodeIx};
use crate::formula::{Expr, View};
use crate::rules::{Effect, Match, Spread, Taint};
use crate::score::{Weights, apart};
use crate::spec::Rules;

/// What is known of this one decision beside the group's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Only these: where its volumes are.
    pub only: Option<Vec<NodeIx>>,
    /// Not these: where it is to go away from.
    pub except: Vec<NodeIx>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    pub node: NodeIx,
    /// Higher is better; only compared within one decision.
    pub score: f32,
}

/// A soft taint costs as much as a preference of this weight.
const SOFT_TAINT: f32 = 300.0;

impl Cluster {
    /// The best node for one more instance, or none. Nothing is booked.
    pub fn choose(&mut self, group: GroupIx, weights: &Weights, hints: &Hints) -> Option<Choice> {
        let mut scores = std::mem::take(&mut self.scratch);
        self.score_rules(group, weights, hints, &mut scores);
        self.rule_out_full(group, &mut scores);
        self.add_fill(&mut scores, &self.groups[group.0 as usize].asked, weights);
        let found = best(&scores).map(|(at, score)| Choice { node: NodeIx(at as u32), score });
        self.scratch = scores;
        found
    }

    /// The score of every node before its room is looked at; minus infinity where a rule forbids it.
    pub(crate) fn score_rules(&mut self, group: GroupIx, weights: &Weights, hints: &Hints, scores: &mut Vec<f32>) {
        self.ensure_bias(group);
        let terms = self.terms(group, weights);
        let own = &self.groups[group.0 as usize];
        let prefer = Weights::factor(weights.prefer);
        scores.clear();
        scores.extend(own.bias.iter().map(|b| b * prefer));
        for term in &terms {
            add_by(scores, self.columns[term.column].of(), &term.table);
        }
        self.add_load(scores, weights);
        let spread = weights.spread as f32 * 0.5;
        for (node, count) in &self.families[own.family].on {
            let score = &mut scores[*node as usize];
            // All nodes without any have the same 1000, which is left out.
            *score += spread * (apart(*count) - apart(0));
            if own.spec.max_per_node > 0 && *count >= own.spec.max_per_node {
                *score = NO;
            }
        }
        if weights.image > 0 && !own.spec.image.is_empty() {
            for node in self.image_nodes.get(&own.spec.image).into_iter().flatten() {
                scores[*node as usize] += 1000.0 * weights.image as f32;
            }
        }
        if own.spec.formulas.iter().any(|rule| !rule.is_fixed()) {
            self.add_formulas(group, false, prefer, scores);
        }
        if let Some(only) = &hints.only {
            let kept: Vec<(NodeIx, f32)> = only.iter().map(|n| (*n, scores[n.0 as usize])).collect();
            scores.fill(NO);
            kept.into_iter().for_each(|(n, score)| scores[n.0 as usize] = score);
        }
        for node in &hints.except {
            scores[node.0 as usize] = NO;
        }
    }

    /// Rules out the nodes without room.
    pub(crate) fn rule_out_full(&self, group: GroupIx, scores: &mut [f32]) {
        let own = &self.groups[group.0 as usize];
        // What is reserved for it counts as free for it, on those few nodes.
        let promised: Vec<(usize, f32)> = self.promised(group).into_iter().map(|at| (at, scores[at])).collect();
        for kind in 0..KINDS {
            if own.asked[kind] > 0 {
                rule_out_below(scores, &self.free[kind], own.asked[kind] as i32);
            }
        }
        for (at, score) in promised {
            if self.has_room_reserved(group, at) {
                // And it should be used before anything else is.
                scores[at] = score + 1e6;
            }
        }
        for (index, amount) in &own.extended {
            for (score, free) in scores.iter_mut().zip(&self.extended_free[*index]) {
                *score = if free < amount { NO } else { *score };
            }
        }
        for port in &own.spec.ports {
            for (node, address) in self.port_users.get(&port.key()).into_iter().flatten() {
                if port.meets_at(*address) {
                    scores[*node as usize] = NO;
                }
            }
        }
    }

    /// Makes the group's column of nodes by rules on attributes anew, if a node has changed.
    pub(crate) fn ensure_bias(&mut self, group: GroupIx) {
        let at = group.0 as usize;
        if self.groups[at].bias_at == self.attributes_at && self.groups[at].bias.len() == self.nodes.len() {
            return;
        }
        let spec = std::sync::Arc::clone(&self.groups[at].spec);
        let rules = &spec.rules;
        let mut bias = std::mem::take(&mut self.groups[at].bias);
        bias.clear();
        bias.extend(self.gone.iter().map(|gone| if *gone { NO } else { 0.0 }));
        self.by_state(&mut bias, rules);
        self.by_attributes(&mut bias, rules);
        let runtime = self.runtime_column();
        if !rules.runtime_class.is_empty() {
            self.narrow(&mut bias, runtime, |classes| if has_runtime(classes, &rules.runtime_class) { 0.0 } else { NO });
        }
        for preference in &rules.preferred {
            let holds = self.all_hold(&preference.matches);
            let worth = preference.weight.min(100) as f32 * 10.0;
            bias.iter_mut().zip(holds).for_each(|(bias, holds)| *bias += if holds { worth } else { 0.0 });
        }
        if !spec.formulas.is_empty() {
            self.add_formulas(group, true, 1.0, &mut bias);
        }
        let wide = rules.spread.iter().map(|spread| self.wide(rules, spread)).collect();
        // Columns that were made meanwhile have moved nothing.
        self.groups[at].bias = bias;
        self.groups[at].wide = wide;
        self.groups[at].bias_at = self.attributes_at;
    }

    /// What users wrote: the rules that depend on labels alone, or the others. Nodes that will not do anyway are not looked at.
    fn add_formulas(&self, group: GroupIx, fixed: bool, factor: f32, scores: &mut [f32]) {
        let spec = &self.groups[group.0 as usize].spec;
        for rule in spec.formulas.iter().filter(|rule| rule.is_fixed() == fixed) {
            for (at, score) in scores.iter_mut().enumerate().filter(|(_, score)| **score > NO) {
                *score = self.seen(group, at, |view| match &rule.holds {
                    Some(holds) if holds.holds(view) != Ok(true) => NO,
                    _ => *score + rule.worth.as_ref().map_or(0.0, |worth| worth.worth(view) * factor),
                });
            }
        }
    }

    /// A node as the group's expressions see it.
    pub(crate) fn seen<T>(&self, group: GroupIx, at: usize, look: impl FnOnce(&View<'_>) -> T) -> T {
        let (node, spec) = (&self.nodes[at], &self.groups[group.0 as usize].spec);
        let whole = |units: i64, kind: Resource| units.saturating_mul(i64::try_from(kind.grain()).unwrap_or(i64::MAX));
        let amounts = |part: &Expr| match part {
            Expr::Free(kind) => whole(self.free_for(group, at)[*kind as usize], *kind),
            Expr::Total(kind) => whole(self.limit[*kind as usize][at].into(), *kind),
            Expr::Asked(kind) => i64::try_from(spec.requests.of(*kind)).unwrap_or(i64::MAX),
            Expr::Standing => i64::try_from(self.here[at].len()).unwrap_or(i64::MAX),
            Expr::StandingOwn => self.family_here(group, at).into(),
            _ => 0,
        };
        look(&View { name: &node.name, attributes: &node.attributes, labels: &spec.labels, amounts: &amounts })
    }

    /// Taints, and whether the node takes anything at all.
    fn by_state(&mut self, bias: &mut [f32], rules: &Rules) {
        let state = self.state_column();
        self.narrow(bias, state, |state| if state.is_some() { NO } else { 0.0 });
        let taint = self.taint_column();
        self.narrow(bias, taint, |set| {
            let left = |t: &Taint| !rules.tolerations.iter().any(|toleration| toleration.tolerates(t));
            taints(set).iter().filter(|t| left(t)).map(|t| if t.effect == Effect::PreferNoSchedule { -SOFT_TAINT } else { NO }).sum()
        });
    }

    fn by_attributes(&mut self, bias: &mut [f32], rules: &Rules) {
        for rule in &rules.required {
            let column = self.column(&rule.attribute);
            self.narrow(bias, column, |value| if rule.holds(value) { 0.0 } else { NO });
        }
        if !rules.any_of.is_empty() {
            let mut any = vec![false; bias.len()];
            for choice in &rules.any_of {
                let holds = self.all_hold(choice);
                any.iter_mut().zip(holds).for_each(|(any, holds)| *any |= holds);
            }
            bias.iter_mut().zip(any).for_each(|(bias, any)| *bias = if any { *bias } else { NO });
        }
    }

    /// The nodes whose places count for a rule to spread, if they are not those that may do.
    fn wide(&mut self, rules: &Rules, spread: &Spread) -> Option<Vec<bool>> {
        if !spread.tainted && !spread.unchosen {
            return None;
        }
        let mut counts: Vec<f32> = self.gone.iter().map(|gone| if *gone { NO } else { 0.0 }).collect();
        if !spread.tainted {
            self.by_state(&mut counts, rules);
        }
        if !spread.unchosen {
            self.by_attributes(&mut counts, rules);
        }
        Some(counts.into_iter().map(|count| count > NO).collect())
    }

    fn narrow(&self, bias: &mut [f32], column: usize, f: impl FnMut(Option<&str>) -> f32) {
        let column = &self.columns[column];
        add_by(bias, column.of(), &column.table(f));
    }

    fn all_hold(&mut self, matches: &[Match]) -> Vec<bool> {
        let mut all = vec![true; self.nodes.len()];
        for rule in matches {
            let column = self.column(&rule.attribute);
            let table = self.columns[column].table(|value| rule.holds(value));
            all.iter_mut().zip(self.columns[column].of()).for_each(|(all, of)| *all &= table[*of as usize]);
        }
        all
    }
}

pub(crate) fn has_runtime(classes: Option<&str>, wanted: &str) -> bool {
    classes.is_some_and(|all| all.split('\u{2}').any(|c| c == wanted))
}

/// A set of taints as its column holds it.
pub(crate) fn taints(set: Option<&str>) -> Vec<Taint> {
    let one = |text: &str| {
        let mut parts = text.split('\u{1}');
        Some(Taint { key: parts.next()?.to_owned(), value: parts.next()?.to_owned(), effect: Effect::parse(parts.next()?)? })
    };
    set.unwrap_or_default().split('\u{2}').filter_map(one).collect()
}
