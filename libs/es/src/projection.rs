//! What an operator does to a read model is on record in the log of its service, between the events of the aggregates.

use serde::{Deserialize, Serialize};

use crate::EventData;

/// Stream `projection-<name>` of every service: what an operator asked for a read model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum ProjectionEvent {
    #[serde(rename = "projection.rebuild-requested")]
    RebuildRequested { projection: String },
    #[serde(rename = "projection.event-skipped")]
    EventSkipped { projection: String, position: i64 },
}

impl EventData for ProjectionEvent {
    const AGGREGATE: &'static str = "projection";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logs_have_is_read_and_written_as_it_was() {
        for (kind, data, event) in [
            ("projection.rebuild-requested", r#"{"projection":"apps"}"#, ProjectionEvent::RebuildRequested { projection: "apps".into() }),
            ("projection.event-skipped", r#"{"projection":"apps","position":7}"#, ProjectionEvent::EventSkipped { projection: "apps".into(), position: 7 }),
        ] {
            let written = event.encode();
            assert_eq!((written.kind.as_str(), written.kind_version, written.data.as_str()), (kind, 1, data));
            assert_eq!(ProjectionEvent::decode(kind, 1, written.data).unwrap(), event);
        }
    }
}
