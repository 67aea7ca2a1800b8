//! An event as a NATS message: CloudEvents 1.0 in binary mode (NATS protocol binding section 3.1: headers `ce-...`).

use anyhow::Context;
use async_nats::HeaderMap;
use gantry_es::{Json, Meta, Recorded, StreamId};
use gantry_kernel::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const POSITION: &str = "ce-gantryposition";
const VERSION: &str = "ce-gantryversion";
const KIND_VERSION: &str = "ce-gantrykindversion";
const ACTOR: &str = "ce-gantryactor";
const TENANT: &str = "ce-gantrytenant";
const FROM: &str = "ce-gantryfrom";
const COMMAND: &str = "ce-gantrycommand";
const TRACE: &str = "ce-traceparent";

/// `<prefix>.<service>.<aggregate>.<event>.<tenant>`, `-` for no tenant.
pub fn subject_of(prefix: &str, event: &Recorded) -> String {
    let tenant = event.meta.tenant.map_or_else(|| "-".to_owned(), |t| t.to_string());
    format!("{prefix}.{}.{}.{tenant}", event.origin, event.kind)
}

pub fn headers_of(event: &Recorded) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, event.id.to_string());
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", event.id.to_string());
    headers.insert("ce-source", format!("/gantry/{}", event.origin));
    headers.insert("ce-type", format!("gantry.{}.{}", event.origin, event.kind));
    headers.insert("ce-subject", event.stream.to_string());
    headers.insert("ce-time", event.at.format(&Rfc3339).unwrap_or_default());
    headers.insert("content-type", "application/json");
    headers.insert(POSITION, event.position.to_string());
    headers.insert(VERSION, event.version.to_string());
    headers.insert(KIND_VERSION, event.kind_version.to_string());
    headers.insert(ACTOR, event.meta.actor.clone());
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

/// # Errors
/// When a header is missing or not of its form.
pub fn from_message(headers: &HeaderMap, payload: &[u8]) -> anyhow::Result<Recorded> {
    let text = |name: &'static str| headers.get(name).map(|v| v.as_str().to_owned());
    let need = |name: &'static str| text(name).with_context(|| format!("header {name} is missing"));
    let kind = need("ce-type")?;
    let source = need("ce-source")?;
    let origin = source.rsplit('/').next().unwrap_or_default().to_owned();
    let kind = kind.strip_prefix(&format!("gantry.{origin}.")).with_context(|| format!("ce-type `{kind}` is not of {origin}"))?.to_owned();
    Ok(Recorded {
        position: need(POSITION)?.parse()?,
        stream: StreamId::from_stored(need("ce-subject")?),
        version: need(VERSION)?.parse()?,
        id: need("ce-id")?.parse()?,
        kind,
        kind_version: need(KIND_VERSION)?.parse()?,
        data: Json::parse(payload)?,
        meta: Meta {
            actor: need(ACTOR)?,
            tenant: text(TENANT).map(|t| t.parse()).transpose()?,
            from: text(FROM),
            trace: text(TRACE),
            command_id: text(COMMAND),
        },
        at: OffsetDateTime::parse(&need("ce-time")?, &Rfc3339)?,
        origin,
    })
}

#[cfg(test)]
mod tests {
    use gantry_kernel::{OrgId, Uuid};

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
