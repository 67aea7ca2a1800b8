//! Watches the instances for signs of an intrusion: programs that are not of the image, rights that a container was not given,
//! connections that its space does not allow. Programs are looked at when they begin to run, where the kernel tells ([`crate::adapters::executions`]), and
//! everything in intervals. What was found is told to the scheduler, and followed by what the space wants.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;
use gantry_cri::{ContainerState, Cri};
use gantry_kernel::InstanceId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::halting::Halting;
use super::keeper::{Shared, chain};
use super::sessions::MAIN;
use crate::adapters::executions::{Containers, Executions, Heard, Measure};
use crate::adapters::processes::Remembered;
use crate::adapters::{guarding, processes};
use crate::domain::actual::Pod;
use crate::domain::guard::{Finding, Ground, QUARANTINE, Response, fence};

/// What lives shorter than this may not be seen where the kernel does not tell what begins to run.
const LOOK: Duration = Duration::from_secs(2);
/// Of one instance; more say nothing new.
const MOST: usize = 50;

pub struct Guard {
    cri: Cri,
    shared: Shared,
    services: Option<Ipv4Addr>,
    resolvers: Vec<String>,
    /// By container what its processes are measured against.
    known: BTreeMap<String, Base>,
    executions: Executions,
    halting: Halting,
    /// By pod: what its packet filter is, and how often it has refused something.
    fences: BTreeMap<String, Fence>,
    /// Pods whose packet filter could not be set; told in the log once.
    unfenced: BTreeSet<String>,
    /// Pods that were there before this agent was: one before it may have given them a packet filter.
    inherited: Option<BTreeSet<String>>,
    /// By container what was found last time and needs to be seen again.
    unsure: BTreeMap<String, BTreeSet<(u32, Finding)>>,
    /// What was followed already.
    followed: BTreeSet<(String, &'static str, String)>,
}

#[derive(Clone)]
struct Base {
    /// Its first process.
    first: u32,
    process: Remembered,
    ground: Ground,
    /// The folder of its control group.
    group: Option<PathBuf>,
}

#[derive(Default)]
struct Fence {
    script: Option<String>,
    refusals: u64,
}

/// A container to be looked at.
struct Subject<'a> {
    instance: InstanceId,
    pod: &'a Pod,
    /// `main` or a further one's.
    name: &'a str,
    id: &'a str,
    guard: Option<&'a wire::Guard>,
}

impl Guard {
    pub fn new(cri: Cri, shared: Shared, services: Option<Ipv4Addr>, resolvers: Vec<String>, executions: Executions, halting: Halting) -> Self {
        let (known, fences, unfenced, unsure, followed) = Default::default();
        Self { cri, shared, services, resolvers, known, executions, halting, fences, unfenced, inherited: None, unsure, followed }
    }

    /// Until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut pods = self.shared.pods.subscribe();
        loop {
            let now = pods.borrow_and_update().clone();
            let calm = now.is_empty();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.round(&now) => {}
            }
            let next = Instant::now() + LOOK;
            loop {
                let heard: Heard = tokio::select! {
                    () = cancel.cancelled() => return,
                    // Where nothing runs, nothing is to be found.
                    changed = pods.changed(), if calm => if changed.is_err() { return } else { break },
                    () = tokio::time::sleep_until(next), if !calm => break,
                    Some(heard) = self.executions.heard.recv() => heard,
                };
                match heard {
                    Heard::Found { container, finding } => self.found(&container, finding).await,
                    Heard::Sweep => break,
                }
            }
        }
    }

    /// A program that began to run. Of a container that is not wanted any more nothing follows.
    async fn found(&mut self, container: &str, finding: Finding) {
        let (Some(wanted), pods) = (self.shared.wanted.borrow().clone(), self.shared.pods.borrow().clone()) else { return };
        let of = |pod: &&Pod| pod.running_ids().any(|id| id == container);
        let Some(pod) = pods.iter().find(of) else { return };
        let Some(instance) = wanted.instances.get(&pod.instance) else { return };
        let beside = pod.beside.iter().find(|(_, c)| c.id == container).map(|(name, _)| name.as_str());
        let subject = Subject { instance: pod.instance, pod, name: beside.unwrap_or(MAIN), id: container, guard: instance.guard.as_ref() };
        if Response::of(subject.guard) != Response::None {
            self.sign(&subject, container, finding.kind, finding.detail).await;
        }
    }

    async fn round(&mut self, pods: &[Pod]) {
        let Some(wanted) = self.shared.wanted.borrow().clone() else { return };
        if self.inherited.is_none() && !pods.is_empty() {
            self.inherited = Some(pods.iter().map(|p| p.id.clone()).collect());
        }
        let alive: BTreeSet<&str> = pods.iter().flat_map(Pod::running_ids).collect();
        self.known.retain(|id, _| alive.contains(id.as_str()));
        self.unsure.retain(|id, _| alive.contains(id.as_str()));
        self.followed.retain(|(id, _, _)| alive.contains(id.as_str()) || pods.iter().any(|p| p.id == *id));
        self.fences.retain(|id, _| pods.iter().any(|p| p.id == *id));
        self.unfenced.retain(|id| pods.iter().any(|p| p.id == *id));
        let there = wanted.instances.keys().copied().collect();
        self.forget_signs(&there);
        self.halting.forget_others(&there).await;
        let mut containers = Containers::new();
        for pod in pods {
            let Some(instance) = wanted.instances.get(&pod.instance) else { continue };
            let guard = instance.guard.as_ref();
            let main = pod.container.iter().map(|c| (MAIN, c.id.as_str()));
            let all = main.chain(pod.beside.iter().map(|(name, c)| (name.as_str(), c.id.as_str())));
            let subjects: Vec<Subject<'_>> =
                all.filter(|(_, id)| alive.contains(id)).map(|(name, id)| Subject { instance: pod.instance, pod, name, id, guard }).collect();
            for subject in &subjects {
                if let Some(base) = self.ground(subject.id).await {
                    containers.extend(base.group.clone().map(|group| (group, measure(subject, base.ground))));
                }
            }
            for subject in &subjects {
                self.processes(subject).await;
            }
            if let Some(first) = subjects.first() {
                self.connections(first).await;
            }
        }
        self.measure_by(containers);
    }

    async fn processes(&mut self, subject: &Subject<'_>) {
        if Response::of(subject.guard) == Response::None {
            return;
        }
        let Some(Base { first, ground, .. }) = self.ground(subject.id).await else { return };
        let allowed = subject.guard.map(|g| g.programs.clone()).unwrap_or_default();
        let found = guarding::look(first, ground, allowed).await;
        let before = self.unsure.remove(subject.id).unwrap_or_default();
        for (pid, finding) in &found {
            if finding.sure || before.contains(&(*pid, finding.clone())) {
                self.sign(subject, subject.id, finding.kind, finding.detail.clone()).await;
            }
        }
        self.unsure.insert(subject.id.to_owned(), found.into_iter().filter(|(_, f)| !f.sure).collect());
    }

    async fn connections(&mut self, subject: &Subject<'_>) {
        let wanted = fence(subject.guard, self.services, &self.resolvers);
        let Some(Base { first: pid, .. }) = self.ground(subject.id).await else { return };
        let known = self.fences.get(&subject.pod.id);
        if known.is_none_or(|f| f.script != wanted) {
            let never_fenced = known.is_none() && !self.inherited.as_ref().is_some_and(|there| there.contains(&subject.pod.id));
            // Of a pod that an agent before this one has fenced it is not known how: it is done anew.
            let script = wanted.clone().unwrap_or_else(|| "table inet gantry_guard\ndelete table inet gantry_guard".to_owned());
            // What was refused since the pod began, before the list begins anew. Where there is no list, there is no fence.
            let so_far = if never_fenced { None } else { guarding::list_refused(pid).await.ok() };
            let untouched = wanted.is_none() && so_far.is_none() && self.fences.get(&subject.pod.id).is_none_or(|f| f.script.is_none());
            self.refused(subject, so_far.unwrap_or_default()).await;
            if !untouched && let Err(error) = guarding::filter(pid, &script).await {
                // Tried again every time.
                if self.unfenced.insert(subject.pod.id.clone()) {
                    tracing::warn!(instance.id = %subject.instance, error = chain(&error), "which connections an instance may open cannot be set");
                }
                return;
            }
            self.unfenced.remove(&subject.pod.id);
            self.fences.insert(subject.pod.id.clone(), Fence { script: wanted.clone(), refusals: 0 });
        }
        if wanted.is_none() {
            return;
        }
        let refusals = guarding::refused_so_far(pid).await;
        let Some(fence) = self.fences.get_mut(&subject.pod.id).filter(|f| f.refusals != refusals) else { return };
        fence.refusals = refusals;
        match guarding::list_refused(pid).await {
            Ok(all) => self.refused(subject, all).await,
            Err(error) => tracing::warn!(instance.id = %subject.instance, error = chain(&error), "which connections were refused cannot be read"),
        }
    }

    async fn refused(&mut self, subject: &Subject<'_>, all: Vec<String>) {
        for one in all {
            self.sign(subject, &subject.pod.id, "connection", format!("a connection to {one} was refused: the space does not allow it")).await;
        }
    }

    async fn ground(&mut self, container: &str) -> Option<Base> {
        if let Some(known) = self.known.get(container).filter(|known| known.process.pid().is_some()) {
            return Some(known.clone());
        }
        self.known.remove(container);
        let status = self.cri.container_status(container).await.ok()?;
        let first = status.pid.filter(|_| status.state == ContainerState::Running)?;
        let base = Base { first, process: Remembered::of(first)?, ground: guarding::ground(first).await?, group: guarding::group(first).await };
        self.known.insert(container.to_owned(), base.clone());
        Some(base)
    }

    /// `of`: the container or pod in which it counts once.
    async fn sign(&mut self, subject: &Subject<'_>, of: &str, kind: &'static str, detail: String) {
        if !self.followed.insert((of.to_owned(), kind, detail.clone())) {
            return;
        }
        let response = Response::of(subject.guard);
        let sign = wire::Sign { container: subject.name.to_owned(), kind: kind.to_owned(), detail, action: response.as_str().to_owned() };
        tracing::warn!(instance.id = %subject.instance, container = sign.container, kind, detail = sign.detail, action = sign.action, "a sign of an intrusion");
        self.shared.signs.send_modify(|all| {
            let own = all.entry(subject.instance).or_default();
            if own.len() < MOST && !own.contains(&sign) {
                own.push(sign);
            }
        });
        if let Err(error) = self.respond(subject, response).await {
            tracing::error!(instance.id = %subject.instance, error, "what should follow a sign of an intrusion could not be done");
        }
        self.shared.wake.notify_one();
    }

    async fn respond(&mut self, subject: &Subject<'_>, response: Response) -> Result<(), String> {
        let Some(Base { first: pid, .. }) = self.ground(subject.id).await else { return Ok(()) };
        match response {
            Response::None | Response::Report => Ok(()),
            Response::Restart => processes::signal(pid, 1, "KILL").await,
            Response::Stop => {
                self.halting.halt(subject.instance).await;
                Ok(())
            }
            Response::Quarantine => guarding::filter(pid, QUARANTINE).await.map_err(|e| chain(&e)),
        }
    }

    /// From now on programs are looked at by these when they begin to run.
    fn measure_by(&self, containers: Containers) {
        let mut held = self.executions.containers.write().unwrap_or_else(PoisonError::into_inner);
        if *held != containers {
            *held = containers;
        }
    }

    /// Of instances that are gone.
    fn forget_signs(&self, wanted: &BTreeSet<InstanceId>) {
        self.shared.signs.send_if_modified(|all| {
            all.retain(|id, _| wanted.contains(id));
            false
        });
    }
}

/// By what programs of a container are judged that begin to run; nothing where nothing is looked for.
fn measure(subject: &Subject<'_>, ground: Ground) -> Option<Arc<Measure>> {
    if Response::of(subject.guard) == Response::None {
        return None;
    }
    let allowed = subject.guard.map(|g| g.programs.clone()).unwrap_or_default();
    Some(Arc::new(Measure { container: subject.id.to_owned(), ground, allowed }))
}
