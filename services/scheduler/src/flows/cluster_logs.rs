//! What pods on clusters print, followed from their API servers and put on the log stream, as agents do on nodes: so logs are
//! read in one place. While this process decides, one task follows each container that runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use gantry_bus::streams;
use gantry_contract::logs::{LogBatch, LogLine};
use gantry_kernel::{AppId, InstanceId, OffsetDateTime, Uuid};
use gantry_kubernetes::{Client, Pod, State};
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;

use crate::app::Scheduler;
use crate::domain::cluster::node_name;
use crate::store;

/// Of one cluster, at a time; each is a connection.
const MOST: usize = 500;
/// New pods are looked for at least so often.
const PERIOD: Duration = Duration::from_secs(5);
/// Lines wait so long for others to go along.
const GATHER: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const LINES: usize = 500;
const LONGEST: usize = 16 << 10;

/// An attempt of a container.
type Attempt = (InstanceId, u32);

#[derive(Default)]
struct Progress {
    /// By cluster. One follower each: a container beside the one that is followed may begin anew, which counts as an attempt of the
    /// pod, and a second follower would tell every line twice.
    followed: HashMap<String, HashSet<InstanceId>>,
    /// Read to their end.
    over: HashSet<Attempt>,
    /// How often in a row a pod's log could not be read, as while its node is away.
    failed: HashMap<InstanceId, u32>,
}

impl Progress {
    /// Is it to be followed from now on?
    fn begins(&mut self, cluster: &str, attempt: Attempt, state: State) -> bool {
        let started = matches!(state, State::Running | State::Unhealthy | State::Succeeded | State::Failed);
        // A kubelet that starts anew ends what is followed as if it had come to its end.
        let over = self.over.contains(&attempt) && state != State::Running;
        if !started || over {
            return false;
        }
        let followed = self.followed.entry(cluster.to_owned()).or_default();
        followed.len() < MOST && followed.insert(attempt.0)
    }

    /// What is waited before a log is asked for again that could not be read: with a node, the logs of all of its pods are away, and
    /// each question has the API server ask the node. `lasted`: so long it was read before.
    fn pause(&mut self, pod: InstanceId, lasted: Duration) -> Duration {
        let times = self.failed.entry(pod).or_default();
        if lasted >= LONGEST_PAUSE {
            *times = 0;
        }
        let pause = PERIOD * 2_u32.saturating_pow((*times).min(8));
        *times += 1;
        pause.min(LONGEST_PAUSE)
    }

    /// `whole`: it was read to its end.
    fn ends(&mut self, cluster: &str, attempt: Attempt, whole: bool) {
        if let Some(followed) = self.followed.get_mut(cluster) {
            followed.remove(&attempt.0);
            if followed.is_empty() {
                self.followed.remove(cluster);
            }
        }
        if whole {
            self.over.insert(attempt);
        }
    }
}

/// Runs until shutdown.
pub async fn run(s: Scheduler) {
    let progress = Arc::new(Mutex::new(Progress::default()));
    let mut changes = s.clusters.changes();
    let mut known: HashMap<AppId, Option<Source>> = HashMap::new();
    while !s.host.cancel.is_cancelled() {
        changes.mark_unchanged();
        if let Err(error) = look(&s, &progress, &mut known).await {
            tracing::warn!(error = format!("{error:#}"), "logs of clusters could not be looked for and will be again");
        }
        tokio::select! {
            () = s.host.cancel.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
            _ = changes.changed() => tokio::time::sleep(GATHER).await,
        }
    }
}

/// Whose lines they are.
#[derive(Clone)]
struct Source {
    org: String,
    project: String,
    space: String,
    app: String,
}

/// Starts to follow what runs and is not followed.
async fn look(s: &Scheduler, progress: &Arc<Mutex<Progress>>, known: &mut HashMap<AppId, Option<Source>>) -> anyhow::Result<()> {
    let mut there: HashSet<InstanceId> = HashSet::new();
    for (cluster, running) in s.clusters.all() {
        let mut new: Vec<(Attempt, AppId, Pod)> = Vec::new();
        {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            running.engine.each_pod(|pod| {
                let (Ok(id), Ok(app)) = (pod.uid.parse::<InstanceId>(), pod.owner.parse::<AppId>()) else { return };
                there.insert(id);
                let attempt = (id, pod.restarts);
                if !pod.containers.is_empty() && progress.begins(&cluster, attempt, pod.state) {
                    new.push((attempt, app, pod.clone()));
                }
            });
        }
        for (attempt, app, pod) in new {
            if !known.contains_key(&app) {
                let row = store::app_by_id(s.orm(), app).await?;
                known.insert(app, row.map(|r| Source { org: r.org_name, project: r.project_name, space: r.space_name, app: r.name }));
            }
            let (Some(Some(source)), Some(node)) = (known.get(&app).cloned(), node_name(&cluster, &pod.node)) else {
                progress.lock().unwrap_or_else(PoisonError::into_inner).ends(&cluster, attempt, false);
                continue;
            };
            let batch = LogBatch {
                org: source.org,
                project: source.project,
                space: source.space,
                app: source.app,
                app_id: app,
                workload: pod.workload.clone(),
                instance: attempt.0,
                node: node.to_string(),
                offset: 0,
                attempt: attempt.1,
                lines: Vec::new(),
            };
            let (s, client, progress, cancel) = (s.clone(), running.engine.client().clone(), progress.clone(), running.ended());
            let cluster = cluster.clone();
            s.host.tracker.clone().spawn(async move {
                let began = tokio::time::Instant::now();
                let outcome = tokio::select! {
                    outcome = follow(&s, &client, &pod, batch) => outcome,
                    () = cancel.cancelled() => Ok(false),
                };
                if let Err(error) = &outcome {
                    let pause = progress.lock().unwrap_or_else(PoisonError::into_inner).pause(attempt.0, began.elapsed());
                    tracing::debug!(pod = pod.name, error = format!("{error:#}"), again = ?pause, "a pod's log broke off and will be read on");
                    tokio::time::sleep(pause).await;
                }
                progress.lock().unwrap_or_else(PoisonError::into_inner).ends(&cluster, attempt, outcome.is_ok_and(|whole| whole));
            });
        }
    }
    let gone: Vec<InstanceId> = {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = progress.over.iter().map(|(id, _)| *id).filter(|id| !there.contains(id)).collect();
        progress.failed.retain(|id, _| there.contains(id));
        progress.over.retain(|(id, _)| there.contains(id));
        gone
    };
    store::forget_logs(s.orm(), &gone).await?;
    Ok(())
}

/// True: read to its end.
async fn follow(s: &Scheduler, client: &Client, pod: &Pod, mut batch: LogBatch) -> anyhow::Result<bool> {
    s.host.bus.sample_stream(streams::LOGS).await?;
    let mut upto = store::logs_upto(s.orm(), batch.instance).await?;
    let container = pod.containers.first().map(String::as_str).unwrap_or_default();
    let since = upto.and_then(|at| at.format(&Rfc3339).ok()).map(|at| format!("&sinceTime={}", at.replace('+', "%2B"))).unwrap_or_default();
    let path = format!("/api/v1/namespaces/{}/pods/{}/log?container={container}&follow=true&timestamps=true{since}", pod.namespace, pod.name);
    let mut stream = std::pin::pin!(client.stream(&path).await?);
    let mut rest: Vec<u8> = Vec::new();
    // From here on each line comes once; two may have the same time.
    let from = upto;
    let mut sent = tokio::time::Instant::now();
    loop {
        let next = tokio::time::timeout(GATHER, stream.next()).await;
        match next {
            Ok(Some(Ok(chunk))) => {
                for part in chunk.split_inclusive(|b| *b == b'\n') {
                    // A line without an end is cut, and goes on as another.
                    if rest.len() < LONGEST {
                        rest.extend_from_slice(part);
                    }
                    if part.last() == Some(&b'\n') {
                        let line = read(&std::mem::take(&mut rest)).filter(|line| from.is_none_or(|at| line.at > at));
                        batch.lines.extend(line);
                    }
                }
                if batch.lines.len() < LINES && sent.elapsed() < GATHER {
                    continue;
                }
            }
            Ok(Some(Err(error))) => {
                send(s, &mut batch, &mut upto).await?;
                return Err(error.into());
            }
            Ok(None) => {
                batch.lines.extend(read(&rest).filter(|line| from.is_none_or(|at| line.at > at)));
                send(s, &mut batch, &mut upto).await?;
                return Ok(true);
            }
            Err(_) => {}
        }
        send(s, &mut batch, &mut upto).await?;
        sent = tokio::time::Instant::now();
    }
}

async fn send(s: &Scheduler, batch: &mut LogBatch, upto: &mut Option<OffsetDateTime>) -> anyhow::Result<()> {
    let (Some(first), Some(last)) = (batch.lines.first().map(|l| l.at), batch.lines.last().map(|l| l.at)) else { return Ok(()) };
    // The time of the first line is as good a place as an offset, and the same when it is read again.
    batch.offset = u64::try_from(first.unix_timestamp_nanos()).unwrap_or(0) >> 1;
    let mark = Sha256::digest(format!("{}.{}.{}", batch.instance, batch.attempt, batch.offset));
    let id = Uuid::from_slice(&mark[..16])?;
    let tail = format!("{}.{}.{}.{}", batch.org, batch.project, batch.space, batch.app);
    gantry_bus::publish(&s.host.bus, streams::LOGS, &tail, id, serde_json::to_vec(&*batch)?).await?;
    batch.lines.clear();
    *upto = Some(last);
    store::logs_reached(s.orm(), batch.instance, last).await?;
    Ok(())
}

/// `2026-01-01T00:00:00.123456789Z text`
fn read(line: &[u8]) -> Option<LogLine> {
    let text = String::from_utf8_lossy(line);
    let (at, text) = text.trim_end_matches(['\n', '\r']).split_once(' ')?;
    // The API does not tell the streams apart.
    Some(LogLine { at: OffsetDateTime::parse(at, &Rfc3339).ok()?, stream: "stdout".into(), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_one_follower_whatever_begins_anew_beside_it() {
        let (mut progress, id) = (Progress::default(), InstanceId(Uuid::nil()));
        assert!(progress.begins("east", (id, 0), State::Running));
        assert!(!progress.begins("east", (id, 1), State::Running), "a sidecar has begun anew");
        progress.ends("east", (id, 0), true);
        assert!(!progress.begins("east", (id, 0), State::Unhealthy), "it was read to its end");
        assert!(progress.begins("east", (id, 1), State::Unhealthy));
        progress.ends("east", (id, 1), false);
        assert!(progress.begins("east", (id, 1), State::Unhealthy), "it broke off");
        assert!(!progress.begins("east", (InstanceId(Uuid::max()), 0), State::Starting));
        let begun = |progress: &mut Progress, cluster: &str| {
            (1..=600_u128).filter(|n| progress.begins(cluster, (InstanceId(Uuid::from_u128(*n)), 0), State::Running)).count()
        };
        assert_eq!((begun(&mut progress, "east"), begun(&mut progress, "west")), (MOST - 1, MOST), "each cluster has its own number");
    }

    #[test]
    fn a_log_that_cannot_be_read_is_asked_for_less_and_less_often() {
        let (mut progress, id) = (Progress::default(), InstanceId(Uuid::nil()));
        let mut pauses = || progress.pause(id, Duration::ZERO).as_secs();
        assert_eq!([pauses(), pauses(), pauses(), pauses(), pauses(), pauses()], [5, 10, 20, 40, 60, 60]);
        assert_eq!(progress.pause(id, LONGEST_PAUSE), PERIOD, "it was read for a while");
    }

    #[test]
    fn a_line_is_a_time_and_a_text() {
        let line = read(b"2026-01-02T03:04:05.000000006Z GET / 200\r\n").unwrap();
        assert_eq!((line.text.as_str(), line.at.nanosecond()), ("GET / 200", 6));
        assert!(read(b"no time here\n").is_none() && read(b"").is_none());
    }
}
