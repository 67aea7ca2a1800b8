//! Balancing by what instances use: how hard one is pressed, and which part of its share of the requests it gets then.

use std::time::Duration;

use gantry_contract::proto::scheduler as wire;

/// The word for it in a service's `balance`.
pub const RESOURCES: &str = "resources";

/// What an instance uses, all its containers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time since the look before, in nanoseconds of one core.
    pub cpu_nanos: u64,
    pub memory_bytes: u64,
}

/// What it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// 0: no limit.
    pub memory_bytes: u64,
}

/// Those of an instance; one without a limit may have all of the node's cores.
pub fn bounds(instance: &wire::WantedInstance, cores: u64) -> Bounds {
    let containers = || std::iter::once(instance).chain(super::wanted::staying(instance)).map(|c| c.limits.unwrap_or_default());
    let all = |of: fn(&wire::Resources) -> u64| if containers().any(|l| of(&l) == 0) { 0 } else { containers().map(|l| of(&l)).sum::<u64>() };
    let (node, cpu) = (cores.max(1) * 1000, all(|l| l.cpu_millis));
    Bounds { cpu_millis: if cpu == 0 { node } else { cpu.min(node) }, memory_bytes: all(|l| l.memory_bytes) }
}

/// Percent of what it may use, 0 to 100: of the processor, or of the last fifth of its memory, whichever is more. That much memory is in use
/// most of the time says nothing; that little is left does.
pub fn pressed(used: Used, within: Duration, bounds: Bounds) -> u8 {
    let nanos = u128::from(bounds.cpu_millis) * within.as_micros();
    let cpu = (u128::from(used.cpu_nanos) * 100).checked_div(nanos).unwrap_or(0);
    let memory = (u128::from(used.memory_bytes) * 100).checked_div(u128::from(bounds.memory_bytes)).unwrap_or(0);
    let memory = memory.saturating_sub(80) * 5;
    u8::try_from(cpu.max(memory).min(100)).unwrap_or(100)
}

/// The weight that is left of `whole`. In steps, so that a balancer is not told of every breath; never nothing, or it could not recover.
pub fn weight(whole: u32, pressed: u8) -> u32 {
    let tenths = match pressed {
        0..40 => 10,
        40..60 => 8,
        60..80 => 6,
        80..95 => 3,
        _ => 1,
    };
    (whole * tenths / 10).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_processor_counts_by_the_limit_and_memory_when_little_is_left() {
        let bounds = Bounds { cpu_millis: 500, memory_bytes: 1000 };
        let of = |cpu_nanos, memory_bytes| pressed(Used { cpu_nanos, memory_bytes }, SECOND, bounds);
        assert_eq!((of(250_000_000, 0), of(500_000_000, 0), of(900_000_000, 0)), (50, 100, 100));
        assert_eq!((of(0, 700), of(0, 900), of(0, 1000)), (0, 50, 100));
        assert_eq!(pressed(Used { cpu_nanos: 1, memory_bytes: 1 }, Duration::ZERO, Bounds { memory_bytes: 0, ..bounds }), 0);
    }

    #[test]
    fn what_has_no_limit_may_have_the_node() {
        let limits = |cpu_millis, memory_bytes| Some(wire::Resources { cpu_millis, memory_bytes, ..Default::default() });
        let beside = wire::WantedInstance { limits: limits(200, 0), ..Default::default() };
        let with = wire::WantedInstance { limits: limits(300, 5), sidecars: vec![beside], ..Default::default() };
        assert_eq!(bounds(&with, 2), Bounds { cpu_millis: 500, memory_bytes: 0 });
        assert_eq!(bounds(&wire::WantedInstance::default(), 2), Bounds { cpu_millis: 2000, memory_bytes: 0 });
    }

    proptest! {
        #[test]
        fn who_is_pressed_more_never_gets_more_and_never_nothing(whole in 1..=256_u32, one in 0..=100_u8, other in 0..=100_u8) {
            let (less, more) = (one.min(other), one.max(other));
            prop_assert!(weight(whole, more) <= weight(whole, less));
            prop_assert!((1..=whole).contains(&weight(whole, more)));
        }
    }
}
