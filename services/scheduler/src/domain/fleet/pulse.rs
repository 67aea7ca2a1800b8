//! When a cluster is lost, and when it is back: by looks at it again and again, never by one. Whoever looks calls this.

use gantry_kernel::OffsetDateTime;
use time::Duration;

/// Well for so long, and what failed before is forgiven.
const STEADY: Duration = Duration::seconds(30);

/// When something was seen. What follows is counted by `steady` alone: a clock that somebody sets by an hour must not lose a cluster
/// that has failed one look.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Of a clock that nobody sets, since any beginning that is always the same.
    pub steady: Duration,
    /// As people are told it.
    pub told: OffsetDateTime,
}

/// What the looks at one cluster have shown. Forgotten with the process: then it has its time anew.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    failing_since: Option<Moment>,
    well_since: Option<Duration>,
    /// Of the last look, if it failed.
    problem: Option<String>,
    looked: bool,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    Stays,
    /// With the reason.
    Lost(String),
    Back,
}

impl Pulse {
    pub fn see(&mut self, at: Moment, look: Result<(), String>, grace: Duration) {
        self.looked = true;
        match look {
            Ok(()) => {
                let since = *self.well_since.get_or_insert(at.steady);
                // One good answer among bad ones forgives nothing.
                if at.steady - since >= STEADY.min(grace) {
                    self.failing_since = None;
                }
                self.problem = None;
            }
            Err(problem) => {
                self.well_since = None;
                self.failing_since.get_or_insert(at);
                self.problem = Some(problem);
            }
        }
    }

    /// `now`: as [`Moment::steady`]; `lost`: whether it is taken for lost now. It has to be away for the whole grace time, and there
    /// again for as long.
    pub fn turn(&self, now: Duration, lost: bool, grace: Duration) -> Turn {
        match (lost, self.failing_since, self.well_since, &self.problem) {
            (false, Some(since), None, Some(problem)) if now - since.steady >= grace => Turn::Lost(problem.clone()),
            (true, _, Some(since), None) if now - since >= grace => Turn::Back,
            _ => Turn::Stays,
        }
    }

    /// Nobody answers: it is more likely that we are cut off. Its time begins anew.
    pub fn forgive(&mut self, now: Moment) {
        if let Some(since) = &mut self.failing_since {
            *since = now;
        }
    }

    /// It did not answer the last look, and since when it has not been steady.
    pub fn trouble(&self) -> Option<(OffsetDateTime, &str)> {
        Some((self.failing_since?.told, self.problem.as_deref()?))
    }

    /// It has been looked at, and answered.
    pub fn is_well(&self) -> bool {
        self.looked && self.problem.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::seconds(60);

    fn at(seconds: i64) -> Moment {
        Moment { steady: Duration::seconds(seconds), told: OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds) }
    }

    fn after(seconds: i64) -> Duration {
        Duration::seconds(seconds)
    }

    fn bad() -> Result<(), String> {
        Err("refused".into())
    }

    #[test]
    fn one_failed_look_is_no_loss_and_one_good_one_no_return() {
        let mut pulse = Pulse::default();
        assert_eq!((pulse.turn(after(0), false, GRACE), pulse.is_well()), (Turn::Stays, false));
        pulse.see(at(0), bad(), GRACE);
        assert_eq!(pulse.turn(after(59), false, GRACE), Turn::Stays);
        assert_eq!(pulse.trouble(), Some((at(0).told, "refused")));
        pulse.see(at(60), bad(), GRACE);
        assert_eq!(pulse.turn(after(60), false, GRACE), Turn::Lost("refused".into()));
        pulse.see(at(70), Ok(()), GRACE);
        assert_eq!((pulse.turn(after(70), false, GRACE), pulse.turn(after(129), true, GRACE)), (Turn::Stays, Turn::Stays));
        assert_eq!(pulse.turn(after(130), true, GRACE), Turn::Back);
    }

    #[test]
    fn a_flapping_cluster_is_lost_and_does_not_come_back() {
        let mut pulse = Pulse::default();
        let mut lost = false;
        let mut turns = 0;
        for second in 0..600 {
            pulse.see(at(second), if second % 20 < 10 { bad() } else { Ok(()) }, GRACE);
            match pulse.turn(after(second), lost, GRACE) {
                Turn::Stays => {}
                Turn::Lost(_) => (lost, turns) = (true, turns + 1),
                Turn::Back => (lost, turns) = (false, turns + 1),
            }
        }
        assert_eq!((lost, turns), (true, 1));
    }

    #[test]
    fn a_cluster_is_not_lost_because_nobody_answers() {
        let mut pulse = Pulse::default();
        pulse.see(at(0), bad(), GRACE);
        pulse.forgive(at(100));
        pulse.see(at(101), bad(), GRACE);
        assert_eq!((pulse.turn(after(159), false, GRACE), pulse.turn(after(160), false, GRACE)), (Turn::Stays, Turn::Lost("refused".into())));
        let mut well = Pulse::default();
        well.see(at(0), Ok(()), GRACE);
        well.forgive(at(1));
        assert!(well.is_well() && well.trouble().is_none());
    }

    #[test]
    fn a_clock_that_is_set_loses_no_cluster_and_brings_none_back() {
        let set = |steady: i64, told: i64| Moment { told: at(told).told, ..at(steady) };
        let mut pulse = Pulse::default();
        pulse.see(set(0, 0), bad(), GRACE);
        pulse.see(set(5, 3_600), bad(), GRACE);
        assert_eq!((pulse.turn(after(5), false, GRACE), pulse.trouble()), (Turn::Stays, Some((at(0).told, "refused"))));
        // Set back again: it is lost in its time all the same.
        pulse.see(set(60, -3_600), bad(), GRACE);
        assert_eq!(pulse.turn(after(60), false, GRACE), Turn::Lost("refused".into()));
        pulse.see(set(65, 7_200), Ok(()), GRACE);
        assert_eq!((pulse.turn(after(124), true, GRACE), pulse.turn(after(125), true, GRACE)), (Turn::Stays, Turn::Back));
    }

    proptest! {
        #[test]
        fn nothing_turns_before_its_time(looks in proptest::collection::vec((1_i64..30, any::<bool>()), 1..200)) {
            let (mut pulse, mut now, mut lost, mut last) = (Pulse::default(), 0, false, 0);
            for (pause, well) in looks {
                now += pause;
                pulse.see(at(now), if well { Ok(()) } else { bad() }, GRACE);
                match pulse.turn(after(now), lost, GRACE) {
                    Turn::Stays => continue,
                    Turn::Lost(_) => prop_assert!(!lost && !well),
                    Turn::Back => prop_assert!(lost && well),
                }
                prop_assert!(now - last >= 60 || last == 0, "{} after {}", now, last);
                (lost, last) = (!lost, now);
            }
        }
    }
}
