//! From single probe answers to "started, alive, ready".

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Startup,
    Live,
    Ready,
}

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    Http { port: u16, path: String },
    Tcp { port: u16 },
    Grpc { port: u16 },
    Command(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub purpose: Purpose,
    pub check: Check,
    pub period: Duration,
    pub timeout: Duration,
    pub initial_delay: Duration,
    pub failures: u32,
    pub successes: u32,
}

impl Probe {
    /// `None` if a word in it is unknown or its port is missing.
    pub fn parse(probe: &wire::Probe) -> Option<Self> {
        let port = || u16::try_from(probe.port).ok().filter(|p| *p > 0);
        let or = |value: u32, default: u32| Duration::from_millis(if value == 0 { default } else { value }.into());
        let path = if probe.path.is_empty() { "/".to_owned() } else { probe.path.clone() };
        Some(Self {
            purpose: match probe.purpose.as_str() {
                "startup" => Purpose::Startup,
                "live" => Purpose::Live,
                "ready" => Purpose::Ready,
                _ => return None,
            },
            check: match probe.kind.as_str() {
                "http" => Check::Http { port: port()?, path },
                "tcp" => Check::Tcp { port: port()? },
                "grpc" => Check::Grpc { port: port()? },
                "command" if !probe.command.is_empty() => Check::Command(probe.command.clone()),
                _ => return None,
            },
            period: or(probe.period_ms, 2_000).max(Duration::from_millis(100)),
            timeout: or(probe.timeout_ms, 1_000),
            initial_delay: Duration::from_millis(probe.initial_delay_ms.into()),
            failures: probe.failure_threshold.max(1),
            successes: probe.success_threshold.max(1),
        })
    }

    /// What an instance behind a balancer is asked if it brings no readiness probe: does its port accept?
    fn accepts(port: u16) -> Self {
        let check = Check::Tcp { port };
        let period = Duration::from_millis(500);
        Self { purpose: Purpose::Ready, check, period, timeout: Duration::from_secs(1), initial_delay: Duration::ZERO, failures: 2, successes: 1 }
    }
}

/// All probes of an instance, with one for each balanced port where it brings no readiness probe of its own.
pub fn probes(own: &[wire::Probe], balanced_ports: &BTreeSet<u16>) -> Vec<Probe> {
    let mut probes: Vec<_> = own.iter().filter_map(Probe::parse).collect();
    if !probes.iter().any(|p| p.purpose == Purpose::Ready) {
        probes.extend(balanced_ports.iter().map(|port| Probe::accepts(*port)));
    }
    probes
}

/// The run of answers to one probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Track {
    successes: u32,
    failures: u32,
    /// `None` until a threshold was reached for the first time.
    passing: Option<bool>,
}

impl Track {
    fn answer(&mut self, ok: bool, probe: &Probe) {
        (self.successes, self.failures) = if ok { (self.successes.saturating_add(1), 0) } else { (0, self.failures.saturating_add(1)) };
        if self.successes >= probe.successes {
            self.passing = Some(true);
        } else if self.failures >= probe.failures {
            self.passing = Some(false);
        }
    }
}

/// What is known of one running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    probes: Vec<Probe>,
    tracks: Vec<Track>,
    /// What the last failing probe said.
    pub reason: String,
}

impl Health {
    /// `ready_before`: it was ready when the agent went down; it stays in rotation until a probe says otherwise.
    pub fn new(probes: Vec<Probe>, ready_before: bool) -> Self {
        let passing = ready_before.then_some(true);
        let tracks = vec![Track { passing, ..Track::default() }; probes.len()];
        Self { probes, tracks, reason: String::new() }
    }

    /// A question that was asked before its time, so that a good answer is known soon, has failed: nobody's count of failures grows by it.
    pub fn failed_early(&mut self, index: usize, why: String) {
        if let Some(track) = self.tracks.get_mut(index) {
            track.successes = 0;
            self.reason = why;
        }
    }

    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// Takes in the answer of probe number `index`. A startup probe that failed too often counts as dead.
    pub fn answer(&mut self, index: usize, answer: Result<(), String>) {
        let (Some(probe), Some(track)) = (self.probes.get(index), self.tracks.get_mut(index)) else { return };
        track.answer(answer.is_ok(), probe);
        match answer {
            Err(why) => self.reason = why,
            Ok(()) if self.tracks.iter().all(|t| t.failures == 0) => self.reason.clear(),
            Ok(()) => {}
        }
    }

    /// Whether probe number `index` is to be asked now: live and ready wait for startup, startup ends for good.
    pub fn due(&self, index: usize) -> bool {
        match self.probes.get(index).map(|p| p.purpose) {
            Some(Purpose::Startup) => self.tracks[index].passing != Some(true),
            Some(Purpose::Live | Purpose::Ready) => self.started(),
            None => false,
        }
    }

    fn all(&self, purpose: Purpose, holds: impl Fn(&Track) -> bool) -> bool {
        self.probes.iter().zip(&self.tracks).filter(|(p, _)| p.purpose == purpose).all(|(_, t)| holds(t))
    }

    pub fn started(&self) -> bool {
        self.all(Purpose::Startup, |t| t.passing == Some(true))
    }

    pub fn ready(&self) -> bool {
        self.started() && self.alive() && self.all(Purpose::Ready, |t| t.passing == Some(true))
    }

    /// False = to be restarted.
    pub fn alive(&self) -> bool {
        self.all(Purpose::Live, |t| t.passing != Some(false)) && self.all(Purpose::Startup, |t| t.passing != Some(false))
    }

    /// It was ready, or could have been, and is not: a person should look.
    pub fn unhealthy(&self) -> bool {
        self.started() && !self.all(Purpose::Ready, |t| t.passing != Some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(purpose: &str, failures: u32, successes: u32) -> wire::Probe {
        wire::Probe { purpose: purpose.into(), kind: "tcp".into(), port: 80, failure_threshold: failures, success_threshold: successes, ..Default::default() }
    }

    fn health(list: &[wire::Probe]) -> Health {
        Health::new(probes(list, &BTreeSet::new()), false)
    }

    #[test]
    fn without_probes_a_running_container_is_ready() {
        assert!(health(&[]).ready());
    }

    #[test]
    fn a_balanced_port_is_asked_when_there_is_no_readiness_probe() {
        let of = |own: &[wire::Probe]| probes(own, &BTreeSet::from([8080])).len();
        assert_eq!((of(&[]), of(&[probe("ready", 1, 1)]), of(&[probe("live", 1, 1)])), (1, 1, 2));
    }

    #[test]
    fn readiness_waits_for_startup_and_comes_and_goes() {
        let mut health = health(&[probe("startup", 3, 1), probe("ready", 2, 2)]);
        assert!(!health.due(1) && health.due(0));
        health.answer(0, Ok(()));
        assert!(health.due(1) && !health.due(0) && !health.ready());
        health.answer(1, Ok(()));
        assert!(!health.ready());
        health.answer(1, Ok(()));
        assert!(health.ready());
        health.answer(1, Err("refused".into()));
        assert!(health.ready());
        health.answer(1, Err("refused".into()));
        assert!(!health.ready() && health.alive() && health.unhealthy());
        assert_eq!(health.reason, "refused");
    }

    #[test]
    fn a_live_probe_that_fails_often_enough_means_restart() {
        let mut health = health(&[probe("live", 2, 1)]);
        health.answer(0, Err("x".into()));
        assert!(health.alive());
        health.answer(0, Err("x".into()));
        assert!(!health.alive() && !health.ready());
    }

    #[test]
    fn questions_before_their_time_count_when_they_are_answered_well_and_not_when_they_fail() {
        let mut health = health(&[probe("startup", 2, 2)]);
        for _ in 0..10 {
            health.failed_early(0, "refused".into());
        }
        assert!(health.alive() && !health.started() && health.reason == "refused");
        health.answer(0, Ok(()));
        health.failed_early(0, "refused".into());
        health.answer(0, Ok(()));
        assert!(!health.started(), "not twice in a row");
        health.answer(0, Ok(()));
        assert!(health.started());
    }

    #[test]
    fn a_restarted_agent_keeps_what_was_ready() {
        let list = probes(&[probe("ready", 2, 1)], &BTreeSet::new());
        let mut health = Health::new(list, true);
        assert!(health.ready());
        health.answer(0, Err("x".into()));
        health.answer(0, Err("x".into()));
        assert!(!health.ready());
    }
}
