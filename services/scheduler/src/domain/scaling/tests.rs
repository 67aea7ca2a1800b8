use proptest::prelude::*;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-29 12:00 UTC);

fn scaling(min: u32, max: u32) -> Scaling {
    Scaling { min, max, ..Scaling::default() }
}

fn cpu(value: f64, target: f64) -> Result<Reading, String> {
    Ok(Reading { name: "cpu".into(), unit: "m".into(), value, target, shared: false })
}

fn facts(current: u32, readings: &[Result<Reading, String>]) -> Facts<'_> {
    Facts { now: NOW, current, readings, scheduled: None, asked: true, idle: false, woken: false }
}

fn number(scaling: &Scaling, facts: &Facts<'_>) -> u32 {
    decide(scaling, &History::default(), facts).replicas
}

#[test]
fn the_number_follows_the_measure_within_its_bounds() {
    let s = scaling(1, 10);
    assert_eq!(number(&s, &facts(2, &[cpu(300.0, 100.0)])), 3);
    assert_eq!(number(&s, &facts(3, &[cpu(90.0, 100.0)])), 1);
    assert_eq!(number(&s, &facts(3, &[cpu(320.0, 100.0)])), 3, "near enough");
    assert_eq!(number(&s, &facts(8, &[cpu(9999.0, 100.0)])), 10);
    let decision = decide(&s, &History::default(), &facts(2, &[cpu(300.0, 100.0)]));
    assert_eq!(decision.reason, "cpu is 300m and 100m of each is the target: 3 wanted");
}

#[test]
fn the_hungriest_measure_counts_and_what_cannot_be_read_takes_nothing_away() {
    let s = scaling(1, 10);
    assert_eq!(number(&s, &facts(2, &[cpu(100.0, 100.0), cpu(400.0, 100.0)])), 4);
    let broken = || Err("cpu: the metrics store does not answer".to_owned());
    assert_eq!(number(&s, &facts(4, &[cpu(100.0, 100.0), broken()])), 4);
    assert_eq!(number(&s, &facts(4, &[cpu(500.0, 100.0), broken()])), 5);
    let decision = decide(&s, &History::default(), &facts(4, &[broken()]));
    assert_eq!((decision.replicas, decision.reason.as_str()), (4, "stays, because cpu: the metrics store does not answer"));
}

#[test]
fn what_starts_for_somebody_is_not_taken_away_before_it_could_answer() {
    let at = |seconds: i64| NOW - Duration::seconds(seconds);
    let stood = |all: &[(i64, Option<i64>)]| have_stood(all.iter().map(|(placed, running)| (at(*placed), running.map(at))), NOW, 60);
    assert!(stood(&[(100, Some(60))]) && !stood(&[(100, Some(59))]));
    assert!(!stood(&[(30, None)]), "it starts, and whoever asked has gone");
    assert!(stood(&[(61, None)]), "it does not start at all, and nobody has asked again");
    assert!(stood(&[]) && !stood(&[(100, Some(90)), (20, None)]));
}

#[test]
fn where_there_is_no_room_for_all_there_may_be_for_some() {
    assert_eq!((fewer(4, 8), fewer(4, 6), fewer(4, 5), fewer(0, 1), fewer(5, 4)), (Some(6), Some(5), None, None, None));
    let s = scaling(1, 10);
    let decision = decide(&s, &History::default(), &facts(4, &[cpu(800.0, 100.0)]));
    let some = decision.clone().limited(NOW, 4, 6, "the quota is full");
    assert_eq!((some.replicas, some.history.changes.as_slice()), (6, &[(NOW, 4, 6)][..]));
    assert!(some.reason.ends_with("8 wanted; only 6: the quota is full"), "{}", some.reason);
    let none = decision.limited(NOW, 4, 4, "the quota is full");
    assert!(none.history.changes.is_empty() && none.reason.ends_with("stays at 4: the quota is full"), "{}", none.reason);
}

#[test]
fn a_value_of_all_together_is_a_ratio() {
    let queue = |value| Ok(Reading { name: "queue".into(), unit: String::new(), value, target: 10.0, shared: true });
    let s = scaling(0, 10);
    assert_eq!(number(&s, &facts(2, &[queue(30.0)])), 6);
    assert_eq!(number(&s, &facts(0, &[queue(3.0)])), 1);
}

#[test]
fn less_is_wanted_for_five_minutes_before_anything_goes() {
    let s = scaling(1, 10);
    let mut history = decide(&s, &History::default(), &facts(4, &[cpu(400.0, 100.0)])).history;
    for seconds in [100, 299] {
        let decision = decide(&s, &history, &Facts { now: NOW + Duration::seconds(seconds), ..facts(4, &[cpu(100.0, 100.0)]) });
        assert_eq!(decision.replicas, 4, "{}", decision.reason);
        history = decision.history;
    }
    assert_eq!(decide(&s, &history, &Facts { now: NOW + Duration::seconds(301), ..facts(4, &[cpu(100.0, 100.0)]) }).replicas, 1);
    let quick = Scaling { down: Some(Pace { stabilization_seconds: Some(0), ..Pace::default() }), ..s };
    assert_eq!(decide(&quick, &history, &Facts { now: NOW + Duration::seconds(100), ..facts(4, &[cpu(100.0, 100.0)]) }).replicas, 1);
}

#[test]
fn steps_bound_how_fast_it_goes() {
    let one = Pace { steps: vec![Step { percent: false, value: 1, period_seconds: 60 }], ..Pace::default() };
    let s = Scaling { up: Some(one), ..scaling(1, 100) };
    let first = decide(&s, &History::default(), &facts(2, &[cpu(9000.0, 100.0)]));
    assert_eq!(first.replicas, 3);
    let within = decide(&s, &first.history, &Facts { now: NOW + Duration::seconds(30), ..facts(3, &[cpu(9000.0, 100.0)]) });
    assert_eq!(within.replicas, 3);
    assert_eq!(decide(&s, &within.history, &Facts { now: NOW + Duration::seconds(61), ..facts(3, &[cpu(9000.0, 100.0)]) }).replicas, 4);
    let plain = scaling(1, 100);
    assert_eq!(number(&plain, &facts(2, &[cpu(9000.0, 100.0)])), 6, "four more, or twice as many");
    assert_eq!(number(&plain, &facts(20, &[cpu(9000.0, 100.0)])), 40);
    let never = Scaling { down: Some(Pace { select: "disabled".into(), stabilization_seconds: Some(0), ..Pace::default() }), ..scaling(1, 9) };
    assert_eq!(number(&never, &facts(5, &[cpu(100.0, 100.0)])), 5);
}

#[test]
fn new_bounds_hold_at_once() {
    let history = decide(&scaling(1, 10), &History::default(), &facts(10, &[cpu(1000.0, 100.0)])).history;
    assert_eq!(decide(&scaling(1, 3), &history, &facts(10, &[cpu(1000.0, 100.0)])).replicas, 3, "no window keeps what is above the most");
    let never = Some(Pace { select: "disabled".into(), ..Pace::default() });
    let s = Scaling { up: never.clone(), down: never, ..scaling(4, 6) };
    assert_eq!(number(&s, &facts(2, &[cpu(100.0, 100.0)])), 4);
    assert_eq!(number(&s, &facts(9, &[cpu(900.0, 100.0)])), 6);
}

#[test]
fn a_schedule_is_a_floor() {
    let s = scaling(1, 10);
    let scheduled = Some((5, "0 8 * * *".to_owned()));
    assert_eq!(number(&s, &Facts { scheduled: scheduled.clone(), ..facts(5, &[cpu(100.0, 100.0)]) }), 5);
    assert_eq!(number(&s, &Facts { scheduled, ..facts(5, &[cpu(700.0, 100.0)]) }), 7);
}

#[test]
fn the_last_one_goes_only_when_nobody_asked_and_comes_back_for_the_first_who_does() {
    let s = Scaling { down: Some(Pace { stabilization_seconds: Some(0), ..Pace::default() }), ..scaling(0, 10) };
    let rps = |value| Ok(Reading { name: "requests".into(), unit: "/s".into(), value, target: 10.0, shared: false });
    assert_eq!(number(&s, &facts(1, &[rps(0.0)])), 1);
    assert_eq!(number(&s, &Facts { idle: true, ..facts(1, &[rps(0.0)]) }), 0);
    assert_eq!(number(&s, &Facts { idle: true, ..facts(0, &[rps(0.0)]) }), 0);
    assert_eq!(number(&s, &Facts { idle: true, woken: true, ..facts(0, &[rps(0.0)]) }), 1);
    assert_eq!(number(&scaling(2, 10), &Facts { idle: true, ..facts(2, &[rps(0.0)]) }), 2);
}

#[test]
fn what_nobody_can_ask_follows_its_measure_down_to_nothing_and_up_again() {
    let s = Scaling { down: Some(Pace { stabilization_seconds: Some(0), ..Pace::default() }), ..scaling(0, 10) };
    let queue = |value| Ok(Reading { name: "queue".into(), unit: String::new(), value, target: 10.0, shared: false });
    assert_eq!(number(&s, &Facts { asked: false, ..facts(2, &[queue(0.0)]) }), 0);
    assert_eq!(number(&s, &Facts { asked: false, ..facts(0, &[queue(25.0)]) }), 3);
    assert_eq!(number(&s, &Facts { asked: false, ..facts(3, &[Err("queue is not measured yet".into())]) }), 3);
}

#[test]
fn after_a_history_that_cannot_be_read_more_come_at_once_and_fewer_only_after_a_window() {
    let s = scaling(1, 10);
    let at = |history: &History, seconds: i64, current, value| {
        let readings = [cpu(value, 50.0)];
        decide(&s, history, &Facts { now: NOW + Duration::seconds(seconds), ..facts(current, &readings) }).replicas
    };
    let unknown = History::unknown(NOW);
    assert!(at(&History::default(), 0, 4, 50.0) < 4, "what the measure asks for by itself");
    assert_eq!(at(&unknown, 0, 4, 50.0), 4);
    assert!(at(&unknown, 0, 4, 400.0) > 4);
    assert!(at(&unknown, 301, 4, 50.0) < 4);
}

#[test]
fn a_history_survives_its_json() {
    let history = History { recommended: vec![(NOW, 3)], changes: vec![(NOW, 2, 3)] };
    assert_eq!(serde_json::from_value::<History>(serde_json::to_value(&history).unwrap()).unwrap(), history);
}

proptest! {
    #[test]
    fn the_number_stays_within_its_bounds_and_settles(
        min in 0u32..5, extra in 0u32..20, current in 0u32..30, value in 0f64..5000.0, target in 1f64..500.0, window in 0u32..600,
    ) {
        let s = Scaling { down: Some(Pace { stabilization_seconds: Some(window), ..Pace::default() }), ..scaling(min, min + extra) };
        let (mut history, mut now, mut current) = (History::default(), NOW, current);
        let readings = [cpu(value, target)];
        for _ in 0..100 {
            let before = current;
            let decision = decide(&s, &history, &Facts { now, ..facts(current, &readings) });
            (history, current) = (decision.history, decision.replicas);
            // It never moves away from the bounds.
            prop_assert!((min..=min + extra).contains(&current) || current.abs_diff(min) <= before.abs_diff(min));
            now += Duration::seconds(15);
        }
        prop_assert!((min..=min + extra).contains(&current), "{current}");
        let again = decide(&s, &history, &Facts { now, ..facts(current, &readings) });
        prop_assert_eq!(again.replicas, current, "a steady measure has a steady number");
    }
}
