//! Setting limits: the aggregate behind `quota-<holder>` streams. What is reserved against them is in `store::reservations`.

use gantry_contract::billing::{Limits, QuotaEvent};
use gantry_es::{Ctx, Decider};
use gantry_kernel::Scope;
use thiserror::Error;

use super::amounts::MAX;

pub struct Quota;

#[derive(Clone, Debug, Default)]
pub struct State {
    pub limits: Option<Limits>,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// `holder`: a scope's text, or "user:<uuid>".
    Set { holder: String, scope: Option<Scope>, limits: Limits },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("must be at most {MAX}")]
    TooLarge { field: &'static str },
    #[error("one container may not have more than all together ({total})")]
    ContainerAboveTotal { field: &'static str, total: u64 },
}

impl Refusal {
    pub fn field(&self) -> &'static str {
        match self {
            Self::TooLarge { field } | Self::ContainerAboveTotal { field, .. } => field,
        }
    }
}

impl Decider for Quota {
    type State = State;
    type Command = Command;
    type Event = QuotaEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<QuotaEvent>, Refusal> {
        let Command::Set { holder, scope, limits } = command;
        check(&limits)?;
        if state.limits.as_ref() == Some(&limits) {
            return Ok(Vec::new());
        }
        Ok(vec![QuotaEvent::Set { holder, scope, limits }])
    }

    fn evolve(_: State, event: &QuotaEvent) -> State {
        let QuotaEvent::Set { limits, .. } = event;
        State { limits: Some(limits.clone()) }
    }
}

/// # Errors
/// Limits that contradict each other or do not fit a column.
pub fn check(limits: &Limits) -> Result<(), Refusal> {
    let pairs = [
        ("cpu_millis", limits.cpu_millis, "cpu_millis_per_container", limits.cpu_millis_per_container),
        ("memory_bytes", limits.memory_bytes, "memory_bytes_per_container", limits.memory_bytes_per_container),
        ("storage_bytes", limits.storage_bytes, "storage_bytes_per_container", limits.storage_bytes_per_container),
        ("containers", limits.containers, "containers", None),
    ];
    for (total_field, total, one_field, one) in pairs {
        if total.is_some_and(|v| v > MAX) {
            return Err(Refusal::TooLarge { field: total_field });
        }
        if one.is_some_and(|v| v > MAX) {
            return Err(Refusal::TooLarge { field: one_field });
        }
        if let (Some(total), Some(one)) = (total, one)
            && one > total
        {
            return Err(Refusal::ContainerAboveTotal { field: one_field, total });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_es::spec::given;

    fn set(limits: Limits) -> Command {
        Command::Set { holder: "platform".into(), scope: Some(Scope::Platform), limits }
    }
    fn was_set(limits: Limits) -> QuotaEvent {
        QuotaEvent::Set { holder: "platform".into(), scope: Some(Scope::Platform), limits }
    }

    #[test]
    fn limits_are_set_and_setting_the_same_again_is_nothing() {
        let limits = Limits { cpu_millis: Some(4_000), ..Limits::default() };
        given::<Quota>([]).when(set(limits.clone())).then([was_set(limits.clone())]);
        given::<Quota>([was_set(limits.clone())]).when(set(limits)).then([]);
    }

    #[test]
    fn a_container_limit_above_the_total_is_refused() {
        let limits = Limits { memory_bytes: Some(10), memory_bytes_per_container: Some(11), ..Limits::default() };
        given::<Quota>([]).when(set(limits)).then_refused(|r| *r == Refusal::ContainerAboveTotal { field: "memory_bytes_per_container", total: 10 });
    }

    #[test]
    fn a_limit_that_no_column_holds_is_refused() {
        let limits = Limits { containers: Some(u64::MAX), ..Limits::default() };
        given::<Quota>([]).when(set(limits)).then_refused(|r| *r == Refusal::TooLarge { field: "containers" });
    }
}
