//! One kind, watched: a list in pages, then changes from where the list ended, for ever (kubernetes.io/docs/reference/
//! using-api/api-concepts "efficient detection of changes"). Bookmarks move the place on while nothing happens, so that going
//! on needs no list; 410 does, and so does a server whose versions have gone back: its etcd was restored from a backup, and a
//! watch from a version that it has not reached yet would be told nothing. Trouble is told and waited out with growing pauses.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::kinds::Kind;
use crate::trouble::Trouble;

const PAGE: usize = 500;
/// The server ends a watch after this; we go on where it ended.
const SECONDS: u32 = 290;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Of one event. An object has at most 1.5 MiB in etcd, and JSON is longer.
const LONGEST: usize = 16 << 20;

/// What a watch tells.
pub enum Seen {
    /// All that there is.
    All(Vec<Value>),
    There(Value),
    Gone(Value),
}

/// Who is told.
pub trait Sink: Send + Sync {
    /// A list is being asked for: what is known by now is not newer than what it will tell.
    fn asked(&self, _kind: &Kind) {}
    fn see(&self, kind: &Kind, seen: Seen);
    /// `None`: all is well again.
    fn trouble(&self, kind: &Kind, trouble: Option<&Trouble>);
}

/// Runs until cancelled.
pub async fn follow(client: Client, kind: &'static Kind, selector: String, sink: &dyn Sink, cancel: CancellationToken) {
    let watched = async {
        let mut pause = Duration::from_millis(200);
        let mut from: Option<String> = None;
        // Whoever restores etcd stops the API servers first (kubernetes.io/docs/tasks/administer-cluster/configure-upgrade-etcd).
        let mut was_away = false;
        loop {
            if was_away && let Some(version) = &from {
                match went_back(&client, kind, version).await {
                    Ok(true) => {
                        tracing::warn!(server = client.server(), kind = kind.plural, "the cluster's versions have gone back, as after a restore of its etcd");
                        from = None;
                    }
                    Ok(false) => {}
                    // The watch itself tells what is in the way.
                    Err(trouble) => tracing::debug!(server = client.server(), kind = kind.plural, error = %trouble, "its version cannot be asked for now"),
                }
            }
            was_away = false;
            let result = match &from {
                None => list(&client, kind, &selector, sink).await.map(Some),
                Some(version) => watch(&client, kind, &selector, version, sink).await,
            };
            match result {
                Ok(version) => {
                    sink.trouble(kind, None);
                    pause = Duration::from_millis(200);
                    // A watch that ends at once, again and again, must not become a loop without a breath.
                    if version == from {
                        tokio::time::sleep(pause).await;
                    }
                    from = version;
                }
                // A new list is the way on.
                Err(Trouble::Expired) if from.is_some() => from = None,
                Err(trouble) => {
                    // After an event that cannot be read nobody knows what was missed.
                    if matches!(trouble, Trouble::Malformed(_)) {
                        from = None;
                    }
                    was_away |= matches!(trouble, Trouble::Unreachable { .. } | Trouble::Unavailable { .. });
                    sink.trouble(kind, Some(&trouble));
                    let asked = match &trouble {
                        Trouble::TooMany(after) => *after,
                        _ => pause,
                    };
                    tokio::time::sleep(asked.min(LONGEST_PAUSE)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    };
    tokio::select! {
        () = watched => {}
        () = cancel.cancelled() => {}
    }
}

/// Is the cluster at an older version than one that it has told before?
async fn went_back(client: &Client, kind: &Kind, from: &str) -> Result<bool, Trouble> {
    let page = client.get(&format!("{}?limit=1", kind.path(None))).await?;
    Ok(is_older(page["metadata"]["resourceVersion"].as_str().unwrap_or_default(), from))
}

/// Versions of one server are numbers that grow (kubernetes.io/docs/reference/using-api/api-concepts "resource versions"); of what
/// is no number nothing is said.
fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u64>(), than.parse::<u64>()), (Ok(version), Ok(than)) if version < than)
}

async fn list(client: &Client, kind: &Kind, selector: &str, sink: &dyn Sink) -> Result<String, Trouble> {
    sink.asked(kind);
    let (all, version) = whole(client, kind, None, selector).await?;
    sink.see(kind, Seen::All(all));
    Ok(version)
}

/// All that a selector chooses, page by page, and the version of the list.
pub async fn whole(client: &Client, kind: &Kind, namespace: Option<&str>, selector: &str) -> Result<(Vec<Value>, String), Trouble> {
    let (mut all, mut next, mut limit) = (Vec::new(), String::new(), PAGE);
    loop {
        let more = if next.is_empty() { String::new() } else { format!("&continue={}", encoded(&next)) };
        let asked = client.get(&format!("{}?labelSelector={}&limit={limit}{more}", kind.path(namespace), encoded(selector))).await;
        let mut page = match asked {
            // The place in a list is kept for some minutes; then all of it is asked for at once, as the API says ("chunks").
            Err(Trouble::Expired) if !next.is_empty() => {
                (all, next, limit) = (Vec::new(), String::new(), 0);
                continue;
            }
            answered => answered?,
        };
        let Some(items) = page["items"].as_array_mut() else {
            return Err(Trouble::Malformed(format!("a list of {} without items", kind.plural)));
        };
        all.append(items);
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            let version = page["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            return Ok((all, version));
        }
    }
}

/// Where to go on from; `None`: with a new list.
async fn watch(client: &Client, kind: &Kind, selector: &str, from: &str, sink: &dyn Sink) -> Result<Option<String>, Trouble> {
    let path = format!(
        "{}?watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={SECONDS}&labelSelector={}",
        kind.path(None),
        encoded(from),
        encoded(selector)
    );
    let mut version = from.to_owned();
    let mut stream = std::pin::pin!(client.stream(&path).await?);
    sink.trouble(kind, None);
    let mut line = Vec::new();
    while let Some(chunk) = stream.next().await {
        // It may break off at any byte; what was read whole counts.
        let Ok(chunk) = chunk else { break };
        for part in chunk.split_inclusive(|b| *b == b'\n') {
            line.extend_from_slice(part);
            if line.len() > LONGEST {
                return Err(Trouble::Malformed(format!("an event of more than {} MiB", LONGEST >> 20)));
            }
            if line.last() == Some(&b'\n') {
                if let Some(next) = event(&line, kind, sink)? {
                    if is_older(&next, &version) {
                        return Err(Trouble::Expired);
                    }
                    version = next;
                }
                line.clear();
            }
        }
    }
    Ok(Some(version))
}

/// The version that it moves on to.
fn event(line: &[u8], kind: &Kind, sink: &dyn Sink) -> Result<Option<String>, Trouble> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let mut event: Value = serde_json::from_slice(line).map_err(|e| Trouble::Malformed(format!("an event of a watch: {e}")))?;
    let object = event["object"].take();
    let version = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
    match event["type"].as_str() {
        Some("BOOKMARK") => {}
        Some("ERROR") => {
            let code = object["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(500);
            return Err(Trouble::of(code, None, object.to_string().as_bytes()));
        }
        // Nothing can be held without these.
        Some("ADDED" | "MODIFIED" | "DELETED") if version.is_none() || !object["metadata"]["name"].is_string() => {
            return Err(Trouble::Malformed("an event of a watch without name or version".into()));
        }
        Some("DELETED") => sink.see(kind, Seen::Gone(object)),
        Some("ADDED" | "MODIFIED") => sink.see(kind, Seen::There(object)),
        other => return Err(Trouble::Malformed(format!("an event of a watch of the type {other:?}"))),
    }
    Ok(version)
}

pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
