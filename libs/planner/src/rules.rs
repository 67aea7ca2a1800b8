//! What rules may say about nodes and about each other's instances.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    NotExists,
    /// Greater than the one value, as whole numbers.
    Above,
    Below,
}

/// A test of one attribute of a node (`node.name`, `node.arch`, `node.os`, `node.zone`, `node.labels.<label>`), or of one label
/// where labels are selected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    pub attribute: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

impl Match {
    /// Does it hold for this value (`None`: there is none)?
    pub fn holds(&self, actual: Option<&str>) -> bool {
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<i64>().ok());
        let limit = number(self.values.first().map(String::as_str));
        match self.operator {
            Operator::In => actual.is_some_and(|a| self.values.iter().any(|v| v == a)),
            Operator::NotIn => actual.is_none_or(|a| self.values.iter().all(|v| v != a)),
            Operator::Exists => actual.is_some(),
            Operator::NotExists => actual.is_none(),
            Operator::Above => number(actual).zip(limit).is_some_and(|(a, l)| a > l),
            Operator::Below => number(actual).zip(limit).is_some_and(|(a, l)| a < l),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(", ");
        match self.operator {
            Operator::In if self.values.len() == 1 => write!(f, "{} == {values}", self.attribute),
            Operator::NotIn if self.values.len() == 1 => write!(f, "{} != {values}", self.attribute),
            Operator::In => write!(f, "{} in ({values})", self.attribute),
            Operator::NotIn => write!(f, "{} not in ({values})", self.attribute),
            Operator::Exists => write!(f, "{} is set", self.attribute),
            Operator::NotExists => write!(f, "{} is not set", self.attribute),
            Operator::Above => write!(f, "{} > {values}", self.attribute),
            Operator::Below => write!(f, "{} < {values}", self.attribute),
        }
    }
}

/// A node where all of these hold is better by the weight, 1 to 100.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Preference {
    pub weight: u32,
    pub matches: Vec<Match>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Nothing new comes.
    NoSchedule,
    /// Nothing new comes if there is another place.
    PreferNoSchedule,
    /// Nothing new comes, and what is there goes.
    NoExecute,
}

impl Effect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute].into_iter().find(|e| e.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: Effect,
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.as_str() {
            "" => write!(f, "{}:{}", self.key, self.effect.as_str()),
            value => write!(f, "{}={value}:{}", self.key, self.effect.as_str()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// Empty: every taint.
    pub key: String,
    /// Any value if there is none.
    pub value: Option<String>,
    /// All of them if there is none.
    pub effect: Option<Effect>,
}

impl Toleration {
    pub fn tolerates(&self, taint: &Taint) -> bool {
        (self.key.is_empty() || self.key == taint.key) && self.value.as_ref().is_none_or(|v| *v == taint.value) && self.effect.is_none_or(|e| e == taint.effect)
    }
}

/// Chooses groups of the same scope by their labels: all of both must hold. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    pub labels: BTreeMap<String, String>,
    pub matches: Vec<Match>,
}

impl Selector {
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(k, v)| labels.get(k) == Some(v)) && self.matches.iter().all(|m| m.holds(labels.get(&m.attribute).map(String::as_str)))
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.matches.is_empty()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("any workload");
        }
        let labels = self.labels.iter().map(|(k, v)| format!("{k}={v}"));
        let all: Vec<String> = labels.chain(self.matches.iter().map(Match::to_string)).collect();
        f.write_str(&all.join(" and "))
    }
}

/// Near to, or apart from, the selected groups' instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Near {
    /// Not where they are, instead of where they are.
    pub apart: bool,
    /// The attribute whose equal value makes nodes one place.
    pub topology: String,
    pub selector: Selector,
    /// 1 to 100; a hard rule if there is none.
    pub weight: Option<u32>,
}

/// Instances even over places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spread {
    pub topology: String,
    /// By how many two places may differ; at least 1.
    pub max_skew: u32,
    pub hard: bool,
    /// Empty: the instances of the own family.
    pub selector: Selector,
    /// As if there were at least so many places, the missing ones empty.
    pub min_places: u32,
    /// Places count whose nodes take nothing because of their taints or their state, too.
    pub tainted: bool,
    /// Places count whose nodes the rules about attributes forbid, too.
    pub unchosen: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_without_key_tolerates_everything_of_its_effect() {
        let taint = Taint { key: "gpu".into(), value: "yes".into(), effect: Effect::NoExecute };
        let any = Toleration { key: String::new(), value: None, effect: None };
        assert!(any.tolerates(&taint));
        assert!(!Toleration { effect: Some(Effect::NoSchedule), ..any.clone() }.tolerates(&taint));
        assert!(!Toleration { value: Some("no".into()), ..any }.tolerates(&taint));
        assert_eq!(taint.to_string(), "gpu=yes:NoExecute");
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let above = Match { attribute: "cores".into(), operator: Operator::Above, values: vec!["9".into()] };
        assert!(above.holds(Some("10")) && !above.holds(Some("9")) && !above.holds(Some("many")) && !above.holds(None));
    }
}
