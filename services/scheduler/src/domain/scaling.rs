//! How many instances a workload shall have, by what is measured: the rules of Kubernetes' HorizontalPodAutoscaler (v2), with
//! schedules and zero besides. Pure: facts in, a decision with its reason out.

use gantry_kernel::OffsetDateTime;
use serde::{Deserialize, Serialize};
use time::Duration;

use super::model::{Pace, Scaling, Step};

/// Nothing changes while a measure is so near to its target (as in Kubernetes).
const TOLERANCE: f64 = 0.1;
const STABLE_DOWN: u32 = 300;
/// Of one direction, as in Kubernetes: doubled or four more in 15 s, down as fast as is wished.
const PERIOD: u32 = 15;

/// One measured thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// For people: `cpu`, `requests_per_second`, ...
    pub name: String,
    pub unit: String,
    pub value: f64,
    /// Of one instance, or of all of them together if `shared`.
    pub target: f64,
    pub shared: bool,
}

/// What was recommended and done lately: kept, so that a restart does not forget it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(with = "moments")]
    pub recommended: Vec<(OffsetDateTime, u32)>,
    /// From and to.
    #[serde(with = "changes")]
    pub changes: Vec<(OffsetDateTime, u32, u32)>,
}

impl History {
    /// Of one that cannot be read: as if as many as can be had been recommended just now. So nothing goes away before a whole window has
    /// passed, and more come as ever.
    pub fn unknown(now: OffsetDateTime) -> Self {
        Self { recommended: vec![(now, u32::MAX)], changes: Vec::new() }
    }
}

#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub now: OffsetDateTime,
    pub current: u32,
    pub readings: &'a [Result<Reading, String>],
    /// What the schedules ask for at least now, and which.
    pub scheduled: Option<(u32, String)>,
    /// There are requests by which it is known whether anybody needs it. Of others only the measures say so.
    pub asked: bool,
    /// There were no requests for as long as it takes to stop the last instance.
    pub idle: bool,
    /// Somebody waits for an answer.
    pub woken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub replicas: u32,
    pub reason: String,
    pub history: History,
}

pub fn decide(scaling: &Scaling, history: &History, facts: &Facts<'_>) -> Decision {
    let (now, current) = (facts.now, facts.current);
    let mut history = recent(scaling, history, now);
    let (wished, mut reason) = wished(facts);
    let mut wanted = wished;
    if let Some((least, which)) = facts.scheduled.as_ref().filter(|(least, _)| *least > wanted) {
        (wanted, reason) = (*least, format!("the schedule {which} asks for {least}"));
    }
    if facts.idle && scaling.min == 0 && facts.scheduled.is_none() && !facts.woken {
        (wanted, reason) = (0, "there were no requests for a while".into());
    } else if facts.woken && wanted == 0 {
        (wanted, reason) = (1, "somebody waits for an answer".into());
    } else if wanted == 0 && current > 0 && scaling.min == 0 && facts.asked {
        // The last one goes only when nobody has asked for a while.
        wanted = 1;
    }
    let (least, most) = (scaling.min, scaling.max.max(scaling.min));
    let bounded = wanted.clamp(least, most);
    if bounded != wanted {
        reason = format!("{reason}; bounded to {bounded} by {} to {}", scaling.min, scaling.max);
    }
    history.recommended.push((now, bounded));
    // Whoever waits does not wait for a window, and that nobody asks has been so for a while already.
    let at_once = (facts.woken && current == 0) || (facts.idle && bounded == 0);
    // Whatever was recommended, and however slowly it goes: new bounds hold at once (as in Kubernetes).
    let stable = if at_once { bounded } else { stabilized(scaling, &history, now, current, bounded).clamp(least, most) };
    if stable != bounded {
        reason = format!("{reason}; {stable} for now, until that has been so for a while");
    }
    // From nothing to something at once: somebody waits.
    let paced = if current == 0 { stable } else { paced(scaling, &history, now, current, stable).clamp(least, most) };
    if paced != stable {
        reason = format!("{reason}; {paced} for now, not faster");
    }
    if paced != current {
        history.changes.push((now, current, paced));
    }
    Decision { replicas: paced, reason, history }
}

/// Have the instances been there for so long? Of each, when it was placed and since when it runs. One that only starts came because somebody
/// asked, who may have gone meanwhile: it is not taken away before it could answer.
pub fn have_stood(instances: impl Iterator<Item = (OffsetDateTime, Option<OffsetDateTime>)>, now: OffsetDateTime, seconds: u32) -> bool {
    let since = instances.map(|(placed, running)| running.unwrap_or(placed)).max();
    since.is_none_or(|at| now - at >= Duration::seconds(seconds.into()))
}

/// The next number that is tried when there is no room for `refused`: half as many more. `None`: it stays as it is.
pub fn fewer(current: u32, refused: u32) -> Option<u32> {
    let half = current + refused.saturating_sub(current) / 2;
    (half > current && half < refused).then_some(half)
}

impl Decision {
    /// As many as there is room for, and why not more.
    pub fn limited(mut self, now: OffsetDateTime, current: u32, replicas: u32, why: &str) -> Self {
        self.history.changes.pop();
        if replicas != current {
            self.history.changes.push((now, current, replicas));
        }
        let verb = if replicas == current { "stays at" } else { "only" };
        Self { replicas, reason: format!("{}; {verb} {replicas}: {why}", self.reason), history: self.history }
    }
}

/// The largest of what the measures ask for. What cannot be read never takes anything away.
fn wished(facts: &Facts<'_>) -> (u32, String) {
    let current = facts.current;
    let good: Vec<(u32, String)> = facts.readings.iter().flatten().map(|r| of_reading(r, current)).collect();
    let fault = facts.readings.iter().find_map(|r| r.as_ref().err());
    match (good.into_iter().max_by_key(|(n, _)| *n), fault) {
        (Some((n, _)), Some(fault)) if n < current => (current, format!("stays, because {fault}")),
        (Some((n, reason)), None) => (n, reason),
        (Some((n, reason)), Some(fault)) => (n, format!("{reason} ({fault})")),
        (None, Some(fault)) => (current, format!("stays, because {fault}")),
        (None, None) if facts.scheduled.is_some() => (0, "nothing is measured".into()),
        (None, None) => (0, "no schedule asks for more".into()),
    }
}

fn of_reading(reading: &Reading, current: u32) -> (u32, String) {
    let Reading { name, unit, value, target, shared } = reading;
    let told = |n: u32, of: &str| (n, format!("{name} is {}{unit} and {}{unit} {of} is the target: {n} wanted", short(*value), short(*target)));
    if *shared {
        let ratio = value / target;
        let n = if current == 0 { u32::from(*value > 0.0) } else { rounded_up(f64::from(current) * ratio) };
        return told(if (ratio - 1.0).abs() <= TOLERANCE && current > 0 { current } else { n }, "of all together");
    }
    let ratio = if current == 0 { f64::INFINITY } else { value / (target * f64::from(current)) };
    told(if (ratio - 1.0).abs() <= TOLERANCE { current } else { rounded_up(value / target) }, "of each")
}

fn rounded_up(n: f64) -> u32 {
    // What is a whole number but for the last bits stays so.
    (n - 1e-9).ceil().clamp(0.0, 1_000_000.0) as u32
}

fn short(n: f64) -> f64 {
    (n * 100.0).round() / 100.0
}

fn window(pace: Option<&Pace>, default: u32) -> Duration {
    Duration::seconds(pace.and_then(|p| p.stabilization_seconds).unwrap_or(default).into())
}

/// Up only to what was recommended all the time of its window, down only to the most of its window.
fn stabilized(scaling: &Scaling, history: &History, now: OffsetDateTime, current: u32, wanted: u32) -> u32 {
    let within = |window: Duration| history.recommended.iter().filter(move |(at, _)| now - *at <= window).map(|(_, n)| *n);
    if wanted > current {
        within(window(scaling.up.as_ref(), 0)).min().unwrap_or(wanted).max(current)
    } else {
        within(window(scaling.down.as_ref(), STABLE_DOWN)).max().unwrap_or(wanted).min(current)
    }
}

fn paced(scaling: &Scaling, history: &History, now: OffsetDateTime, current: u32, wanted: u32) -> u32 {
    let up = wanted > current;
    let pace = if up { scaling.up.as_ref() } else { scaling.down.as_ref() };
    let select = pace.map_or("", |p| p.select.as_str());
    if select.eq_ignore_ascii_case("disabled") {
        return current;
    }
    let own = pace.map(|p| p.steps.as_slice()).filter(|s| !s.is_empty());
    let doubled = [Step { percent: true, value: 100, period_seconds: PERIOD }, Step { percent: false, value: 4, period_seconds: PERIOD }];
    let all = [Step { percent: true, value: 100, period_seconds: PERIOD }];
    let steps = own.unwrap_or(if up { &doubled } else { &all });
    let moved = |step: &Step| -> u32 {
        let period = Duration::seconds(step.period_seconds.into());
        let of = history.changes.iter().filter(|(at, from, to)| now - *at < period && (to > from) == up);
        of.map(|(_, from, to)| from.abs_diff(*to)).sum()
    };
    let limits = steps.iter().map(|step| {
        let moved = moved(step);
        let start = if up { current.saturating_sub(moved) } else { current.saturating_add(moved) };
        let part = if step.percent { rounded_up(f64::from(start) * f64::from(step.value) / 100.0) } else { step.value };
        if up { start.saturating_add(part) } else { start.saturating_sub(part) }
    });
    let least = select.eq_ignore_ascii_case("min");
    // The most change of any step, or the least if so chosen.
    let limit = if up == least { limits.min() } else { limits.max() }.unwrap_or(wanted);
    if up { wanted.min(limit).max(current) } else { wanted.max(limit).min(current) }
}

fn recent(scaling: &Scaling, history: &History, now: OffsetDateTime) -> History {
    let window = window(scaling.up.as_ref(), 0).max(window(scaling.down.as_ref(), STABLE_DOWN));
    let steps = scaling.up.iter().chain(&scaling.down).flat_map(|p| &p.steps).map(|s| s.period_seconds);
    let period = Duration::seconds(steps.max().unwrap_or(0).max(PERIOD).into());
    History {
        recommended: history.recommended.iter().filter(|(at, _)| now - *at <= window).copied().collect(),
        changes: history.changes.iter().filter(|(at, ..)| now - *at <= period).copied().collect(),
    }
}

/// Times as Unix seconds.
mod moments {
    use gantry_kernel::OffsetDateTime;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(all: &[(OffsetDateTime, u32)], s: S) -> Result<S::Ok, S::Error> {
        all.iter().map(|(at, n)| (at.unix_timestamp(), *n)).collect::<Vec<_>>().serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(OffsetDateTime, u32)>, D::Error> {
        let all = Vec::<(i64, u32)>::deserialize(d)?;
        Ok(all.into_iter().filter_map(|(at, n)| Some((OffsetDateTime::from_unix_timestamp(at).ok()?, n))).collect())
    }
}

mod changes {
    use gantry_kernel::OffsetDateTime;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(all: &[(OffsetDateTime, u32, u32)], s: S) -> Result<S::Ok, S::Error> {
        all.iter().map(|(at, from, to)| (at.unix_timestamp(), *from, *to)).collect::<Vec<_>>().serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(OffsetDateTime, u32, u32)>, D::Error> {
        let all = Vec::<(i64, u32, u32)>::deserialize(d)?;
        Ok(all.into_iter().filter_map(|(at, from, to)| Some((OffsetDateTime::from_unix_timestamp(at).ok()?, from, to))).collect())
    }
}

#[cfg(test)]
mod tests;
