//! Looks at each program of a container in the moment in which it begins to run, however short it lives: on the kernel's word
//! ([`super::connector`]), in a thread of its own. What it can do is bounded: beyond that, and when the kernel lost some, all processes
//! are to be looked at instead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connector::Connector;
use super::{guarding, processes};
use crate::domain::guard::{Finding, Ground};
use crate::domain::process_events::Event;

/// What is not sure has to be seen again after so long: a runtime that enters a container looks like that for a moment, which is long on a
/// busy machine.
const AGAIN: Duration = Duration::from_secs(1);
/// Programs that are looked at in a second. Each costs about as many microseconds as reading three small files.
const LOOKS_A_SECOND: u32 = 2_000;
/// That wait to be looked at again.
const MOST_AGAIN: usize = 1_024;
/// Findings that are told once.
const MOST_TOLD: usize = 4_096;
/// Findings that wait for the guard.
const WAITING: usize = 256;
/// The guard is asked to look at everything at most this often.
const SWEEP: Duration = Duration::from_secs(1);

/// What the programs of one container are measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    pub container: String,
    pub ground: Ground,
    pub allowed: Vec<String>,
}

/// By the folder of their control group; nothing for those in which nothing is looked for.
pub type Containers = BTreeMap<PathBuf, Option<Arc<Measure>>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Found {
        container: String,
        finding: Finding,
    },
    /// Something was missed, or runs in a container that is not known yet: everything is to be looked at.
    Sweep,
}

/// For the node's metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// The kernel tells which programs begin to run.
    pub hearing: AtomicBool,
    /// Programs that began to run in containers.
    pub looked: AtomicU64,
    /// How often some were missed.
    pub lost: AtomicU64,
}

/// The guard's side.
pub struct Executions {
    pub containers: Arc<RwLock<Containers>>,
    pub heard: mpsc::Receiver<Heard>,
}

/// Listens until cancelled, or nobody hears it any more; not at all where the kernel does not tell.
pub fn listen(figures: Arc<Figures>, tracker: &TaskTracker, cancel: CancellationToken) -> Executions {
    let (tell, heard) = mpsc::channel(WAITING);
    let containers = Arc::new(RwLock::new(Containers::new()));
    let known = containers.clone();
    tracker.spawn_blocking(move || match Connector::open() {
        Ok(connector) => {
            tracing::info!("the kernel tells which programs begin to run in containers");
            figures.hearing.store(true, Ordering::Relaxed);
            Watch::new(known, tell, figures.clone()).run(connector, &cancel);
            figures.hearing.store(false, Ordering::Relaxed);
        }
        Err(error) => {
            tracing::warn!(%error, "the kernel does not tell which programs begin to run (it needs CAP_NET_ADMIN and CONFIG_PROC_EVENTS): those that end within two seconds may not be seen");
        }
    });
    Executions { containers, heard }
}

struct Watch {
    containers: Arc<RwLock<Containers>>,
    tell: mpsc::Sender<Heard>,
    figures: Arc<Figures>,
    budget: Budget,
    /// With what was found of each, if it was looked at.
    again: VecDeque<(Instant, u32, Option<Finding>)>,
    told: BTreeSet<(String, Finding)>,
    /// The last time that the guard was asked to look at everything, and whether it is to be asked again.
    swept: Option<Instant>,
    sweep: bool,
    /// The last time that a loss was logged.
    warned: Option<Instant>,
}

impl Watch {
    fn new(containers: Arc<RwLock<Containers>>, tell: mpsc::Sender<Heard>, figures: Arc<Figures>) -> Self {
        let (again, told) = Default::default();
        Self { containers, tell, figures, budget: Budget::new(Instant::now()), again, told, swept: None, sweep: false, warned: None }
    }

    fn run(mut self, mut connector: Connector, cancel: &CancellationToken) {
        // A runtime that ends over a panic cancels nothing, and waits for this thread; what hears it has been dropped by then.
        while !cancel.is_cancelled() && !self.tell.is_closed() {
            match connector.read() {
                Ok(events) => events.into_iter().for_each(|event| self.take_in(event)),
                Err(error) => {
                    tracing::error!(%error, "the kernel tells no more which programs begin to run: those that end within two seconds may not be seen");
                    return;
                }
            }
            self.after(Instant::now());
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Executed { pid } if self.budget.take(Instant::now()) => self.look(pid),
            Event::Executed { .. } => self.lost("more programs begin to run than can be looked at"),
            Event::Lost => self.lost("the kernel told of more programs than there was room for"),
            Event::Answered { .. } => {}
        }
    }

    /// In the moment in which a program began to run: it may have ended when something else has been asked.
    fn look(&mut self, pid: u32) {
        // The program first: the rest is still known of one that has ended and was not waited for.
        let (Some(process), Some(group)) = (guarding::process(pid), processes::group(pid)) else { return };
        match self.measure(&group) {
            Place::Measured(measure) => {
                self.figures.looked.fetch_add(1, Ordering::Relaxed);
                for finding in guarding::look_at(&process, &measure.ground, &measure.allowed) {
                    if finding.sure { self.found(measure.container.clone(), finding) } else { self.look_later(pid, Some(finding)) }
                }
            }
            Place::Unknown => {
                self.sweep = true;
                self.look_later(pid, None);
            }
            Place::Elsewhere => {}
        }
    }

    fn measure(&self, group: &Path) -> Place {
        let containers = self.containers.read().unwrap_or_else(PoisonError::into_inner);
        match group.ancestors().find_map(|folder| containers.get(folder)) {
            Some(Some(measure)) => Place::Measured(measure.clone()),
            Some(None) => Place::Elsewhere,
            // `domain::spec::cgroup` is where all instances are.
            None if group.components().any(|c| c.as_os_str() == "gantry") => Place::Unknown,
            None => Place::Elsewhere,
        }
    }

    fn look_later(&mut self, pid: u32, finding: Option<Finding>) {
        if self.again.len() < MOST_AGAIN {
            self.again.push_back((Instant::now() + AGAIN, pid, finding));
        } else {
            self.lost("more programs are to be looked at again than can be");
        }
    }

    /// What was to wait for a moment.
    fn after(&mut self, now: Instant) {
        while self.again.front().is_some_and(|(at, _, _)| *at <= now) {
            let Some((_, pid, before)) = self.again.pop_front() else { break };
            let (Some(process), Some(group)) = (guarding::process(pid), processes::group(pid)) else { continue };
            let Place::Measured(measure) = self.measure(&group) else { continue };
            for finding in guarding::look_at(&process, &measure.ground, &measure.allowed) {
                match &before {
                    // Seen for the first time: it was not known against what.
                    None if !finding.sure => self.look_later(pid, Some(finding)),
                    Some(before) if !finding.sure && *before != finding => {}
                    None | Some(_) => self.found(measure.container.clone(), finding),
                }
            }
        }
        if self.sweep && self.swept.is_none_or(|at| now.duration_since(at) >= SWEEP) {
            // Asked again a little later when the guard is behind.
            self.sweep = self.tell.try_send(Heard::Sweep).is_err();
            self.swept = Some(now);
        }
    }

    fn found(&mut self, container: String, finding: Finding) {
        if self.told.len() >= MOST_TOLD {
            // The guard knows what it has told.
            self.told.clear();
        }
        let key = (container, finding);
        if self.told.contains(&key) {
            return;
        }
        match self.tell.try_send(Heard::Found { container: key.0.clone(), finding: key.1.clone() }) {
            Ok(()) => drop(self.told.insert(key)),
            Err(_) => self.lost("more was found than could be told"),
        }
    }

    fn lost(&mut self, why: &'static str) {
        self.figures.lost.fetch_add(1, Ordering::Relaxed);
        self.sweep = true;
        let now = Instant::now();
        if self.warned.is_none_or(|at| now.duration_since(at) >= SWEEP) {
            tracing::warn!(why, lost = self.figures.lost.load(Ordering::Relaxed), "programs that begin to run were missed; all that run are looked at");
            self.warned = Some(now);
        }
    }
}

enum Place {
    Measured(Arc<Measure>),
    /// Of an instance that is not known yet.
    Unknown,
    /// Nobody's to look at.
    Elsewhere,
}

/// So many looks in each second, and no more.
struct Budget {
    since: Instant,
    left: u32,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { since: now, left: LOOKS_A_SECOND }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> (Watch, mpsc::Receiver<Heard>) {
        let (tell, heard) = mpsc::channel(WAITING);
        (Watch::new(Arc::default(), tell, Arc::default()), heard)
    }

    fn finding(detail: &str) -> Finding {
        Finding { kind: "program", detail: detail.into(), sure: true }
    }

    #[test]
    fn a_storm_is_bounded_and_leads_to_one_look_at_everything_in_a_second() {
        let (mut watch, mut heard) = watch();
        // No process has this number (proc(5): at most 2^22).
        for _ in 0..3 * LOOKS_A_SECOND {
            watch.take_in(Event::Executed { pid: u32::MAX });
        }
        let lost = watch.figures.lost.load(Ordering::Relaxed);
        assert!(lost >= u64::from(LOOKS_A_SECOND), "{lost}");
        let now = Instant::now();
        watch.after(now);
        watch.take_in(Event::Lost);
        watch.after(now);
        assert_eq!((heard.try_recv(), heard.try_recv().is_err()), (Ok(Heard::Sweep), true));
        watch.after(now + SWEEP);
        assert_eq!(heard.try_recv(), Ok(Heard::Sweep), "what was lost since then is looked for as well");
        (0..2 * MOST_AGAIN).for_each(|_| watch.look_later(u32::MAX, None));
        assert_eq!(watch.again.len(), MOST_AGAIN);
        watch.after(Instant::now() + AGAIN);
        assert!(watch.again.is_empty());
    }

    /// With the right to it alone; says so where it is missing.
    #[test]
    fn it_ends_with_whoever_hears_it() {
        let connector = match Connector::open() {
            Ok(connector) => connector,
            Err(error) => {
                eprintln!("skipped: the kernel tells nothing of programs here: {error}");
                return;
            }
        };
        let (watch, heard) = watch();
        let running = std::thread::spawn(move || watch.run(connector, &CancellationToken::new()));
        drop(heard);
        let end = Instant::now() + Duration::from_secs(10);
        while !running.is_finished() {
            assert!(Instant::now() < end, "it listens for nobody");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn what_is_found_many_times_is_told_once_and_what_cannot_be_told_is_lost() {
        let (mut watch, mut heard) = watch();
        (0..10).for_each(|_| watch.found("c".into(), finding("x")));
        assert_eq!(heard.try_recv(), Ok(Heard::Found { container: "c".into(), finding: finding("x") }));
        assert!(heard.try_recv().is_err());
        (0..=WAITING).for_each(|n| watch.found("c".into(), finding(&n.to_string())));
        assert_eq!(watch.figures.lost.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_process_is_its_containers_also_in_a_group_below() {
        let (watch, _heard) = watch();
        let ground = Ground::parse("Uid:\t0\t0\t0\t0\nCapBnd:\t0\n", "").unwrap();
        let measure = Measure { container: "c".into(), ground, allowed: Vec::new() };
        watch
            .containers
            .write()
            .unwrap()
            .extend([(PathBuf::from("/sys/fs/cgroup/gantry/i/c"), Some(Arc::new(measure))), ("/sys/fs/cgroup/gantry/j/d".into(), None)]);
        let at = |group: &str| watch.measure(Path::new(group));
        assert!(matches!(at("/sys/fs/cgroup/gantry/i/c/app.slice"), Place::Measured(m) if m.container == "c"));
        assert!(matches!(at("/sys/fs/cgroup/gantry/j/d"), Place::Elsewhere));
        assert!(matches!(at("/sys/fs/cgroup/gantry/k/new"), Place::Unknown));
        assert!(matches!(at("/sys/fs/cgroup/system.slice"), Place::Elsewhere));
    }
}
