//! What a rule makes of what is measured: from one state to the next.

use gantry_contract::monitoring::{AlertRule, Comparison};
use gantry_kernel::OffsetDateTime;
use time::Duration;

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All is well, and was before.
    Inactive,
    /// It holds, but not for long enough yet.
    Pending,
    Firing,
    /// It has fired and is over.
    Resolved,
}

impl State {
    /// As the table has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    /// What a newer version wrote and this one does not know counts as nothing.
    pub fn of(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "firing" => Self::Firing,
            "resolved" => Self::Resolved,
            _ => Self::Inactive,
        }
    }
}

/// What was measured of one instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub value: f64,
    /// Empty: of the application as a whole.
    pub instance: String,
}

/// Of several instances the one that is nearest to an alarm, or furthest over it.
pub fn worst(comparison: Comparison, all: impl IntoIterator<Item = Measured>) -> Option<Measured> {
    let (most, least) = (|a: &Measured, b: &Measured| a.value.total_cmp(&b.value), |a: &Measured, b: &Measured| b.value.total_cmp(&a.value));
    match comparison {
        Comparison::Above => all.into_iter().max_by(most),
        Comparison::Below => all.into_iter().max_by(least),
    }
}

/// Whether the rule's condition holds. Where nothing is measured, nothing runs, and nothing is wrong with it.
pub fn holds(rule: &AlertRule, measured: Option<&Measured>) -> bool {
    measured.is_some_and(|m| match rule.comparison {
        Comparison::Above => m.value > rule.threshold,
        Comparison::Below => m.value < rule.threshold,
    })
}

/// Since when a state counts: what waits does so anew once its rule was changed, and a clock that was set back is not waited for.
pub fn counts_from(state: State, since: OffsetDateTime, changed: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
    let since = if state == State::Pending { since.max(changed) } else { since };
    since.min(now)
}

/// The next state, from `state` that has been since `since`.
pub fn step(state: State, since: OffsetDateTime, holds: bool, hold: Duration, now: OffsetDateTime) -> State {
    match (state, holds) {
        (State::Firing, true) => State::Firing,
        (State::Pending, true) if now - since < hold => State::Pending,
        (State::Pending, true) => State::Firing,
        (State::Inactive | State::Resolved, true) if hold.is_zero() => State::Firing,
        (State::Inactive | State::Resolved, true) => State::Pending,
        (State::Firing | State::Resolved, false) => State::Resolved,
        (State::Pending | State::Inactive, false) => State::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_contract::monitoring::{Figure, Severity};
    use gantry_kernel::Name;

    const THEN: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn after(seconds: i64, state: State, holds: bool, hold: i64) -> State {
        step(state, THEN, holds, Duration::seconds(hold), THEN + Duration::seconds(seconds))
    }

    fn measured(value: f64, instance: &str) -> Measured {
        Measured { value, instance: instance.into() }
    }

    #[test]
    fn what_holds_long_enough_fires_and_is_resolved_when_it_is_over() {
        assert_eq!(after(0, State::Inactive, true, 60), State::Pending);
        assert_eq!(after(59, State::Pending, true, 60), State::Pending);
        assert_eq!(after(60, State::Pending, true, 60), State::Firing);
        assert_eq!(after(600, State::Firing, true, 60), State::Firing);
        assert_eq!(after(600, State::Firing, false, 60), State::Resolved);
        assert_eq!(after(900, State::Resolved, true, 60), State::Pending, "it begins anew");
    }

    #[test]
    fn what_ends_too_early_never_fires_and_without_a_time_it_fires_at_once() {
        assert_eq!(after(30, State::Pending, false, 60), State::Inactive);
        assert_eq!(after(0, State::Inactive, true, 0), State::Firing);
        assert_eq!(after(0, State::Resolved, false, 0), State::Resolved);
        assert_eq!(after(0, State::Inactive, false, 0), State::Inactive);
    }

    #[test]
    fn a_changed_rule_waits_anew_and_no_rule_waits_for_a_clock() {
        let at = |seconds| THEN + Duration::seconds(seconds);
        assert_eq!(counts_from(State::Pending, at(10), at(5), at(60)), at(10));
        assert_eq!(counts_from(State::Pending, at(10), at(50), at(60)), at(50));
        assert_eq!(counts_from(State::Firing, at(10), at(50), at(60)), at(10), "it goes on");
        assert_eq!(counts_from(State::Pending, at(3_600), at(5), at(60)), at(60), "the clock was set back");
    }

    #[test]
    fn one_instance_over_the_threshold_is_enough() {
        let all = [measured(0.2, "web-0"), measured(0.9, "web-1"), measured(0.5, "web-2")];
        assert_eq!(worst(Comparison::Above, all.clone()), Some(measured(0.9, "web-1")));
        assert_eq!(worst(Comparison::Below, all), Some(measured(0.2, "web-0")));
        assert_eq!(worst(Comparison::Above, []), None);
    }

    #[test]
    fn the_threshold_itself_is_no_alarm_and_neither_is_what_nobody_measured() {
        let app = Name::parse("web").unwrap();
        let above =
            AlertRule { app, workload: None, figure: Figure::Cpu, comparison: Comparison::Above, threshold: 0.5, for_seconds: 0, severity: Severity::Warning };
        let below = AlertRule { comparison: Comparison::Below, ..above.clone() };
        let seen = |value| [&above, &below].map(|rule| holds(rule, Some(&measured(value, "web-0"))));
        assert_eq!([seen(0.6), seen(0.5), seen(0.4)], [[true, false], [false, false], [false, true]]);
        assert_eq!([&above, &below].map(|rule| holds(rule, None)), [false, false]);
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in [State::Inactive, State::Pending, State::Firing, State::Resolved] {
            assert_eq!(State::of(state.as_str()), state);
        }
    }
}
