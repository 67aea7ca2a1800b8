//! Events as they are written, read and carried.

use std::fmt;
use std::sync::Arc;

use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::Json;

/// An event enum: adjacently tagged (`#[serde(tag = "kind", content = "data")]`) with wire names `aggregate.verb-ed`.
pub trait EventData: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The aggregate's name: first word of every kind and prefix of every stream.
    const AGGREGATE: &'static str;

    /// The version of `kind` that this code writes. Starts at 1; raise it together with a branch in [`EventData::upcast`].
    fn kind_version(_kind: &str) -> u16 {
        1
    }

    /// Turns the data of an older version of `kind` into the present one. History is an API: never remove a branch.
    fn upcast(_kind: &str, _version: u16, data: Value) -> Value {
        data
    }

    /// Splits into what the log stores.
    fn encode(&self) -> NewEvent {
        // Room for most events: grown from nothing, a text is copied at each doubling.
        let mut text = Vec::with_capacity(1_024);
        serde_json::to_writer(&mut text, self).expect("event enums serialise: they hold only JSON-able fields");
        let text = String::from_utf8(text).expect("JSON is UTF-8");
        let (kind, data) = split(&text).expect("adjacently tagged: `kind`, then `data`");
        NewEvent { kind_version: Self::kind_version(kind), data: Json::from_stored(data.unwrap_or(NOTHING)), kind: kind.to_owned() }
    }

    /// # Errors
    /// An unknown kind, a newer version than this code knows, or data of another shape.
    fn decode(kind: &str, version: u16, data: impl Into<Json>) -> Result<Self, DecodeError> {
        let known = Self::kind_version(kind);
        if version > known {
            return Err(DecodeError::Newer { kind: kind.to_owned(), version, known });
        }
        let data = data.into();
        let data = if version < known { Self::upcast(kind, version, data.value()).into() } else { data };
        serde_json::from_str(&join(kind, data.as_str())).map_err(|source| DecodeError::of(kind, source))
    }
}

/// Data of a kind that has none.
const NOTHING: &str = "null";

/// The two parts of an adjacently tagged variant as serde_json writes it; kinds have nothing to escape.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let (kind, rest) = text.strip_prefix(r#"{"kind":""#)?.split_once('"')?;
    let data = rest.strip_suffix('}')?;
    if data.is_empty() { Some((kind, None)) } else { Some((kind, Some(data.strip_prefix(r#","data":"#)?))) }
}

fn join(kind: &str, data: &str) -> String {
    let mut text = String::with_capacity(kind.len() + data.len() + 24);
    text.push_str(r#"{"kind":"#);
    // What the program writes has nothing to escape; what comes from elsewhere may.
    if kind.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
        text.push('"');
        text.push_str(kind);
        text.push('"');
    } else {
        text.push_str(&Value::from(kind).to_string());
    }
    if data != NOTHING {
        text.push_str(r#","data":"#);
        text.push_str(data);
    }
    text.push('}');
    text
}

/// Why a stored event cannot be read. The reader stops; nothing is skipped.
#[derive(Debug, Error)]
pub enum DecodeError {
    #[error("event `{kind}` has version {version}, this program knows {known}: it is older than the log")]
    Newer { kind: String, version: u16, known: u16 },
    #[error("this program does not know events `{kind}`: it is older than the log")]
    Unknown { kind: String },
    #[error("event `{kind}` does not have the shape this program knows")]
    Shape {
        kind: String,
        #[source]
        source: serde_json::Error,
    },
}

impl DecodeError {
    /// A kind that the enum does not have is told by serde in words only; the words name the kind itself, which no value within the data does.
    fn of(kind: &str, source: serde_json::Error) -> Self {
        if source.to_string().starts_with(&format!("unknown variant `{kind}`,")) {
            return Self::Unknown { kind: kind.to_owned() };
        }
        Self::Shape { kind: kind.to_owned(), source }
    }

    /// A newer program wrote it, as during an upgrade: that one can go on where this one stops.
    pub fn is_newer(&self) -> bool {
        match self {
            Self::Newer { .. } | Self::Unknown { .. } => true,
            // Fields and values are added without a new version of the kind. serde tells it in words only.
            Self::Shape { source, .. } => ["unknown field `", "unknown variant `"].iter().any(|word| source.to_string().starts_with(word)),
        }
    }
}

/// The name of a stream: `<aggregate>-<id>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(Arc<str>);

impl StreamId {
    pub fn new(aggregate: &str, id: impl fmt::Display) -> Self {
        Self(format!("{aggregate}-{id}").into())
    }

    /// A name read back from the log.
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    pub fn of<E: EventData>(id: impl fmt::Display) -> Self {
        Self::new(E::AGGREGATE, id)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event about to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub kind: String,
    pub kind_version: u16,
    pub data: Json,
}

/// Who and why: the same for all events of one append.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// "user:<uuid>", "service:<name>", "system".
    pub actor: String,
    pub tenant: Option<OrgId>,
    /// The caller's address, for audit.
    pub from: Option<String>,
    /// W3C traceparent.
    pub trace: Option<String>,
    /// The idempotency key, if the caller gave one.
    pub command_id: Option<String>,
}

impl Meta {
    pub fn system() -> Self {
        Self { actor: "system".into(), ..Self::default() }
    }

    #[must_use]
    pub fn tenant(mut self, org: OrgId) -> Self {
        self.tenant = Some(org);
        self
    }
}

/// An event as the log keeps it, and as it travels.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Place in the total order of its log: 1, 2, 3, ... without gaps.
    pub position: i64,
    pub stream: StreamId,
    /// Place in its stream: 1, 2, 3, ... without gaps.
    pub version: i64,
    pub id: Uuid,
    pub kind: String,
    pub kind_version: u16,
    pub data: Json,
    pub meta: Meta,
    pub at: OffsetDateTime,
    /// Which service's log it is from.
    pub origin: String,
}

impl Recorded {
    /// The aggregate: first word of the kind.
    pub fn aggregate(&self) -> &str {
        self.kind.split('.').next().unwrap_or_default()
    }

    pub fn is<E: EventData>(&self) -> bool {
        self.aggregate() == E::AGGREGATE
    }

    /// # Errors
    /// See [`EventData::decode`].
    pub fn decode<E: EventData>(&self) -> Result<E, DecodeError> {
        E::decode(&self.kind, self.kind_version, self.data.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "data")]
    enum Door {
        #[serde(rename = "door.opened")]
        Opened { by: String, wide: bool },
        #[serde(rename = "door.closed")]
        Closed,
    }

    impl EventData for Door {
        const AGGREGATE: &'static str = "door";
        fn kind_version(kind: &str) -> u16 {
            if kind == "door.opened" { 2 } else { 1 }
        }
        fn upcast(_: &str, version: u16, mut data: Value) -> Value {
            if version == 1 {
                data["wide"] = Value::Bool(false);
            }
            data
        }
    }

    #[test]
    fn an_event_survives_the_round_trip() {
        for event in [Door::Opened { by: "ada".into(), wide: true }, Door::Closed] {
            let stored = event.encode();
            assert_eq!(Door::decode(&stored.kind, stored.kind_version, stored.data).unwrap(), event);
        }
    }

    #[test]
    fn an_older_version_is_upcast() {
        let old = Door::decode("door.opened", 1, serde_json::json!({"by": "ada"})).unwrap();
        assert_eq!(old, Door::Opened { by: "ada".into(), wide: false });
    }

    #[test]
    fn a_newer_version_or_an_unknown_kind_stops_the_reader() {
        assert!(matches!(Door::decode("door.closed", 2, Value::Null), Err(DecodeError::Newer { known: 1, .. })));
        for data in [Value::Null, serde_json::json!({ "by": "ada" })] {
            let unknown = Door::decode("door.burnt", 1, data).unwrap_err();
            assert!(matches!(&unknown, DecodeError::Unknown { kind } if kind == "door.burnt") && unknown.is_newer(), "{unknown}");
        }
        // A known kind with something else in it is a fault, and nobody's upgrade.
        let damaged = Door::decode("door.opened", 2, serde_json::json!({ "by": 7, "wide": true })).unwrap_err();
        assert!(matches!(damaged, DecodeError::Shape { .. }) && !damaged.is_newer(), "{damaged}");
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "data", deny_unknown_fields)]
    enum Gate {
        #[serde(rename = "gate.opened")]
        Opened { by: String },
    }

    impl EventData for Gate {
        const AGGREGATE: &'static str = "gate";
    }

    #[test]
    fn a_field_that_a_newer_program_has_added_is_no_fault_of_the_event() {
        let newer = Gate::decode("gate.opened", 1, serde_json::json!({ "by": "ada", "wide": true })).unwrap_err();
        assert!(newer.is_newer(), "{newer}");
        let damaged = Gate::decode("gate.opened", 1, serde_json::json!({ "by": 7 })).unwrap_err();
        assert!(!damaged.is_newer(), "{damaged}");
    }
}
