//! Ships what containers print: follows their log files from saved offsets, hands batches to whoever publishes them, goes on
//! after any break, and keeps the files small.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_contract::logs::{LogBatch, LogLine};
use gantry_cri::Cri;
use gantry_cri::log::{Line, Tail};
use gantry_kernel::{InstanceId, Uuid};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::disk::Disk;

const FILE: &str = "log-offsets.json";
const CHUNK: usize = 256 * 1024;
/// A file larger than this is moved aside; one such old file stays beside the present one.
const ROTATE_BYTES: u64 = 10 << 20;
/// While nobody takes the lines, a file may be so many times as large; then its lines are given up, so that one container that prints much
/// does not fill the disk of all.
const UNSHIPPED: u64 = 5;
/// So many pieces of one log are shipped at a time, then it is the turn of the others: who prints faster than it can be shipped keeps neither
/// them waiting nor its own file from being moved aside.
const PIECES: u32 = 16;
/// A runtime that hangs holds up the lines of the others no longer.
const REOPENED_WITHIN: Duration = Duration::from_secs(5);
/// A try that takes so long has met a stream that is away, and each of the others would wait as long for its turn.
const SLOW: Duration = Duration::from_secs(1);

/// Whose lines a folder of log files holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub instance: InstanceId,
    pub org: String,
    pub project: String,
    pub space: String,
    pub app: String,
    pub app_id: Uuid,
    pub workload: String,
    /// The container that writes now, and its attempt.
    pub container: String,
    pub attempt: u32,
    pub running: bool,
}

/// How far the lines of one attempt were shipped. `base` is the length of the parts moved aside, so that offsets only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    base: u64,
    offset: u64,
    /// In the file that was moved aside.
    #[serde(default)]
    aside: bool,
}

struct Following {
    tail: Tail,
    base: u64,
    /// The runtime writes a new file; what is left in the old one is read first.
    moved: bool,
}

impl Following {
    /// From where the lines were shipped to. If the file is shorter than that, it was moved aside before it was read to its end.
    async fn from(path: &Path, at: Position) -> Self {
        let aside = path.with_extension("log.1");
        // An agent that ended as soon as it had moved it may have had no time to write down how far it was.
        let only_aside = !exists(path).await && exists(&aside).await;
        let moved = (at.aside || only_aside || at.offset > length(path).await) && exists(&aside).await && at.offset <= length(&aside).await;
        Self { tail: Tail::new(if moved { aside } else { path.to_owned() }, at.offset), base: at.base, moved }
    }
}

pub struct Shipper {
    node: String,
    folder: PathBuf,
    disk: Disk,
    cri: Cri,
    positions: BTreeMap<String, Position>,
    following: BTreeMap<(InstanceId, u32), Following>,
    /// Those of which nobody took the lines at the last try.
    failed: BTreeSet<(InstanceId, u32)>,
    /// Those that have more than was shipped of them at the last try.
    behind: BTreeSet<(InstanceId, u32)>,
    rotate_bytes: u64,
    /// Where a file begins has changed, and has to be saved.
    cut: bool,
}

impl Shipper {
    /// `folder` holds one folder per instance. Takes up where the last agent was.
    pub async fn open(node: String, folder: PathBuf, disk: Disk, cri: Cri) -> Self {
        let positions = disk.load(FILE).await;
        let (following, failed, behind) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { node, folder, disk, cri, positions, following, failed, behind, rotate_bytes: ROTATE_BYTES, cut: false }
    }

    #[doc(hidden)]
    pub fn rotate_at(&mut self, bytes: u64) {
        self.rotate_bytes = bytes;
    }

    /// Those of whose lines there are more already, whether they still run or not.
    pub fn behind(&self) -> BTreeSet<InstanceId> {
        self.behind.iter().map(|(instance, _)| *instance).collect()
    }

    /// Ships what is new of these sources; gives the number of lines. When `publish` fails the lines are shipped again later, with
    /// the same id; the position on disk never passes what was published.
    pub async fn round<F, E>(&mut self, sources: &[Source], publish: impl FnMut(Uuid, LogBatch) -> F) -> Result<usize, E>
    where
        F: Future<Output = Result<(), E>>,
    {
        self.round_of(sources, |_| true, publish).await
    }

    /// The same, in which only those are looked at that are `due`, or that were not looked at before to their end.
    pub async fn round_of<F, E>(&mut self, sources: &[Source], due: impl Fn(&Source) -> bool, mut publish: impl FnMut(Uuid, LogBatch) -> F) -> Result<usize, E>
    where
        F: Future<Output = Result<(), E>>,
    {
        let mut shipped = 0;
        let mut changed = false;
        let mut outcome = Ok(());
        for source in sources {
            let key = (source.instance, source.attempt);
            let quiet = !self.failed.contains(&key) && !self.behind.contains(&key) && self.following.get(&key).is_some_and(|f| !f.moved);
            if quiet && !due(source) {
                continue;
            }
            let began = Instant::now();
            match self.ship(source, &mut publish).await {
                Ok(lines) => {
                    shipped += lines;
                    changed |= lines > 0;
                    // It prints faster than it is shipped.
                    if self.behind.contains(&key) {
                        self.bound(source).await;
                    }
                }
                Err(error) => {
                    outcome = Err(error);
                    self.bound(source).await;
                    if began.elapsed() >= SLOW {
                        for other in sources {
                            self.bound(other).await;
                        }
                    }
                }
            }
        }
        self.forget(sources);
        changed |= std::mem::take(&mut self.cut);
        if changed && let Err(error) = self.disk.save(FILE, &self.positions).await {
            tracing::error!(%error, "log positions cannot be saved");
        }
        outcome.map(|()| shipped)
    }

    async fn ship<F, E>(&mut self, source: &Source, publish: &mut impl FnMut(Uuid, LogBatch) -> F) -> Result<usize, E>
    where
        F: Future<Output = Result<(), E>>,
    {
        let (key, name, path) = self.place(source);
        let known = match self.following.remove(&key) {
            Some(known) => known,
            None => Following::from(&path, self.positions.get(&name).copied().unwrap_or_default()).await,
        };
        let following = self.following.entry(key).or_insert(known);
        let (mut shipped, mut pieces, mut reopened) = (0, 0, false);
        self.behind.remove(&key);
        loop {
            let before = following.tail.read_to();
            let mut lines = match following.tail.read(CHUNK).await {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a log file cannot be read");
                    return Ok(shipped);
                }
            };
            let at_end = lines.is_empty() && following.tail.read_to() == before;
            if at_end && !source.running {
                lines = following.tail.finish();
            }
            if !lines.is_empty() {
                let batch = batch(&self.node, source, following.base, &lines);
                let id = batch_id(&batch);
                if let Err(error) = publish(id, batch).await {
                    // Read these lines again next time, of a file that was moved aside as well.
                    let from = if following.moved { path.with_extension("log.1") } else { path };
                    following.tail = Tail::new(from, self.positions.get(&name).map_or(0, |p| p.offset));
                    self.failed.insert(key);
                    return Err(error);
                }
                shipped += lines.len();
            }
            self.positions.insert(name.clone(), Position { base: following.base, offset: following.tail.resume_at(), aside: following.moved });
            if !at_end {
                pieces += 1;
                if pieces < PIECES {
                    continue;
                }
                self.behind.insert(key);
                break;
            }
            if !following.moved {
                break;
            }
            // An agent that ended in that moment has moved the file, and the runtime writes to it still.
            if source.running && !exists(&path).await {
                if std::mem::replace(&mut reopened, true) {
                    break;
                }
                if let Err(error) = reopen(&self.cri, &source.container).await {
                    tracing::warn!(path = %path.display(), error, "the runtime did not begin a new log file");
                    break;
                }
                // What it has written until then.
                continue;
            }
            following.moved = false;
            // The old file is read to its end; the new one begins at 0 of its own.
            following.base += following.tail.resume_at();
            following.tail = Tail::new(&path, 0);
            self.positions.insert(name.clone(), Position { base: following.base, offset: 0, aside: false });
            self.cut = true;
        }
        self.failed.remove(&key);
        let long = following.tail.resume_at() > self.rotate_bytes || (self.behind.contains(&key) && length(&path).await > self.rotate_bytes);
        if source.running && !following.moved && long {
            following.moved = rotate(&self.cri, &path, &source.container).await;
            if let Some(position) = self.positions.get_mut(&name).filter(|_| following.moved) {
                position.aside = true;
                self.cut = true;
            }
        }
        Ok(shipped)
    }

    /// The key it is followed by, its name among the positions, and where the runtime writes it.
    fn place(&self, source: &Source) -> ((InstanceId, u32), String, PathBuf) {
        let path = self.folder.join(source.instance.to_string()).join(format!("{}.log", source.attempt));
        ((source.instance, source.attempt), format!("{}/{}", source.instance, source.attempt), path)
    }

    /// Gives up the lines of a file that has become too large while nobody took them.
    async fn bound(&mut self, source: &Source) {
        let (key, name, path) = self.place(source);
        if !source.running || length(&path).await <= self.rotate_bytes.saturating_mul(UNSHIPPED) {
            return;
        }
        // Of one that was moved aside before, and not read to its end, the rest is lost, too.
        let aside = path.with_extension("log.1");
        let (base, earlier) = match self.following.get(&key) {
            Some(following) if following.moved => (following.base, length(&aside).await),
            Some(following) => (following.base, 0),
            None => (self.positions.get(&name).map_or(0, |p| p.base), 0),
        };
        if !rotate(&self.cri, &path, &source.container).await {
            return;
        }
        let given_up = earlier + length(&aside).await;
        tracing::warn!(instance.id = %source.instance, bytes = given_up, "lines of a log are given up: they wait for too long and are too many");
        self.following.remove(&key);
        self.positions.insert(name, Position { base: base + given_up, offset: 0, aside: false });
        self.cut = true;
    }

    fn forget(&mut self, sources: &[Source]) {
        self.following.retain(|(instance, attempt), _| sources.iter().any(|s| s.instance == *instance && s.attempt == *attempt));
        self.failed.retain(|key| self.following.contains_key(key));
        self.behind.retain(|key| self.following.contains_key(key));
        // Before the engine was first asked nobody is known, and what an earlier agent had shipped would be shipped again.
        if !sources.is_empty() {
            let known: BTreeSet<String> = sources.iter().map(|s| self.place(s).1).collect();
            self.positions.retain(|name, _| known.contains(name));
        }
    }
}

async fn exists(path: &Path) -> bool {
    tokio::fs::symlink_metadata(path).await.is_ok()
}

/// Zero of a file that is not there.
async fn length(path: &Path) -> u64 {
    tokio::fs::metadata(path).await.map_or(0, |m| m.len())
}

/// Moves the file aside and lets the runtime begin a new one. What it still writes to the old one is read through the open file.
async fn rotate(cri: &Cri, path: &Path, container: &str) -> bool {
    let aside = path.with_extension("log.1");
    if let Err(error) = tokio::fs::rename(path, &aside).await {
        tracing::warn!(path = %path.display(), %error, "a log file cannot be moved aside");
        return false;
    }
    if let Err(error) = reopen(cri, container).await {
        tracing::warn!(path = %path.display(), error, "the runtime did not begin a new log file");
        // As it was: the runtime goes on with the old one.
        let _ = tokio::fs::rename(&aside, path).await;
        return false;
    }
    true
}

async fn reopen(cri: &Cri, container: &str) -> Result<(), String> {
    match tokio::time::timeout(REOPENED_WITHIN, cri.reopen_log(container)).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it did not answer within {REOPENED_WITHIN:?}")),
    }
}

fn batch(node: &str, source: &Source, base: u64, lines: &[Line]) -> LogBatch {
    LogBatch {
        org: source.org.clone(),
        project: source.project.clone(),
        space: source.space.clone(),
        app: source.app.clone(),
        app_id: source.app_id.into(),
        workload: source.workload.clone(),
        instance: source.instance,
        node: node.to_owned(),
        offset: base + lines.first().map_or(0, |l| l.offset),
        attempt: source.attempt,
        lines: lines.iter().map(|l| LogLine { at: l.at, stream: l.stream.as_str().into(), text: l.text.clone() }).collect(),
    }
}

/// The same lines always have the same id, so that a repeated publication is recognised.
fn batch_id(batch: &LogBatch) -> Uuid {
    let digest = Sha256::digest(format!("{}/{}/{}/{}", batch.instance, batch.attempt, batch.offset, batch.lines.len()));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Lines are shipped at most so often; looked for so often where nobody tells that there are some.
pub const PERIOD: Duration = Duration::from_millis(300);
/// Where the kernel tells, everything is looked at so often all the same.
pub const LOOK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
