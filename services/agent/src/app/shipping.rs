//! Which log files there are, and shipping them to the log stream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_bus::{Bus, streams};
use gantry_contract::logs::LogBatch;
use gantry_contract::proto::scheduler::{Labels, WantedInstance};
use gantry_kernel::{InstanceId, Uuid};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keeper::{Shared, chain};
use crate::adapters::log_bell::{LogBell, Printed};
use crate::adapters::logs::{LOOK, PERIOD, Shipper, Source};
use crate::domain::actual::{ContainerState, Pod};
use crate::domain::spec::{log_number, of_log_number};
use crate::domain::wanted::Wanted;

/// Every attempt whose lines may not all be shipped yet.
#[derive(Default)]
pub struct Sources {
    known: BTreeMap<(InstanceId, u32), Source>,
    /// Instances of which it was looked what an agent before this one has left.
    taken_up: BTreeSet<InstanceId>,
}

impl Sources {
    /// Takes in what runs now. An attempt that does not run any more stays until [`Sources::shipped`].
    pub fn update(&mut self, wanted: Option<&Wanted>, pods: &[Pod]) -> Vec<Source> {
        for source in self.known.values_mut() {
            source.running = false;
        }
        for pod in pods {
            let Some(container) = &pod.container else { continue };
            let labels = wanted.and_then(|w| w.instances.get(&pod.instance)).and_then(|i| i.labels.clone());
            let known = self.known.get(&(pod.instance, container.attempt)).cloned();
            let Some(mut source) = known.or_else(|| labels.and_then(|l| source(pod.instance, container.attempt, l))) else { continue };
            source.container.clone_from(&container.id);
            source.running = container.state == ContainerState::Running;
            self.known.insert((pod.instance, container.attempt), source);
        }
        for (pod, name, container) in pods.iter().flat_map(|p| p.beside.iter().map(move |(name, c)| (p, name, c))) {
            let known = self.known.values().find(|s| s.container == container.id).cloned();
            let Some(mut source) = known.or_else(|| beside(wanted?.instances.get(&pod.instance)?, pod.instance, name, container.attempt)) else { continue };
            source.container.clone_from(&container.id);
            source.running = container.state == ContainerState::Running;
            self.known.insert((pod.instance, source.attempt), source);
        }
        self.known.values().cloned().collect()
    }

    /// Instances of which nobody knows yet which files of earlier attempts there are.
    pub fn unseen(&mut self, pods: &[Pod]) -> BTreeSet<InstanceId> {
        let there: BTreeSet<InstanceId> = pods.iter().filter(|p| p.container.is_some()).map(|p| p.instance).collect();
        self.taken_up.retain(|id| there.contains(id));
        there.difference(&self.taken_up).copied().collect()
    }

    /// Earlier attempts whose files are there, by their numbers: an agent that ended has not shipped them to their ends, or not removed them.
    pub fn take_up(&mut self, wanted: &Wanted, pods: &[Pod], files: &BTreeMap<InstanceId, BTreeSet<u32>>) {
        self.taken_up.extend(files.keys().copied());
        for pod in pods {
            let (Some(instance), Some(numbers)) = (wanted.instances.get(&pod.instance), files.get(&pod.instance)) else { continue };
            for number in numbers {
                let Some((name, attempt)) = of_log_number(instance, *number) else { continue };
                let now = name.map_or(pod.container.as_ref(), |name| pod.beside.get(name));
                if now.is_none_or(|now| attempt >= now.attempt) {
                    continue;
                }
                let left = match name {
                    None => instance.labels.clone().and_then(|labels| source(pod.instance, attempt, labels)),
                    Some(name) => beside(instance, pod.instance, name, attempt),
                };
                if let Some(left) = left {
                    self.known.entry((pod.instance, left.attempt)).or_insert(left);
                }
            }
        }
    }

    /// All lines of these were shipped: those that have ended need not be looked at again, and their files are of no use.
    pub fn shipped(&mut self, sources: &[Source], pods: &[Pod]) -> Over {
        let newest = |s: &Source| pods.iter().any(|p| p.instance == s.instance && p.container.iter().chain(p.beside.values()).any(|c| c.id == s.container));
        // The newest attempt of a pod that is there stays known even when it has ended, or it would be found anew each round.
        let over: Vec<_> = sources.iter().filter(|s| !s.running && !newest(s)).collect();
        for source in &over {
            self.known.remove(&(source.instance, source.attempt));
        }
        let there = |s: &&&Source| pods.iter().any(|p| p.instance == s.instance);
        let attempts = over.iter().filter(there).map(|s| (s.instance, s.attempt)).collect();
        let mut instances: Vec<_> = over.iter().filter(|s| !there(s)).map(|s| s.instance).collect();
        instances.dedup();
        Over { instances, attempts }
    }
}

/// What has ended, and was shipped to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Over {
    /// Pod and all.
    pub instances: Vec<InstanceId>,
    /// Of instances that go on: a container that is started again and again would fill the disk.
    pub attempts: Vec<(InstanceId, u32)>,
}

impl Over {
    /// `logs`: folder of the log folders.
    async fn remove(self, logs: &Path) {
        for id in self.instances {
            let _ = tokio::fs::remove_dir_all(logs.join(id.to_string())).await;
        }
        for (id, attempt) in self.attempts {
            for file in [format!("{attempt}.log"), format!("{attempt}.log.1")] {
                let _ = tokio::fs::remove_file(logs.join(id.to_string()).join(file)).await;
            }
        }
    }
}

fn source(instance: InstanceId, attempt: u32, labels: Labels) -> Option<Source> {
    Some(Source {
        instance,
        app_id: labels.app_id.parse().ok()?,
        org: labels.org,
        project: labels.project,
        space: labels.space,
        app: labels.app,
        workload: labels.workload,
        container: String::new(),
        attempt,
        running: false,
    })
}

/// A further container's lines are those of `<workload>/<container>`.
fn beside(instance: &WantedInstance, id: InstanceId, name: &str, attempt: u32) -> Option<Source> {
    let mut source = source(id, log_number(instance, name, attempt), instance.labels.clone()?)?;
    source.workload = format!("{}/{name}", source.workload);
    Some(source)
}

pub struct Shipping {
    pub shipper: Shipper,
    pub shared: Shared,
    pub bus: Bus,
    /// Folder of the log folders.
    pub logs: PathBuf,
}

impl Shipping {
    /// Ships until cancelled, and once more then.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut sources = Sources::default();
        let mut stream_is_there = false;
        let mut away = false;
        let mut moved = self.shared.pods.subscribe();
        let (mut bell, mut printed) = (LogBell::open(), Printed::Anybody);
        loop {
            let began = Instant::now();
            moved.mark_unchanged();
            let last = cancel.is_cancelled();
            if !stream_is_there {
                stream_is_there = self.bus.sample_stream(streams::LOGS).await.is_ok();
            }
            let wanted = self.shared.wanted.borrow().clone();
            let pods = self.shared.pods.borrow().clone();
            let unseen = sources.unseen(&pods);
            if let Some(wanted) = wanted.as_deref().filter(|_| !unseen.is_empty()) {
                sources.take_up(wanted, &pods, &numbers(&self.logs, unseen).await);
            }
            let now = sources.update(wanted.as_deref(), &pods);
            // Before they are read: what is written from now on is heard.
            let deaf = bell.listen(&self.logs, &now.iter().map(|s| s.instance).collect::<BTreeSet<_>>());
            printed = printed.and(bell.now());
            // Of those that have ended nothing more is heard.
            let due = |source: &Source| !source.running || printed.has(source.instance) || deaf.contains(&source.instance);
            let bus = &self.bus;
            let outcome = self.shipper.round_of(&now, due, |id, batch| publish(bus, id, batch)).await;
            let behind = self.shipper.behind();
            let by_the_clock = outcome.is_err() || !deaf.is_empty();
            match outcome {
                Ok(_) => {
                    if std::mem::take(&mut away) {
                        tracing::info!("log lines are shipped again");
                    }
                    let whole: Vec<Source> = now.iter().filter(|s| !behind.contains(&s.instance)).cloned().collect();
                    sources.shipped(&whole, &pods).remove(&self.logs).await;
                }
                Err(error) => {
                    stream_is_there = false;
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(error = %chain(&error), "log lines wait on disk: the log stream cannot be reached");
                    }
                }
            }
            if last {
                return;
            }
            // There is more already.
            if !behind.is_empty() && !away {
                printed = Printed::nobody();
                continue;
            }
            printed = tokio::select! {
                () = cancel.cancelled() => Printed::Anybody,
                // Where nothing runs, nothing is printed; of a container that is new, or has ended, it is known without this.
                _ = moved.changed() => Printed::nobody(),
                printed = bell.rung() => printed,
                () = tokio::time::sleep(PERIOD), if by_the_clock => Printed::nobody(),
                () = tokio::time::sleep(LOOK), if !now.is_empty() => Printed::Anybody,
            };
            tokio::select! {
                () = cancel.cancelled() => printed = Printed::Anybody,
                () = tokio::time::sleep_until(began + PERIOD) => {}
            }
        }
    }
}

/// By instance the numbers of the log files that there are.
async fn numbers(logs: &Path, of: BTreeSet<InstanceId>) -> BTreeMap<InstanceId, BTreeSet<u32>> {
    let mut all = BTreeMap::new();
    for id in of {
        let own: &mut BTreeSet<u32> = all.entry(id).or_default();
        let Ok(mut entries) = tokio::fs::read_dir(logs.join(id.to_string())).await else { continue };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let number = |name: &str| name.strip_suffix(".1").unwrap_or(name).strip_suffix(".log")?.parse::<u32>().ok();
            own.extend(entry.file_name().to_str().and_then(number));
        }
    }
    all
}

async fn publish(bus: &Bus, id: Uuid, batch: LogBatch) -> Result<(), gantry_bus::BusError> {
    let tail = format!("{}.{}.{}.{}", batch.org, batch.project, batch.space, batch.app);
    let bytes = serde_json::to_vec(&batch).unwrap_or_default();
    gantry_bus::publish(bus, streams::LOGS, &tail, id, bytes).await
}

/// For the log folders of instances that went while no agent ran: nobody would ever read or remove them.
pub async fn sweep(logs: PathBuf, shared: Shared) {
    let mut pods = shared.pods.subscribe();
    if pods.changed().await.is_err() {
        return;
    }
    let Ok(mut entries) = tokio::fs::read_dir(&logs).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse::<InstanceId>().ok()) else { continue };
        // Only now: of one that has come meanwhile it may just have been made.
        let there: Arc<Vec<Pod>> = pods.borrow().clone();
        let wanted = shared.wanted.borrow().clone();
        let known = there.iter().any(|p| p.instance == id) || wanted.as_ref().is_some_and(|w| w.instances.contains_key(&id));
        if !known {
            let _ = tokio::fs::remove_dir_all(entry.path()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actual::Container;

    #[test]
    fn a_sidecar_has_lines_of_its_own() {
        let id = InstanceId(Uuid::from_u128(1));
        let labels = Labels { app_id: Uuid::from_u128(2).to_string(), workload: "web".into(), ..Default::default() };
        let side = |name: &str| WantedInstance { name: name.into(), image: "x".into(), ..Default::default() };
        let instance = WantedInstance {
            instance_id: id.to_string(),
            image: "x".into(),
            labels: Some(labels),
            init: vec![side("first")],
            sidecars: vec![side("log")],
            ..Default::default()
        };
        let state = gantry_contract::proto::scheduler::WantedState { generation: 1, instances: vec![instance], ..Default::default() };
        let (wanted, faults) = Wanted::parse(state);
        assert!(faults.is_empty(), "{faults:?}");
        let container = |id: &str, attempt| Container { id: id.into(), attempt, state: ContainerState::Running };
        let pod = |attempt| Pod {
            id: "p".into(),
            instance: id,
            attempt: 0,
            ready: true,
            spec: String::new(),
            grace_seconds: 1,
            container: Some(container("m", 0)),
            beside: [("log".to_owned(), container(&format!("s{attempt}"), attempt))].into(),
        };
        let mut sources = Sources::default();
        let seen = |s: &[Source]| s.iter().map(|s| (s.workload.clone(), s.attempt, s.running)).collect::<Vec<_>>();
        let first = sources.update(Some(&wanted), &[pod(0)]);
        assert_eq!(seen(&first), [("web".to_owned(), 0, true), ("web/log".to_owned(), 200_000, true)]);
        assert_eq!(sources.shipped(&first, &[pod(0)]), Over::default());
        let both = sources.update(None, &[pod(0)]);
        assert_eq!(seen(&both).len(), 2, "also when nobody wants it any more");
        let next = sources.update(Some(&wanted), &[pod(1)]);
        assert_eq!(seen(&next)[1..], [("web/log".to_owned(), 200_000, false), ("web/log".to_owned(), 200_001, true)]);
    }

    #[test]
    fn an_attempt_is_followed_to_its_end_and_then_let_go() {
        let id = InstanceId(Uuid::from_u128(1));
        let labels = Labels { app_id: Uuid::from_u128(2).to_string(), app: "web".into(), ..Default::default() };
        let instance =
            gantry_contract::proto::scheduler::WantedInstance { instance_id: id.to_string(), image: "x".into(), labels: Some(labels), ..Default::default() };
        let (wanted, _) = Wanted::parse(gantry_contract::proto::scheduler::WantedState { generation: 1, instances: vec![instance], ..Default::default() });
        let pod = |attempt| Pod {
            id: "p".into(),
            instance: id,
            attempt: 0,
            ready: true,
            spec: String::new(),
            grace_seconds: 1,
            container: Some(Container { id: format!("c{attempt}"), attempt, state: ContainerState::Running }),
            beside: Default::default(),
        };
        let mut sources = Sources::default();
        let first = sources.update(Some(&wanted), &[pod(0)]);
        assert_eq!((first.len(), first[0].running), (1, true));
        assert_eq!(sources.shipped(&first, &[pod(0)]), Over::default());
        let both = sources.update(Some(&wanted), &[pod(1)]);
        assert_eq!(both.iter().map(|s| (s.attempt, s.running)).collect::<Vec<_>>(), [(0, false), (1, true)]);
        assert_eq!(sources.shipped(&both, &[pod(1)]), Over { attempts: vec![(id, 0)], ..Over::default() });
        assert_eq!(sources.update(Some(&wanted), &[pod(1)]).len(), 1);
        let last = sources.update(None, &[]);
        assert_eq!(sources.shipped(&last, &[]), Over { instances: vec![id], ..Over::default() });
        assert!(sources.update(None, &[]).is_empty());
    }

    #[tokio::test]
    async fn what_an_agent_has_left_of_earlier_attempts_is_shipped_by_the_next() {
        let id = InstanceId(Uuid::from_u128(1));
        let labels = Labels { app_id: Uuid::from_u128(2).to_string(), workload: "web".into(), ..Default::default() };
        let side = WantedInstance { name: "log".into(), image: "x".into(), ..Default::default() };
        let instance = WantedInstance { instance_id: id.to_string(), image: "x".into(), labels: Some(labels), sidecars: vec![side], ..Default::default() };
        let (wanted, faults) = Wanted::parse(gantry_contract::proto::scheduler::WantedState { generation: 1, instances: vec![instance], ..Default::default() });
        assert!(faults.is_empty(), "{faults:?}");
        let container = |id: &str, attempt| Container { id: id.into(), attempt, state: ContainerState::Running };
        let pod = Pod {
            id: "p".into(),
            instance: id,
            attempt: 0,
            ready: true,
            spec: String::new(),
            grace_seconds: 1,
            container: Some(container("m", 3)),
            beside: [("log".to_owned(), container("s", 1))].into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(id.to_string());
        std::fs::create_dir_all(&own).unwrap();
        for file in ["1.log", "2.log.1", "3.log", "3.log.1", "100000.log", "100001.log", "700000.log", "notes"] {
            std::fs::write(own.join(file), "").unwrap();
        }
        let mut sources = Sources::default();
        let pods = [pod];
        let unseen = sources.unseen(&pods);
        assert_eq!(unseen, BTreeSet::from([id]));
        sources.take_up(&wanted, &pods, &numbers(folder.path(), unseen).await);
        assert!(sources.unseen(&pods).is_empty(), "it is looked once");
        let now = sources.update(Some(&wanted), &pods);
        let seen: Vec<_> = now.iter().map(|s| (s.attempt, s.running, s.workload.as_str())).collect();
        assert_eq!(seen, [(1, false, "web"), (2, false, "web"), (3, true, "web"), (100_000, false, "web/log"), (100_001, true, "web/log")]);
        assert_eq!(sources.shipped(&now, &pods), Over { attempts: vec![(id, 1), (id, 2), (id, 100_000)], ..Over::default() });
    }

    #[tokio::test]
    async fn files_of_what_has_ended_and_was_shipped_go() {
        let folder = tempfile::tempdir().unwrap();
        let [stays, gone] = [1, 2].map(|n| InstanceId(Uuid::from_u128(n)));
        let at = |id: InstanceId, file: &str| folder.path().join(id.to_string()).join(file);
        for id in [stays, gone] {
            std::fs::create_dir_all(folder.path().join(id.to_string())).unwrap();
            for file in ["0.log", "0.log.1", "1.log", "10.log"] {
                std::fs::write(at(id, file), "").unwrap();
            }
        }
        Over { instances: vec![gone], attempts: vec![(stays, 0)] }.remove(folder.path()).await;
        assert!(!folder.path().join(gone.to_string()).exists());
        assert!(!at(stays, "0.log").exists() && !at(stays, "0.log.1").exists());
        assert!(at(stays, "1.log").exists() && at(stays, "10.log").exists());
    }
}
