//! What operators set for a node: read, and set as a whole, also ahead of its joining. Its version is the one of the node's stream when
//! it was last set: what the agent tells of its node meanwhile changes nothing of it.

use std::collections::BTreeSet;

use gantry_contract::scheduler::NodeEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, AppendError, Expect};
use gantry_kernel::{FieldFault, Kind, Name, Problem};

use super::context::Scheduler;
use super::deploy::database;
use crate::adapters::images;
use crate::domain::placement::NodeSettings;
use crate::store;

/// Something else may happen to the node while its settings are written.
const TRIES: u32 = 5;

/// With their version; 0: nothing was ever set.
///
/// # Errors
/// Not found, or what is stored cannot be read.
pub async fn get(s: &Scheduler, name: &str) -> Result<(NodeSettings, i64), Problem> {
    let row = store::any_node(s.orm(), name).await.map_err(database)?;
    // What was set for one that is to come, or that was removed, is there to be read.
    let row = row.filter(|r| !r.removed || r.settings_version > 0).ok_or_else(|| Problem::not_found("node", name))?;
    // As rules of spaces: settings that cannot be read are a fault, not none: they would be lost with the next change.
    Ok((serde_json::from_value(row.settings).map_err(Problem::internal)?, row.settings_version))
}

/// Sets a node's settings as a whole; with `ahead` also of one that is to come.
///
/// # Errors
/// Not found, faults in the settings, another version than the one expected, or the log is away.
pub async fn set(s: &Scheduler, name: &str, mut settings: NodeSettings, ahead: bool, expect: Expect, meta: Meta) -> Result<(NodeSettings, i64), Problem> {
    let before = present(s, name, ahead, expect).await?;
    let node = Name::parse(name).map_err(|e| Problem::invalid("node", e.to_string()))?;
    let faults: Vec<FieldFault> = settings.faults().into_iter().map(|(field, detail)| FieldFault { field, detail }).collect();
    if !faults.is_empty() {
        return Err(Problem::invalid_fields(faults));
    }
    // By what they are now: a name that is moved later changes nothing here until it is said again. Of settings that cannot be read
    // nothing is known, and all of them are replaced.
    let known = before.settings.as_ref().map(|known| known.images.clone()).unwrap_or_default();
    for image in settings.images.iter_mut().filter(|i| !known.contains(i)) {
        *image = images::resolve(&s.host, image).await?.pinned;
    }
    let mut seen = BTreeSet::new();
    settings.images.retain(|image| seen.insert(image.clone()));
    let value = serde_json::to_value(&settings).map_err(Problem::internal)?;
    for _ in 0..TRIES {
        // Looked at again, since images may have been waited for.
        let now = present(s, name, ahead, expect).await?;
        if now.settings.as_ref() == Some(&settings) {
            return Ok((settings, now.set_at));
        }
        let event = NodeEvent::SettingsChanged { node: node.clone(), settings: value.clone() };
        let append = Append::one(StreamId::of::<NodeEvent>(&node), Some(now.version), vec![event.encode()], meta.clone());
        match s.host.log().append(append).await {
            Ok(appended) => {
                s.host.settled(appended.position).await;
                let version = appended.events.last().map_or(now.version, |e| e.version);
                return Ok((settings, version));
            }
            // The same request once more: what it did then stands.
            Err(AppendError::Repeated { version, position, .. }) => {
                s.host.settled(position).await;
                return Ok((settings, version));
            }
            // Its facts, or what it is open for: the settings are looked at again.
            Err(AppendError::Stale { .. }) => s.host.settled(s.host.log().head()).await,
            Err(error) => return Err(Problem::unavailable("the event log").with_source(error)),
        }
    }
    Err(Problem::new(Kind::Stale, "request.stale", "the node changes all the time just now: try again"))
}

/// What is there before a change.
struct Present {
    /// None: it cannot be read, or there is none.
    settings: Option<NodeSettings>,
    /// Of the stream when they were set.
    set_at: i64,
    /// Of the stream.
    version: i64,
}

async fn present(s: &Scheduler, name: &str, ahead: bool, expect: Expect) -> Result<Present, Problem> {
    let row = store::any_node(s.orm(), name).await.map_err(database)?;
    if !ahead && row.as_ref().is_none_or(|r| r.removed) {
        return Err(Problem::not_found("node", name));
    }
    let set_at = row.as_ref().map_or(0, |r| r.settings_version);
    if let Expect::Version(expected) = expect
        && expected != set_at
    {
        return Err(Problem::new(Kind::Stale, "request.stale", format!("the settings of {name} have the ETag \"{set_at}\" now: read them again")));
    }
    let version = row.as_ref().map_or(0, |r| r.version);
    Ok(Present { settings: row.and_then(|r| serde_json::from_value(r.settings).ok()), set_at, version })
}
