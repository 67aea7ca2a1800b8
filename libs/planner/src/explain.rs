//! Why not there: the same rules as the decision, asked node by node, with names and numbers; and what would have to change.

use std::collections::BTreeMap;
use std::fmt;

use crate::amounts::{ALL, Resource};
use crate::best::NO;
use crate::choose::{Hints, has_runtime};
use crate::cluster::{Cluster, GroupIx, NodeIx};
use crate::formula::Unknown;
use crate::rules::{Effect, Match, Taint};
use crate::score::Weights;
use crate::terms::{Term, What};

/// One reason against one node. Its `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    Absent,
    Cordoned,
    Tainted {
        taint: Taint,
    },
    RuntimeClass {
        wanted: String,
    },
    Rule {
        rule: Match,
        actual: Option<String>,
    },
    NoChoice {
        choices: String,
    },
    /// What a user wrote does not hold, or why nothing can be said of it.
    Formula {
        text: String,
        unknown: Option<Unknown>,
    },
    /// What it keeps is on another node, or this is the node it is to leave.
    Elsewhere,
    PerNode {
        here: u32,
        most: u32,
    },
    Port {
        port: u16,
    },
    Room {
        kind: Resource,
        asked: u64,
        free: u64,
        limit: u64,
    },
    Extended {
        name: String,
        asked: u64,
        free: u64,
    },
    /// The node has not got the attribute that makes it part of a place.
    NoPlace {
        topology: String,
    },
    NotNear {
        topology: String,
        place: String,
        selector: String,
    },
    NotApart {
        topology: String,
        place: String,
        selector: String,
        there: u32,
    },
    Shunned {
        place: String,
        there: u32,
    },
    Uneven {
        topology: String,
        place: String,
        there: u32,
        least: u32,
        most: u32,
    },
}

impl Obstacle {
    /// The same for all nodes where the same rule is in the way.
    pub fn kind(&self) -> String {
        match self {
            Self::Absent => "absent".into(),
            Self::Cordoned => "cordoned".into(),
            Self::Tainted { taint } => format!("taint {}", taint.key),
            Self::RuntimeClass { .. } => "runtime class".into(),
            Self::Rule { rule, .. } => format!("rule {rule}"),
            Self::NoChoice { .. } => "none of several rules".into(),
            Self::Formula { text, .. } => format!("rule {text}"),
            Self::Elsewhere => "volumes".into(),
            Self::PerNode { .. } => "most per node".into(),
            Self::Port { port } => format!("port {port}"),
            Self::Room { kind, .. } => kind.as_str().into(),
            Self::Extended { name, .. } => name.clone(),
            Self::NoPlace { topology } => format!("no {topology}"),
            Self::NotNear { selector, .. } => format!("near {selector}"),
            Self::NotApart { selector, .. } => format!("apart from {selector}"),
            Self::Shunned { .. } => "kept away by others".into(),
            Self::Uneven { topology, .. } => format!("even over {topology}"),
        }
    }

    /// What would have to change so that this is no reason any more; the amount is what is missing at least.
    fn remedy(&self, missing: u64) -> String {
        match self {
            Self::Absent => "its agent has to come back".into(),
            Self::Cordoned => "uncordon it".into(),
            Self::Tainted { taint } => format!("take the taint `{taint}` away, or tolerate it"),
            Self::RuntimeClass { wanted } => format!("set the runtime class `{wanted}` up there, or ask for another"),
            Self::Rule { rule, .. } => format!("drop the rule `{rule}`, or change the node's attribute"),
            Self::NoChoice { .. } => "drop or widen the alternatives".into(),
            Self::Formula { text, .. } => format!("change the space's rule `{text}`, or the node"),
            Self::Elsewhere => "its volumes have to move there".into(),
            Self::PerNode { most, .. } => format!("allow more than {most} per node"),
            Self::Port { port } => format!("free port {port}, or take another"),
            Self::Room { kind, .. } => format!("free {missing} {} of {}, or ask for so much less", kind.unit(), kind.as_str()),
            Self::Extended { name, .. } => format!("free {missing} of {name}, or ask for so much less"),
            Self::NoPlace { topology } => format!("give the node a `{topology}`"),
            Self::NotNear { selector, .. } => format!("bring {selector} there first, or make the rule a preference"),
            Self::NotApart { selector, .. } => format!("move {selector} away, or make the rule a preference"),
            Self::Shunned { .. } => "move those away that want to be apart".into(),
            Self::Uneven { topology, .. } => format!("fill the emptier places of `{topology}` first, or allow a larger difference"),
        }
    }

    fn missing(&self) -> u64 {
        match self {
            Self::Room { asked, free, .. } | Self::Extended { asked, free, .. } => asked.saturating_sub(*free),
            _ => 0,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the node is not heard from"),
            Self::Cordoned => f.write_str("the node takes no new instances (cordoned)"),
            Self::Tainted { taint } => write!(f, "has the taint `{taint}`, which is not tolerated"),
            Self::RuntimeClass { wanted } => write!(f, "has no runtime class `{wanted}`"),
            Self::Rule { rule, actual } => write!(f, "the rule `{rule}` does not hold: it is `{}`", actual.as_deref().unwrap_or_default()),
            Self::NoChoice { choices } => write!(f, "none of these holds: {choices}"),
            Self::Formula { text, unknown: None } => write!(f, "the rule `{text}` does not hold"),
            Self::Formula { text, unknown: Some(unknown) } => write!(f, "the rule `{text}` says nothing here: {unknown}"),
            Self::Elsewhere => f.write_str("its volumes are on another node"),
            Self::PerNode { here, most } => write!(f, "already runs {here} of at most {most} instances"),
            Self::Port { port } => write!(f, "port {port} of the node is taken"),
            Self::Room { kind, asked, free, limit } => write!(f, "{}: {asked} {} asked, {free} of {limit} free", kind.as_str(), kind.unit()),
            Self::Extended { name, asked, free } => write!(f, "{name}: {asked} asked, {free} free"),
            Self::NoPlace { topology } => write!(f, "has no `{topology}`"),
            Self::NotNear { topology, place, selector } => write!(f, "no instance of {selector} is in {topology} `{place}`"),
            Self::NotApart { topology, place, selector, there } => write!(f, "{there} instances of {selector} are in {topology} `{place}`"),
            Self::Shunned { place, there } => write!(f, "{there} instances in `{place}` want to be apart from it"),
            Self::Uneven { topology, place, there, least, most } => {
                write!(f, "{topology} `{place}` already has {there}, the emptiest place {least}; the difference may be {most}")
            }
        }
    }
}

/// What was found about one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub node: NodeIx,
    /// Why not; empty if it would do.
    pub obstacles: Vec<Obstacle>,
    /// As [`crate::Choice::score`]; 0 where it would not do.
    pub score: f32,
}

/// How many nodes a reason is in the way on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub kind: String,
    pub nodes: u32,
    /// The reason on the first of them.
    pub example: String,
}

/// One change that would make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    pub change: String,
    /// On how many nodes this alone would be enough, and the first of them by what is missing.
    pub nodes: u32,
    pub example: NodeIx,
}

/// Reasons by how many nodes they concern, and the single changes that would be enough, those for most nodes first.
pub fn summarise(findings: &[Finding]) -> (Vec<Summary>, Vec<Remedy>) {
    let mut counted: BTreeMap<String, (u32, String)> = BTreeMap::new();
    let mut alone: BTreeMap<String, (u32, u64, NodeIx, &Obstacle)> = BTreeMap::new();
    for finding in findings {
        for obstacle in &finding.obstacles {
            counted.entry(obstacle.kind()).or_insert_with(|| (0, obstacle.to_string())).0 += 1;
        }
        if let [only] = finding.obstacles.as_slice() {
            let entry = alone.entry(only.kind()).or_insert((0, u64::MAX, finding.node, only));
            entry.0 += 1;
            if only.missing() < entry.1 {
                (entry.1, entry.2, entry.3) = (only.missing(), finding.node, only);
            }
        }
    }
    let mut summaries: Vec<Summary> = counted.into_iter().map(|(kind, (nodes, example))| Summary { kind, nodes, example }).collect();
    summaries.sort_by(|a, b| b.nodes.cmp(&a.nodes).then_with(|| a.kind.cmp(&b.kind)));
    let mut remedies: Vec<Remedy> =
        alone.into_values().map(|(nodes, missing, example, obstacle)| Remedy { change: obstacle.remedy(missing), nodes, example }).collect();
    remedies.sort_by(|a, b| b.nodes.cmp(&a.nodes).then_with(|| a.change.cmp(&b.change)));
    (summaries, remedies)
}

impl Cluster {
    /// What speaks against each node, and how good the others are. The best without obstacles is what
    /// [`choose`](Self::choose) takes.
    pub fn explain(&mut self, group: GroupIx, weights: &Weights, hints: &Hints) -> Vec<Finding> {
        let mut scores = Vec::new();
        self.score_rules(group, weights, hints, &mut scores);
        self.rule_out_full(group, &mut scores);
        self.add_fill(&mut scores, &self.groups[group.0 as usize].asked, weights);
        let terms = self.terms(group, weights);
        let known = (0..self.nodes.len()).filter(|at| !self.gone[*at]);
        known
            .map(|at| {
                let obstacles = if scores[at] > NO { Vec::new() } else { self.obstacles(group, at, &terms, hints) };
                Finding { node: NodeIx(at as u32), score: if obstacles.is_empty() { scores[at] } else { 0.0 }, obstacles }
            })
            .collect()
    }

    /// May instances of this group stand on the node at all, its room and its present neighbours apart?
    pub fn eligible(&mut self, group: GroupIx, node: NodeIx) -> bool {
        self.ensure_bias(group);
        self.groups[group.0 as usize].bias[node.0 as usize] > NO
    }

    fn obstacles(&self, group: GroupIx, at: usize, terms: &[Term], hints: &Hints) -> Vec<Obstacle> {
        let mut out = Vec::new();
        self.attribute_obstacles(group, at, &mut out);
        let ix = NodeIx(at as u32);
        if hints.only.as_ref().is_some_and(|only| !only.contains(&ix)) || hints.except.contains(&ix) {
            out.push(Obstacle::Elsewhere);
        }
        let own = &self.groups[group.0 as usize];
        let (here, most) = (self.family_here(group, at), own.spec.max_per_node);
        if most > 0 && here >= most {
            out.push(Obstacle::PerNode { here, most });
        }
        out.extend(terms.iter().filter_map(|t| self.term_obstacle(group, t, at)));
        out.extend(
            own.spec
                .ports
                .iter()
                .filter(|p| self.port_users.get(&p.key()).is_some_and(|all| all.iter().any(|(node, address)| *node == ix.0 && p.meets_at(*address))))
                .map(|p| Obstacle::Port { port: p.number }),
        );
        let free = self.free_for(group, at);
        for kind in ALL {
            let asked = own.asked[kind as usize];
            if asked > 0 && asked > free[kind as usize] {
                let amount = |units: i64| u64::try_from(units).unwrap_or(0).saturating_mul(kind.grain());
                let wanted = if kind == Resource::Instances { 1 } else { own.spec.requests.of(kind) };
                out.push(Obstacle::Room { kind, asked: wanted, free: amount(free[kind as usize]), limit: amount(self.limit[kind as usize][at].into()) });
            }
        }
        for (name, asked) in &own.spec.extended {
            let free = self.extended_names.get(name).map_or(0, |n| self.extended_free[*n][at]);
            let free = u64::try_from(free).unwrap_or(0);
            if free < *asked {
                out.push(Obstacle::Extended { name: name.clone(), asked: *asked, free });
            }
        }
        out
    }

    fn attribute_obstacles(&self, group: GroupIx, at: usize, out: &mut Vec<Obstacle>) {
        let (node, rules) = (&self.nodes[at], &self.groups[group.0 as usize].spec.rules);
        if !node.present {
            out.push(Obstacle::Absent);
        }
        if node.cordoned {
            out.push(Obstacle::Cordoned);
        }
        let tolerated = |t: &Taint| rules.tolerations.iter().any(|toleration| toleration.tolerates(t));
        let hard = node.taints.iter().filter(|t| t.effect != Effect::PreferNoSchedule && !tolerated(t));
        out.extend(hard.map(|taint| Obstacle::Tainted { taint: taint.clone() }));
        let classes: Vec<&str> = node.runtime_classes.iter().map(String::as_str).collect();
        if !rules.runtime_class.is_empty() && !has_runtime(Some(&classes.join("\u{2}")), &rules.runtime_class) {
            out.push(Obstacle::RuntimeClass { wanted: rules.runtime_class.clone() });
        }
        let value = |name: &str| if name == "node.name" { Some(node.name.as_str()) } else { node.attributes.get(name).map(String::as_str) };
        for rule in rules.required.iter().filter(|r| !r.holds(value(&r.attribute))) {
            out.push(Obstacle::Rule { rule: rule.clone(), actual: value(&rule.attribute).map(str::to_owned) });
        }
        for rule in self.groups[group.0 as usize].spec.formulas.iter().filter_map(|rule| rule.holds.as_ref()) {
            match self.seen(group, at, |view| rule.holds(view)) {
                Ok(true) => {}
                found => out.push(Obstacle::Formula { text: rule.text.clone(), unknown: found.err() }),
            }
        }
        let holds = |all: &Vec<Match>| all.iter().all(|m| m.holds(value(&m.attribute)));
        if !rules.any_of.is_empty() && !rules.any_of.iter().any(holds) {
            let choices: Vec<String> = rules.any_of.iter().map(|c| c.iter().map(Match::to_string).collect::<Vec<_>>().join(" and ")).collect();
            out.push(Obstacle::NoChoice { choices: choices.join("; or ") });
        }
    }

    fn term_obstacle(&self, group: GroupIx, term: &Term, at: usize) -> Option<Obstacle> {
        let column = &self.columns[term.column];
        let place_ix = column.of()[at];
        if term.table[place_ix as usize] > NO {
            return None;
        }
        let rules = &self.groups[group.0 as usize].spec.rules;
        let place = column.value(place_ix).unwrap_or_default().to_owned();
        let there = |counter: usize| self.counters[counter].places.get(&place_ix).copied().unwrap_or(0);
        let no_place = |topology: &str| (place_ix == 0).then(|| Obstacle::NoPlace { topology: topology.to_owned() });
        match term.what {
            What::Soft => None,
            What::Near { rule } => {
                let near = &rules.near[rule];
                let not = || Obstacle::NotNear { topology: near.topology.clone(), place: place.clone(), selector: near.selector.to_string() };
                Some(no_place(&near.topology).unwrap_or_else(not))
            }
            What::Apart { rule, counter } => {
                let near = &rules.near[rule];
                Some(Obstacle::NotApart { topology: near.topology.clone(), place, selector: near.selector.to_string(), there: there(counter) })
            }
            What::Shunned { counter } => Some(Obstacle::Shunned { place, there: there(counter) }),
            What::Spread { rule, counter, least } => {
                let (topology, most) = (rules.spread[rule].topology.clone(), rules.spread[rule].max_skew.max(1));
                Some(no_place(&topology).unwrap_or_else(|| Obstacle::Uneven { topology, place, there: there(counter), least, most }))
            }
        }
    }
}
