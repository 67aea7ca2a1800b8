//! From an event to an audit record: object, outcome, reason, and the place it belongs to.

use gantry_es::Recorded;
use gantry_kernel::Uuid;
use serde_json::Value;

use super::redact::redact;

/// `ok`, `denied` or `failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Failed,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

/// Where an object lies, as far as its events say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub org: Option<Uuid>,
    pub project: Option<Uuid>,
    pub space: Option<Uuid>,
    /// The object's name for people.
    pub name: Option<String>,
}

/// What an event says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// "app:<id>": the stream with a colon.
    pub object: String,
    pub outcome: Outcome,
    pub reason: String,
    pub place: Place,
    pub content: Value,
}

/// Endings of kinds that report that something did not work.
const FAILURES: [&str; 6] = ["failed", "lost", "unhealthy", "rejected", "refused", "denied"];

/// What takes its time, and the kinds of the events that end it.
const LONG: [(&str, &[&str]); 6] = [
    ("app.revised", &["app.release-finished", "app.release-failed", "app.revised", "app.deleted"]),
    ("app.release-started", &["app.release-finished", "app.release-failed", "app.deleted"]),
    ("run.created", &["run.finished", "run.cancelled"]),
    ("run.started", &["run.finished", "run.cancelled"]),
    ("service-instance.requested", &["service-instance.provisioned", "service-instance.failed", "service-instance.deleted"]),
    ("service-instance.deleting", &["service-instance.deleted", "service-instance.failed"]),
];

/// The kinds that end what began with this event; none: it was over at once.
pub fn ended_by(kind: &str) -> Option<Vec<String>> {
    LONG.iter().find(|(begins, _)| *begins == kind).map(|(_, ends)| ends.iter().map(|&end| end.to_owned()).collect())
}

pub fn describe(event: &Recorded) -> Described {
    let aggregate = event.aggregate();
    let object = event.stream.as_str();
    let object = object.strip_prefix(aggregate).and_then(|rest| rest.strip_prefix('-')).map_or_else(|| object.to_owned(), |id| format!("{aggregate}:{id}"));
    let verb = event.kind.rsplit('.').next().unwrap_or_default();
    let data = event.data.value();
    let bad_exit = verb == "stopped" && data.get("exit_code").and_then(Value::as_i64).is_some_and(|code| code != 0);
    // A run that came to a bad end says so in its data.
    let bad_end = verb == "finished" && data.get("ok").and_then(Value::as_bool) == Some(false);
    let failed = bad_exit || bad_end || FAILURES.iter().any(|f| verb == *f || verb.ends_with(&format!("-{f}")));
    let id = |field: &str| data.get(field).and_then(Value::as_str).and_then(|text| Uuid::parse_str(text).ok());
    let text = |field: &str| data.get(field).and_then(Value::as_str).map(str::to_owned);
    Described {
        object,
        outcome: if failed { Outcome::Failed } else { Outcome::Ok },
        reason: text("reason").unwrap_or_default(),
        place: Place { org: event.meta.tenant.map(|t| t.0).or_else(|| id("org")), project: id("project"), space: id("space"), name: text("name") },
        content: redact(&event.kind, data.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_es::{Meta, StreamId};
    use gantry_kernel::OffsetDateTime;
    use serde_json::json;

    fn event(kind: &str, data: Value) -> Recorded {
        let aggregate = kind.split('.').next().unwrap_or_default();
        Recorded {
            position: 1,
            stream: StreamId::new(aggregate, "7"),
            version: 1,
            id: Uuid::nil(),
            kind: kind.into(),
            kind_version: 1,
            data: data.into(),
            meta: Meta::system(),
            at: OffsetDateTime::UNIX_EPOCH,
            origin: "scheduler".into(),
        }
    }

    #[test]
    fn what_did_not_work_is_failed_and_keeps_its_reason() {
        let failed = describe(&event("app.release-failed", json!({"reason": "image not found"})));
        assert_eq!((failed.outcome, failed.reason.as_str(), failed.object.as_str()), (Outcome::Failed, "image not found", "app:7"));
        assert_eq!(describe(&event("instance.lost", json!({}))).outcome, Outcome::Failed);
        assert_eq!(describe(&event("instance.stopped", json!({"exit_code": 137}))).outcome, Outcome::Failed);
        assert_eq!(describe(&event("instance.stopped", json!({"exit_code": 0}))).outcome, Outcome::Ok);
        assert_eq!(describe(&event("service-instance.requested", json!({}))).object, "service-instance:7");
    }

    #[test]
    fn the_place_is_read_from_ids_only() {
        let org = Uuid::from_u128(5);
        let place = describe(&event("app.created", json!({"org": org, "project": "not-an-id", "name": "web"}))).place;
        assert_eq!(place, Place { org: Some(org), project: None, space: None, name: Some("web".into()) });
    }
}
