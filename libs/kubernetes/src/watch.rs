//! One kind, watched: a list in pages, then changes from where the list ended, for ever (kubernetes.io/docs/reference/
//! using-api/api-concepts "efficient detection of changes"). Bookmarks move the place on while nothing happens, so that going
//! on needs no list; 410 does, and so does a server whose versions have gone back: its etcd was restored from a backup, and a
//! watch from a version that it has not reached yet would be told nothing. Trouble is told and waited out with growing pauses; so
//! are lists that no watch can go on from, because a list of everything is the dearest of all requests.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::kinds::Kind;
use crate::trouble::Trouble;

const PAGE: usize = 500;
/// More than so many at a time are not asked for in pages.
const LARGEST_PAGE: usize = 8 * PAGE;
/// The server ends a watch after this; we go on where it ended.
const SECONDS: u32 = 290;
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A list after so long is made at once: the one before was good for something.
const CALM: Duration = Duration::from_secs(60);
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

/// When lists are made. A server behind others that are behind it, or one that forgets at once, would have a new one every moment.
struct Lists {
    last: Option<Instant>,
    pause: Duration,
}

impl Lists {
    fn is_calm(&self, now: Instant) -> bool {
        self.last.is_none_or(|at| now.saturating_duration_since(at) >= CALM)
    }

    /// What the next one waits.
    fn wait(&self, now: Instant) -> Duration {
        if self.is_calm(now) { Duration::ZERO } else { self.pause }
    }

    fn made(&mut self, now: Instant) {
        self.pause = if self.is_calm(now) { SHORTEST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.last = Some(now);
    }
}

/// Runs until cancelled.
pub async fn follow(client: Client, kind: &'static Kind, selector: String, sink: &dyn Sink, cancel: CancellationToken) {
    let watched = async {
        let mut pause = SHORTEST_PAUSE;
        let mut lists = Lists { last: None, pause: SHORTEST_PAUSE };
        let mut from: Option<String> = None;
        // Whoever restores etcd stops the API servers first (kubernetes.io/docs/tasks/administer-cluster/configure-upgrade-etcd).
        let mut was_away = false;
        loop {
            if was_away && let Some(version) = &from {
                match went_back(&client, kind, version).await {
                    Ok(true) => {
                        tracing::warn!(server = client.server(), kind = kind.plural, "the cluster's versions have gone back, as after a restore of its etcd");
                        from = None;
                        was_away = false;
                    }
                    Ok(false) => was_away = false,
                    // The watch itself tells what is in the way; it is asked for again.
                    Err(trouble) => tracing::debug!(server = client.server(), kind = kind.plural, error = %trouble, "its version cannot be asked for now"),
                }
            }
            let result = match &from {
                None => {
                    let wait = lists.wait(Instant::now());
                    if wait >= Duration::from_secs(1) {
                        // Meanwhile nothing is seen.
                        sink.trouble(kind, Some(&Trouble::Expired));
                    }
                    tokio::time::sleep(wait).await;
                    let listed = list(&client, kind, &selector, sink).await;
                    if listed.is_ok() {
                        lists.made(Instant::now());
                        was_away = false;
                    }
                    listed.map(Some)
                }
                Some(version) => watch(&client, kind, &selector, version, sink).await,
            };
            match result {
                Ok(version) => {
                    sink.trouble(kind, None);
                    pause = SHORTEST_PAUSE;
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
            // The place in a list is kept for some minutes. Anew, in larger pages, so that it ends before the next one is forgotten.
            // The place that the refusal offers to go on from is of another version: what has gone since from the pages before
            // would never be told by a watch.
            Err(Trouble::Expired) if !next.is_empty() => {
                (all, next, limit) = (Vec::new(), String::new(), larger(limit));
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

/// Of the next try of a list; 0: all of it at once, which cannot be forgotten in between.
fn larger(limit: usize) -> usize {
    if limit < LARGEST_PAGE { limit * 4 } else { 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_one_after_the_other_wait_longer_every_time_and_one_after_a_while_does_not() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut lists = Lists { last: None, pause: SHORTEST_PAUSE };
        assert_eq!(lists.wait(at(0)), Duration::ZERO);
        lists.made(at(0));
        let waits: Vec<u128> = (1..12)
            .map(|n| {
                let wait = lists.wait(at(n)).as_millis();
                lists.made(at(n));
                wait
            })
            .collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000]);
        assert_eq!(lists.wait(at(71)), Duration::ZERO, "a server that was well for a minute");
        lists.made(at(71));
        assert_eq!(lists.wait(at(72)), SHORTEST_PAUSE);
    }

    #[test]
    fn a_list_that_is_forgotten_again_and_again_is_asked_for_in_larger_pages_and_then_at_once() {
        assert_eq!([PAGE, larger(PAGE), larger(larger(PAGE)), larger(larger(larger(PAGE)))], [500, 2_000, 8_000, 0]);
    }

    #[test]
    fn versions_that_are_no_numbers_say_nothing() {
        assert!(is_older("9", "10") && !is_older("10", "9") && !is_older("a", "10") && !is_older("9", "b"));
    }
}
