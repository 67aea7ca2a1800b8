//! A release that exchanges one set of instances for another: its stages, and when the next one begins. Blue-green is a
//! canary with two stages. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_kernel::{InstanceId, Name};

use super::model::{CanaryStep, HeaderMatch, Model, Release, ReleaseStrategy, Workload};
use super::release::Instance;

/// One stage. It begins when its instances are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Percent of the workload's replicas that stand there of the new revision, at least one.
    pub size: u32,
    /// Percent of the requests.
    pub share: u32,
    pub header: Option<HeaderMatch>,
    pub gate: Gate,
    /// Nothing but going back is still possible: the old ones are only kept.
    pub kept: bool,
}

/// What the next stage waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    After(Duration),
    Promoted,
}

/// The first one is before anything stands there, and the last one ends with the old instances. `stages.len()` is when they go.
pub fn stages(release: &Release) -> Vec<Stage> {
    let nothing = Stage { size: 0, share: 0, header: None, gate: Gate::Open, kept: false };
    let mut out = vec![nothing];
    match release.strategy {
        ReleaseStrategy::Rolling => return out,
        ReleaseStrategy::BlueGreen => {
            let gate = release.promote_after_seconds.map_or(Gate::Promoted, |s| Gate::After(Duration::from_secs(s.into())));
            out.push(Stage { size: 100, share: 0, header: None, gate, kept: false });
        }
        ReleaseStrategy::Canary => {
            let mut share = 0;
            for step in &release.steps {
                share = step.weight.unwrap_or(share).min(100);
                out.push(Stage { size: share, share, header: step.header.clone(), gate: gate(step), kept: false });
            }
            // All that are to take the rest are ready before they get it.
            let header = release.steps.last().and_then(|s| s.header.clone());
            out.push(Stage { size: 100, share, header, gate: Gate::Open, kept: false });
        }
    }
    let keep = Gate::After(Duration::from_secs(release.keep_seconds.into()));
    out.push(Stage { size: 100, share: 100, header: None, gate: keep, kept: true });
    out
}

fn gate(step: &CanaryStep) -> Gate {
    match (step.until_promoted, step.pause_seconds) {
        (true, _) => Gate::Promoted,
        (false, 0) => Gate::Open,
        (false, seconds) => Gate::After(Duration::from_secs(seconds.into())),
    }
}

impl Stage {
    /// How many of `count` stand there.
    pub fn instances(&self, count: u32) -> u32 {
        if self.size == 0 && self.share == 0 && self.header.is_none() {
            return 0;
        }
        let part = u64::from(count) * u64::from(self.size);
        u32::try_from(part.div_ceil(100)).unwrap_or(u32::MAX).clamp(count.min(1), count)
    }
}

/// Gates of stages below this number are open by somebody's word; all but that of the kept ones for [`ALL`], that too above it.
pub type Promoted = u64;
pub const ALL: Promoted = i32::MAX as u64;

/// Where a release is.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The stage that has begun; `stages.len()`: the old ones go.
    pub step: usize,
    pub since: Duration,
    pub paused: bool,
    pub promoted: Promoted,
}

/// Over several clusters a release goes through its stages on one after the other, and the number of its step counts on. How often it
/// has begun with the first before, and the stage that has begun now; `stages`: how many there are.
pub fn round(stages: usize, step: usize) -> (usize, usize) {
    let all = stages + 1;
    (step / all, step % all)
}

/// The number of a stage in a round.
pub fn number(stages: usize, round: usize, stage: usize) -> usize {
    round * (stages + 1) + stage
}

/// What was promoted before a round's end is over with it; a word for all of them is for the next ones, too.
pub fn promoted_in(stages: usize, round: usize, promoted: Promoted) -> Promoted {
    if promoted >= ALL { promoted } else { promoted.saturating_sub(u64::try_from(number(stages, round, 0)).unwrap_or(u64::MAX)) }
}

/// Why the next stage is not striven for, or that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    Open,
    Paused,
    Until(Duration),
    Promotion,
}

pub fn door(stages: &[Stage], at: &Standing) -> Door {
    let Some(stage) = stages.get(at.step) else { return Door::Open };
    let step = u64::try_from(at.step).unwrap_or(u64::MAX);
    let word = if at.promoted >= ALL { !stage.kept || at.promoted > ALL } else { at.promoted > step };
    match stage.gate {
        _ if at.paused => Door::Paused,
        _ if word => Door::Open,
        Gate::Open => Door::Open,
        Gate::After(all) if at.since >= all => Door::Open,
        Gate::After(all) => Door::Until(all.saturating_sub(at.since)),
        Gate::Promoted => Door::Promotion,
    }
}

/// For a person.
pub fn sentence(stages: &[Stage], at: &Standing) -> String {
    let last = stages.len().saturating_sub(1);
    let Some(stage) = stages.get(at.step) else { return "the old instances go".into() };
    if at.step == 0 && !at.paused {
        return "the first new instances start".into();
    }
    let place = format!("step {} of {last}: {} % of the requests go to the new revision", at.step, stage.share);
    let next = match door(stages, at) {
        Door::Paused => "it is paused".into(),
        Door::Open if stage.kept => "the old instances go".into(),
        Door::Open => "goes on as soon as more instances are ready".into(),
        Door::Until(left) if stage.kept => format!("the old instances are kept for {} s", left.as_secs() + 1),
        Door::Until(left) => format!("goes on in {} s", left.as_secs() + 1),
        Door::Promotion => "waits until it is promoted".into(),
    };
    format!("{place}; {next}")
}

/// Weights of single servers, 1 to 256, so that `share` percent of the requests go to the new ones. The exact share is kept to
/// within a percent for sets of up to some dozens.
pub fn weights(share: u32, new: usize, old: usize) -> (u32, u32) {
    let (new, old) = (new.max(1) as f64, old.max(1) as f64);
    let (mut a, mut b) = (f64::from(share) / new, f64::from(100 - share.min(100)) / old);
    let scale = 256.0 / a.max(b).max(f64::MIN_POSITIVE);
    (a, b) = (a * scale, b * scale);
    let whole = |w: f64| w.round().clamp(1.0, 256.0) as u32;
    (whole(a), whole(b))
}

/// How many old instances the requests need that do not go to the new revision, where all of them need `count`.
pub fn rest(count: u32, share: u32) -> u32 {
    let part = u64::from(count) * u64::from(100 - share.min(100));
    u32::try_from(part.div_ceil(100)).unwrap_or(u32::MAX)
}

/// How many old instances stand beside the new ones: as many as `before`, and where the number follows something at least as many as
/// their part of the requests needs. `scale` is what all the requests need, `share` goes to the new ones.
pub fn beside(before: BTreeMap<Name, u32>, scale: &BTreeMap<Name, u32>, share: u32, base: &Model, goal: &Model) -> BTreeMap<Name, u32> {
    let mut out = before;
    for (name, old) in base.workloads.iter().filter(|(_, w)| w.is_exchanged()) {
        let follows = goal.workloads.get(name).is_some_and(|w| w.scaling.is_some());
        // What its document says before anything was measured is no number that the old ones have to follow.
        let (Some(count), Some(scaling)) = (scale.get(name).filter(|_| follows), &old.scaling) else { continue };
        let needed = rest(*count, share).min(scaling.max.max(scaling.min));
        if needed > old.count(out.get(name).copied(), 0) {
            out.insert(name.clone(), needed);
        }
    }
    out
}

/// Is the workload exchanged between the two, rather than replaced one by one?
pub fn is_exchanged(base: &Model, goal: &Model, name: &Name) -> bool {
    let one = |model: &Model| model.workloads.get(name).map(Workload::is_exchanged);
    match (one(goal), one(base)) {
        (Some(new), Some(old)) => new && old,
        (new, old) => new.or(old).unwrap_or(false),
    }
}

/// The instances of a workload that is being exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    pub new: Vec<Instance>,
    pub old: Vec<Instance>,
    /// Of revisions that were tried or replaced before this release.
    pub given_up: Vec<InstanceId>,
}

/// `all` as they are to the new revision, which is `current`, and `before` the same as they are to the one that it replaces.
pub fn sides(all: &[Instance], before: Vec<Instance>, current: u64, hidden: &BTreeSet<u64>, revision: impl Fn(InstanceId) -> u64) -> Sides {
    let given_up = all.iter().filter(|i| !i.stopping && hidden.contains(&revision(i.id))).map(|i| i.id).collect();
    let new = all.iter().copied().filter(|i| revision(i.id) == current).collect();
    let old = before.into_iter().filter(|i| revision(i.id) != current && !hidden.contains(&revision(i.id))).collect();
    Sides { new, old, given_up }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::model::Scaling;

    fn canary(weights: &[u32]) -> Release {
        let steps = weights.iter().map(|w| CanaryStep { weight: Some(*w), pause_seconds: 60, ..CanaryStep::default() }).collect();
        Release { strategy: ReleaseStrategy::Canary, steps, keep_seconds: 30, ..Release::default() }
    }

    fn at(step: usize, since: u64) -> Standing {
        Standing { step, since: Duration::from_secs(since), paused: false, promoted: 0 }
    }

    #[test]
    fn blue_green_is_all_beside_and_then_all_at_once() {
        let release = Release { strategy: ReleaseStrategy::BlueGreen, keep_seconds: 30, ..Release::default() };
        let stages = stages(&release);
        assert_eq!(stages.iter().map(|s| (s.size, s.share)).collect::<Vec<_>>(), [(0, 0), (100, 0), (100, 100)]);
        assert_eq!(door(&stages, &at(1, 1_000)), Door::Promotion);
        assert_eq!(door(&stages, &Standing { promoted: 2, ..at(1, 0) }), Door::Open);
        assert_eq!(door(&stages, &at(2, 10)), Door::Until(Duration::from_secs(20)));
        let timed = super::stages(&Release { promote_after_seconds: Some(5), ..release });
        assert_eq!((door(&timed, &at(1, 4)), door(&timed, &at(1, 5))), (Door::Until(Duration::from_secs(1)), Door::Open));
    }

    #[test]
    fn the_number_of_a_step_counts_on_over_clusters() {
        assert_eq!([0, 3, 4, 5, 9].map(|step| round(4, step)), [(0, 0), (0, 3), (0, 4), (1, 0), (1, 4)]);
        assert!((0..30).all(|step| number(4, round(4, step).0, round(4, step).1) == step));
        assert_eq!((promoted_in(4, 0, 2), promoted_in(4, 1, 2), promoted_in(4, 1, 7), promoted_in(4, 1, ALL)), (2, 0, 2, ALL));
    }

    #[test]
    fn a_canary_takes_its_steps_and_then_all() {
        let stages = stages(&canary(&[10, 50]));
        assert_eq!(stages.iter().map(|s| (s.instances(10), s.share)).collect::<Vec<_>>(), [(0, 0), (1, 10), (5, 50), (10, 50), (10, 100)]);
        assert_eq!(stages[1].instances(1), 1);
        assert_eq!(stages[1].instances(0), 0);
    }

    #[test]
    fn a_full_promotion_opens_all_doors_but_keeps_the_old_ones() {
        let stages = stages(&canary(&[10, 50]));
        let full = |step| Standing { promoted: ALL, ..at(step, 0) };
        assert_eq!([1, 2, 3].map(|s| door(&stages, &full(s))), [Door::Open, Door::Open, Door::Open]);
        assert!(matches!(door(&stages, &full(4)), Door::Until(_)));
        assert_eq!(door(&stages, &Standing { promoted: ALL + 1, ..at(4, 0) }), Door::Open);
        assert_eq!(door(&stages, &Standing { paused: true, ..full(1) }), Door::Paused);
    }

    #[test]
    fn a_header_alone_needs_an_instance() {
        let header = Some(HeaderMatch { name: "X-Canary".into(), value: String::new() });
        let step = CanaryStep { weight: Some(0), header, until_promoted: true, ..CanaryStep::default() };
        let stages = stages(&Release { strategy: ReleaseStrategy::Canary, steps: vec![step], ..Release::default() });
        assert_eq!((stages[1].instances(3), stages[1].share), (1, 0));
    }

    #[test]
    fn the_rest_of_the_requests_needs_the_rest_of_the_instances() {
        assert_eq!([0, 10, 50, 99, 100, 200].map(|share| rest(10, share)), [10, 9, 5, 1, 0, 0]);
        assert_eq!((rest(0, 10), rest(u32::MAX, 0)), (0, u32::MAX));
    }

    #[test]
    fn old_instances_that_have_most_of_the_requests_grow_with_them() {
        let name = |text| Name::parse(text).unwrap();
        let model = |scaling: Option<Scaling>| {
            let workload = Workload { replicas: 4, scaling, ..Workload::default() };
            Model { workloads: BTreeMap::from([(name("web"), workload)]), ..Model::default() }
        };
        let follows = || model(Some(Scaling { min: 1, max: 30, ..Scaling::default() }));
        let at = |before: u32, now: u32, share: u32, base: &Model, goal: &Model| {
            beside(BTreeMap::from([(name("web"), before)]), &BTreeMap::from([(name("web"), now)]), share, base, goal)[&name("web")]
        };
        assert_eq!(at(4, 10, 10, &follows(), &follows()), 9);
        assert_eq!(at(4, 10, 100, &follows(), &follows()), 4, "as many as before are kept");
        assert_eq!(at(4, 2, 10, &follows(), &follows()), 4);
        assert_eq!(at(4, 100, 10, &follows(), &follows()), 30, "not above its bounds");
        assert_eq!(at(4, 10, 10, &model(None), &follows()), 4);
        assert_eq!(at(4, 10, 10, &follows(), &model(None)), 4);
        assert_eq!(beside(BTreeMap::new(), &BTreeMap::new(), 0, &follows(), &follows()), BTreeMap::new(), "nothing was measured yet");
    }

    #[test]
    fn each_instance_of_an_exchange_is_on_one_side_or_given_up() {
        let id = |n: u32| InstanceId(gantry_kernel::Uuid::from_u128(n.into()));
        let instance = |n: u32| Instance { id: id(n), index: n, current: n == 3, available: true, stopping: false, displaced: false };
        let all: Vec<Instance> = (1..=3).map(instance).collect();
        let found = sides(&all, all.clone(), 3, &BTreeSet::from([2]), |i| u64::try_from(i.0.as_u128()).unwrap());
        let ids = |of: &[Instance]| of.iter().map(|i| i.id).collect::<Vec<_>>();
        assert_eq!((ids(&found.new), ids(&found.old), found.given_up), (vec![id(3)], vec![id(1)], vec![id(2)]));
    }

    proptest! {
        #[test]
        fn weights_are_in_range_and_near_the_share(share in 1u32..100, new in 1usize..30, old in 1usize..30) {
            let (a, b) = weights(share, new, old);
            prop_assert!((1..=256).contains(&a) && (1..=256).contains(&b));
            let sum = f64::from(a) * new as f64 + f64::from(b) * old as f64;
            let real = 100.0 * f64::from(a) * new as f64 / sum;
            // A server cannot have less than one part in 256.
            let least = 100.0 * new as f64 / (new as f64 + 256.0 * old as f64);
            let most = 100.0 - 100.0 * old as f64 / (old as f64 + 256.0 * new as f64);
            prop_assert!((real - f64::from(share).clamp(least, most)).abs() <= 6.0, "{real} of {share} with {a} and {b}");
        }

        #[test]
        fn shares_and_sizes_end_at_all(weights in proptest::collection::vec(0u32..=100, 0..6), count in 0u32..50) {
            let stages = stages(&canary(&weights));
            let last = stages.last().unwrap();
            prop_assert_eq!((last.instances(count), last.share), (count, 100));
            // Nobody gets requests for which there is no instance.
            prop_assert!(count == 0 || stages.iter().all(|s| s.share == 0 || s.instances(count) > 0));
        }
    }
}
