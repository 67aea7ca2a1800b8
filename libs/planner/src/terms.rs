//! Rules about who stands where: counters of instances per place, and from them, for one decision, a table per rule that says
//! for each place what it adds to the score of its nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::best::NO;
use crate::booking::change_count;
use crate::cluster::{Cluster, GroupIx, NodeIx, ZONE};
use crate::rules::{Near, Selector, Spread};
use crate::score::{Weights, apart};

/// What a counter counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    Family(usize),
    /// Groups of the scope whose labels are selected.
    Selected {
        scope: String,
        selector: Selector,
    },
    /// Instances that carry the hard rule "apart from those selected".
    Carriers {
        scope: String,
        topology: String,
        selector: Selector,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CounterKey {
    pub column: usize,
    pub counted: Counted,
}

pub(crate) struct Counter {
    pub key: CounterKey,
    /// Per value of the column, where there are any.
    pub places: BTreeMap<u32, u32>,
    pub total: u32,
}

/// One rule of one decision.
pub(crate) struct Term {
    pub column: usize,
    /// Added to the score of a node, by its value in the column.
    pub table: Vec<f32>,
    pub what: What,
}

pub(crate) enum What {
    /// Only better or worse.
    Soft,
    /// The rule of this number of the group's.
    Near {
        rule: usize,
    },
    Apart {
        rule: usize,
        counter: usize,
    },
    /// Somebody there wants to be apart from this group.
    Shunned {
        counter: usize,
    },
    Spread {
        rule: usize,
        counter: usize,
        least: u32,
    },
}

impl Cluster {
    pub(crate) fn counter(&mut self, topology: &str, counted: Counted) -> usize {
        let column = self.column(topology);
        let key = CounterKey { column, counted };
        if let Some(found) = self.counter_keys.get(&key) {
            return *found;
        }
        let index = self.counters.len();
        let mut counter = Counter { key: key.clone(), places: BTreeMap::new(), total: 0 };
        let scope = match &key.counted {
            Counted::Family(_) => None,
            Counted::Selected { scope, .. } | Counted::Carriers { scope, .. } => Some(scope.clone()),
        };
        let concerned = match (&scope, &key.counted) {
            (Some(scope), _) => self.scope_groups.get(scope).cloned().unwrap_or_default(),
            (None, Counted::Family(family)) => self.family_groups[*family].clone(),
            (None, _) => Vec::new(),
        };
        for group in concerned {
            if counts(&key.counted, self, group) {
                for (node, count) in &self.groups[group.0 as usize].on {
                    *counter.places.entry(self.columns[column].of()[*node as usize]).or_default() += count;
                    counter.total += count;
                }
                self.groups[group.0 as usize].counted_by.push(index);
            }
            if self.shuns(&key.counted, group) {
                self.groups[group.0 as usize].shunned_by.push(index);
            }
        }
        if let Some(scope) = scope {
            self.scope_counters.entry(scope).or_default().push(index);
        }
        self.counters.push(counter);
        self.counter_keys.insert(key, index);
        index
    }

    fn shuns(&self, counted: &Counted, group: GroupIx) -> bool {
        let spec = &self.groups[group.0 as usize].spec;
        matches!(counted, Counted::Carriers { scope, selector, .. } if *scope == spec.scope && selector.selects(&spec.labels))
    }

    /// A new group is counted where it concerns somebody, and gets the counters that its own rules need.
    pub(crate) fn join(&mut self, group: GroupIx) {
        let at = group.0 as usize;
        let (spec, family) = (Arc::clone(&self.groups[at].spec), self.groups[at].family);
        // Those of the family count it by being of the family; those of the scope by its labels.
        let of_family = self.family_groups[family].first().map(|g| self.groups[g.0 as usize].counted_by.clone()).unwrap_or_default();
        let of_scope = self.scope_counters.get(&spec.scope).cloned().unwrap_or_default();
        let of_family = of_family.into_iter().filter(|c| matches!(self.counters[*c].key.counted, Counted::Family(_)));
        for index in of_family.chain(of_scope).collect::<Vec<_>>() {
            let counted = self.counters[index].key.counted.clone();
            if counts(&counted, self, group) {
                self.groups[at].counted_by.push(index);
            }
            if self.shuns(&counted, group) {
                self.groups[at].shunned_by.push(index);
            }
        }
        self.family_groups[family].push(group);
        self.scope_groups.entry(spec.scope.clone()).or_default().push(group);
        let selected = |near: &Near| Counted::Selected { scope: spec.scope.clone(), selector: near.selector.clone() };
        self.groups[at].zone_counter = self.counter(ZONE, Counted::Family(family));
        for near in &spec.rules.near {
            let counter = self.counter(&near.topology, selected(near));
            self.groups[at].near_counters.push(counter);
            if near.apart && near.weight.is_none() {
                let carriers = Counted::Carriers { scope: spec.scope.clone(), topology: near.topology.clone(), selector: near.selector.clone() };
                self.counter(&near.topology, carriers);
            }
        }
        for spread in &spec.rules.spread {
            let counter = self.counter(&spread.topology, counted_by_spread(spread, family, &spec.scope));
            self.groups[at].spread_counters.push(counter);
        }
    }

    /// Before a group is replaced; it has no instances then.
    pub(crate) fn leave(&mut self, group: GroupIx) {
        let (family, scope) = (self.groups[group.0 as usize].family, self.groups[group.0 as usize].spec.scope.clone());
        self.family_groups[family].retain(|g| *g != group);
        if let Some(groups) = self.scope_groups.get_mut(&scope) {
            groups.retain(|g| *g != group);
        }
    }

    pub(crate) fn count(&mut self, group: GroupIx, node: NodeIx, comes: bool) {
        for index in &self.groups[group.0 as usize].counted_by {
            let counter = &mut self.counters[*index];
            let place = self.columns[counter.key.column].of()[node.0 as usize];
            change_count(&mut counter.places, place, comes);
            counter.total = if comes { counter.total + 1 } else { counter.total - 1 };
        }
    }

    /// The rules of a group as tables.
    pub(crate) fn terms(&mut self, group: GroupIx, weights: &Weights) -> Vec<Term> {
        self.ensure_bias(group);
        let own = &self.groups[group.0 as usize];
        let spec = &own.spec;
        let mut out = Vec::new();
        let zones = own.zone_counter;
        if weights.spread > 0 && self.counters[zones].total > 0 && self.columns[self.counters[zones].key.column].len() > 2 {
            let weight = weights.spread as f32 * 0.5;
            out.push(self.soft(zones, |count| weight * apart(count)));
        }
        for (rule, (near, counter)) in spec.rules.near.iter().zip(&own.near_counters).enumerate() {
            match near.weight {
                // The more of them are there the better, or the worse.
                Some(weight) => {
                    let full = weight.min(100) as f32 * 10.0 * weights.prefer as f32;
                    let most = self.counters[*counter].places.iter().filter(|(place, _)| **place > 0).map(|(_, n)| *n).max().unwrap_or(0).max(1) as f32;
                    let sign = if near.apart { -1.0 } else { 1.0 };
                    out.push(self.soft(*counter, |count| sign * full * count as f32 / most));
                }
                None => out.push(self.hard_near(rule, near, *counter, &spec.labels)),
            }
        }
        for counter in &own.shunned_by {
            if self.counters[*counter].total > 0 {
                let table = self.table(*counter, |place, count| if place > 0 && count > 0 { NO } else { 0.0 });
                out.push(Term { column: self.counters[*counter].key.column, table, what: What::Shunned { counter: *counter } });
            }
        }
        for (rule, (spread, counter)) in spec.rules.spread.iter().zip(&own.spread_counters).enumerate() {
            out.push(self.spread(group, rule, spread, *counter, weights));
        }
        out
    }

    fn hard_near(&self, rule: usize, near: &Near, counter: usize, labels: &BTreeMap<String, String>) -> Term {
        let column = self.counters[counter].key.column;
        if near.apart {
            let table = self.table(counter, |place, count| if place > 0 && count > 0 { NO } else { 0.0 });
            return Term { column, table, what: What::Apart { rule, counter } };
        }
        // The first of those who want to be together has nobody to be near to yet.
        let first = self.counters[counter].total == 0 && near.selector.selects(labels);
        let table = self.table(counter, |place, count| if place > 0 && (first || count > 0) { 0.0 } else { NO });
        Term { column, table, what: What::Near { rule } }
    }

    fn spread(&self, group: GroupIx, rule: usize, spread: &Spread, counter: usize, weights: &Weights) -> Term {
        let column = self.counters[counter].key.column;
        let places = self.places(group, rule, column);
        let own = u32::from(counts(&self.counters[counter].key.counted, self, group));
        let count = |place: u32| self.counters[counter].places.get(&place).copied().unwrap_or(0);
        let open: Vec<u32> = (1..places.len()).filter(|p| places[*p]).map(|p| count(u32::try_from(p).unwrap_or(0))).collect();
        let few = open.len() < spread.min_places as usize;
        let least = if few { 0 } else { open.iter().copied().min().unwrap_or(0) };
        if spread.hard {
            let most = least.saturating_add(spread.max_skew.max(1));
            let table = self.table(counter, |place, count| if place > 0 && count + own <= most { 0.0 } else { NO });
            return Term { column, table, what: What::Spread { rule, counter, least } };
        }
        let full = weights.spread as f32 * 1000.0;
        let range = (open.iter().copied().max().unwrap_or(0) - least).max(1) as f32;
        // A node that is in no place is no better than the fullest place.
        let table = self.table(counter, |place, count| if place == 0 { -full } else { -full * (count.saturating_sub(least)) as f32 / range });
        Term { column, table, what: What::Soft }
    }

    /// Which values of a column have a node that counts for this rule: one that may do, unless the rule says otherwise.
    fn places(&self, group: GroupIx, rule: usize, column: usize) -> Vec<bool> {
        let mut places = vec![false; self.columns[column].len()];
        let (own, of) = (&self.groups[group.0 as usize], self.columns[column].of());
        match own.wide.get(rule).and_then(Option::as_ref) {
            Some(wide) => wide.iter().zip(of).for_each(|(counts, place)| places[*place as usize] |= counts),
            None => own.bias.iter().zip(of).for_each(|(bias, place)| places[*place as usize] |= *bias > NO),
        }
        places
    }

    fn soft(&self, counter: usize, f: impl Fn(u32) -> f32) -> Term {
        let table = self.table(counter, |place, count| if place > 0 { f(count) } else { 0.0 });
        Term { column: self.counters[counter].key.column, table, what: What::Soft }
    }

    fn table(&self, counter: usize, f: impl Fn(u32, u32) -> f32) -> Vec<f32> {
        let counter = &self.counters[counter];
        let len = u32::try_from(self.columns[counter.key.column].len()).unwrap_or(u32::MAX);
        let none = f(1, 0);
        let mut table = vec![none; len as usize];
        table[0] = f(0, 0);
        for (place, count) in &counter.places {
            table[*place as usize] = f(*place, *count);
        }
        table
    }
}

fn counted_by_spread(spread: &Spread, family: usize, scope: &str) -> Counted {
    if spread.selector.is_empty() { Counted::Family(family) } else { Counted::Selected { scope: scope.to_owned(), selector: spread.selector.clone() } }
}

/// Does the counter count instances of this group?
fn counts(counted: &Counted, cluster: &Cluster, group: GroupIx) -> bool {
    let group = &cluster.groups[group.0 as usize];
    match counted {
        Counted::Family(family) => *family == group.family,
        Counted::Selected { scope, selector } => *scope == group.spec.scope && selector.selects(&group.spec.labels),
        Counted::Carriers { scope, topology, selector } => {
            let carries = |n: &Near| n.apart && n.weight.is_none() && n.topology == *topology && n.selector == *selector;
            *scope == group.spec.scope && group.spec.rules.near.iter().any(carries)
        }
    }
}
