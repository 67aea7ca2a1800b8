//! An event as a NATS message: CloudEvents 1.0 in binary mode (NATS protocol binding section 3.1: headers `ce-...`).

use std::str::FromStr;

use anyhow::Context;
use async_nats::HeaderMap;
use async_nats::header::{HeaderName, NATS_MESSAGE_ID};
use gantry_es::{Json, Meta, Recorded, StreamId};
use gantry_kernel::{OffsetDateTime, Uuid};
use time::format_description::well_known::Rfc3339;

// Made once: from a text, each look at a header and each message would check and copy the name.
const SPEC_VERSION: HeaderName = HeaderName::from_static("ce-specversion");
const ID: HeaderName = HeaderName::from_static("ce-id");
const SOURCE: HeaderName = HeaderName::from_static("ce-source");
const TYPE: HeaderName = HeaderName::from_static("ce-type");
const SUBJECT: HeaderName = HeaderName::from_static("ce-subject");
const TIME: HeaderName = HeaderName::from_static("ce-time");
const CONTENT_TYPE: HeaderName = HeaderName::from_static("content-type");
const POSITION: HeaderName = HeaderName::from_static("ce-gantryposition");
const VERSION: HeaderName = HeaderName::from_static("ce-gantryversion");
const KIND_VERSION: HeaderName = HeaderName::from_static("ce-gantrykindversion");
const ACTOR: HeaderName = HeaderName::from_static("ce-gantryactor");
const TENANT: HeaderName = HeaderName::from_static("ce-gantrytenant");
const FROM: HeaderName = HeaderName::from_static("ce-gantryfrom");
const COMMAND: HeaderName = HeaderName::from_static("ce-gantrycommand");
const TRACE: HeaderName = HeaderName::from_static("ce-traceparent");

/// `<prefix>.<service>.<aggregate>.<event>.<tenant>`, `-` for no tenant.
pub fn subject_of(prefix: &str, event: &Recorded) -> String {
    let tenant = event.meta.tenant.map_or_else(|| "-".to_owned(), |t| t.to_string());
    format!("{prefix}.{}.{}.{tenant}", event.origin, event.kind)
}

pub fn headers_of(event: &Recorded) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let id = event.id.to_string();
    headers.insert(NATS_MESSAGE_ID, id.as_str());
    headers.insert(SPEC_VERSION, "1.0");
    headers.insert(ID, id);
    headers.insert(SOURCE, format!("/gantry/{}", event.origin));
    headers.insert(TYPE, format!("gantry.{}.{}", event.origin, event.kind));
    headers.insert(SUBJECT, event.stream.as_str());
    headers.insert(TIME, event.at.format(&Rfc3339).unwrap_or_default());
    headers.insert(CONTENT_TYPE, "application/json");
    headers.insert(POSITION, event.position.to_string());
    headers.insert(VERSION, event.version.to_string());
    headers.insert(KIND_VERSION, event.kind_version.to_string());
    headers.insert(ACTOR, event.meta.actor.as_str());
    let optional = [
        (TENANT, event.meta.tenant.map(|t| t.to_string())),
        (FROM, event.meta.from.clone()),
        (COMMAND, event.meta.command_id.clone()),
        (TRACE, event.meta.trace.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    headers
}

/// The origin's position of a message, without reading the rest.
pub(crate) fn position_of(headers: &HeaderMap) -> Option<i64> {
    headers.get(POSITION)?.as_str().parse().ok()
}

/// The id of a message's event, without reading the rest.
pub(crate) fn id_of(headers: &HeaderMap) -> Option<Uuid> {
    headers.get(ID)?.as_str().parse().ok()
}

/// # Errors
/// When a header is missing or not of its form.
pub fn from_message(headers: &HeaderMap, payload: &[u8]) -> anyhow::Result<Recorded> {
    let text = |name: HeaderName| headers.get(name).map(|v| v.as_str());
    let origin = need(headers, SOURCE)?.rsplit('/').next().unwrap_or_default();
    let kind = need(headers, TYPE)?;
    let kind = kind
        .strip_prefix("gantry.")
        .and_then(|rest| rest.strip_prefix(origin)?.strip_prefix('.'))
        .with_context(|| format!("ce-type `{kind}` is not of {origin}"))?;
    Ok(Recorded {
        position: read(headers, POSITION)?,
        stream: StreamId::from_stored(need(headers, SUBJECT)?.to_owned()),
        version: read(headers, VERSION)?,
        id: read(headers, ID)?,
        kind: kind.to_owned(),
        kind_version: read(headers, KIND_VERSION)?,
        data: Json::parse(payload)?,
        meta: Meta {
            actor: need(headers, ACTOR)?.to_owned(),
            tenant: text(TENANT).map(|t| t.parse()).transpose()?,
            from: text(FROM).map(str::to_owned),
            trace: text(TRACE).map(str::to_owned),
            command_id: text(COMMAND).map(str::to_owned),
        },
        at: OffsetDateTime::parse(need(headers, TIME)?, &Rfc3339)?,
        origin: origin.to_owned(),
    })
}

fn need(headers: &HeaderMap, name: HeaderName) -> anyhow::Result<&str> {
    match headers.get(name.clone()) {
        Some(value) => Ok(value.as_str()),
        None => anyhow::bail!("header {name} is missing"),
    }
}

fn read<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(headers: &HeaderMap, name: HeaderName) -> anyhow::Result<T> {
    Ok(need(headers, name)?.parse()?)
}

#[cfg(test)]
mod tests {
    use gantry_kernel::OrgId;

    use super::*;

    #[test]
    fn an_event_survives_the_journey() {
        let event = Recorded {
            position: 7,
            stream: StreamId::new("org", "x"),
            version: 3,
            id: Uuid::from_u128(9),
            kind: "org.created".into(),
            kind_version: 1,
            data: serde_json::json!({"name": "acme"}).into(),
            meta: Meta { actor: "user:1".into(), tenant: Some(OrgId(Uuid::from_u128(5))), from: None, trace: Some("00-a-b-01".into()), command_id: None },
            at: OffsetDateTime::UNIX_EPOCH,
            origin: "identity".into(),
        };
        assert_eq!(from_message(&headers_of(&event), event.data.as_str().as_bytes()).unwrap(), event);
        assert_eq!(subject_of("gantry", &event), format!("gantry.identity.org.created.{}", Uuid::from_u128(5)));
    }
}
