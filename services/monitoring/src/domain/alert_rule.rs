//! Setting and deleting alert rules: the aggregate behind `alert-rule-<space>.<name>` streams.

use gantry_contract::monitoring::{AlertRule, AlertRuleEvent, Figure};
use gantry_es::{Ctx, Decider};
use gantry_kernel::{Name, OrgId, ProjectId, SpaceId};
use thiserror::Error;

/// Rules of one space at most: each is a question to Prometheus in every round.
pub const MOST: i64 = 100;
/// A figure that is larger is a slip of the hand.
const LARGEST: f64 = 1e15;
/// A day.
const LONGEST: u32 = 86_400;

pub struct Rule;

#[derive(Clone, Debug, Default)]
pub struct State {
    /// None: never set, or deleted.
    pub rule: Option<AlertRule>,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// `others`: rules that the space has besides.
    Set {
        org: OrgId,
        project: ProjectId,
        space: SpaceId,
        name: Name,
        rule: AlertRule,
        others: i64,
    },
    Delete {
        org: OrgId,
        space: SpaceId,
        name: Name,
    },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("must be 0 to 10^15")]
    Threshold,
    #[error("must be 0 to {LONGEST}")]
    TooLong,
    #[error("restarts are counted for the application as a whole")]
    RestartsOfWorkload,
    #[error("the space has {MOST} alert rules, which is the limit")]
    TooMany,
    #[error("there is no alert rule `{0}`")]
    NotThere(Name),
}

impl Decider for Rule {
    type State = State;
    type Command = Command;
    type Event = AlertRuleEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<AlertRuleEvent>, Refusal> {
        match command {
            Command::Set { org, project, space, name, rule, others } => {
                check(&rule)?;
                if state.rule.is_none() && others >= MOST {
                    return Err(Refusal::TooMany);
                }
                if state.rule.as_ref() == Some(&rule) {
                    return Ok(Vec::new());
                }
                Ok(vec![AlertRuleEvent::Set { org, project, space, name, rule }])
            }
            Command::Delete { name, .. } if state.rule.is_none() => Err(Refusal::NotThere(name)),
            Command::Delete { org, space, name } => Ok(vec![AlertRuleEvent::Deleted { org, space, name }]),
        }
    }

    fn evolve(_: State, event: &AlertRuleEvent) -> State {
        match event {
            AlertRuleEvent::Set { rule, .. } => State { rule: Some(rule.clone()) },
            AlertRuleEvent::Deleted { .. } => State { rule: None },
        }
    }
}

fn check(rule: &AlertRule) -> Result<(), Refusal> {
    if !(0.0..=LARGEST).contains(&rule.threshold) {
        return Err(Refusal::Threshold);
    }
    if rule.for_seconds > LONGEST {
        return Err(Refusal::TooLong);
    }
    if rule.figure == Figure::Restarts && rule.workload.is_some() {
        return Err(Refusal::RestartsOfWorkload);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_contract::monitoring::{Comparison, Severity};
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;

    const ORG: OrgId = OrgId(Uuid::from_u128(1));
    const PROJECT: ProjectId = ProjectId(Uuid::from_u128(2));
    const SPACE: SpaceId = SpaceId(Uuid::from_u128(3));

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn rule() -> AlertRule {
        AlertRule {
            app: name("web"),
            workload: None,
            figure: Figure::Cpu,
            comparison: Comparison::Above,
            threshold: 0.8,
            for_seconds: 60,
            severity: Severity::Warning,
        }
    }

    fn set(rule: AlertRule, others: i64) -> Command {
        Command::Set { org: ORG, project: PROJECT, space: SPACE, name: name("hot"), rule, others }
    }

    fn was_set() -> AlertRuleEvent {
        AlertRuleEvent::Set { org: ORG, project: PROJECT, space: SPACE, name: name("hot"), rule: rule() }
    }

    fn was_deleted() -> AlertRuleEvent {
        AlertRuleEvent::Deleted { org: ORG, space: SPACE, name: name("hot") }
    }

    #[test]
    fn a_rule_is_set_and_setting_the_same_again_is_nothing() {
        given::<Rule>([]).when(set(rule(), 0)).then([was_set()]);
        given::<Rule>([was_set()]).when(set(rule(), 0)).then([]);
        given::<Rule>([was_set(), was_deleted()]).when(set(rule(), 0)).then([was_set()]);
    }

    #[test]
    fn what_is_there_is_deleted_once() {
        let delete = Command::Delete { org: ORG, space: SPACE, name: name("hot") };
        given::<Rule>([was_set()]).when(delete.clone()).then([was_deleted()]);
        given::<Rule>([was_set(), was_deleted()]).when(delete.clone()).then_refused(|r| *r == Refusal::NotThere(name("hot")));
        given::<Rule>([]).when(delete).then_refused(|r| *r == Refusal::NotThere(name("hot")));
    }

    #[test]
    fn a_space_has_a_hundred_rules_and_a_full_one_may_change_them() {
        given::<Rule>([]).when(set(rule(), MOST)).then_refused(|r| *r == Refusal::TooMany);
        let other = AlertRule { for_seconds: 0, ..rule() };
        let changed = AlertRuleEvent::Set { org: ORG, project: PROJECT, space: SPACE, name: name("hot"), rule: other.clone() };
        given::<Rule>([was_set()]).when(set(other, MOST - 1)).then([changed]);
    }

    #[test]
    fn figures_out_of_range_are_refused() {
        for threshold in [-1.0, 1e16, f64::NAN, f64::INFINITY] {
            given::<Rule>([]).when(set(AlertRule { threshold, ..rule() }, 0)).then_refused(|r| *r == Refusal::Threshold);
        }
        given::<Rule>([]).when(set(AlertRule { for_seconds: 86_401, ..rule() }, 0)).then_refused(|r| *r == Refusal::TooLong);
        let restarts = AlertRule { figure: Figure::Restarts, workload: Some(name("web")), ..rule() };
        given::<Rule>([]).when(set(restarts, 0)).then_refused(|r| *r == Refusal::RestartsOfWorkload);
    }
}
