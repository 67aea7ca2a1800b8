//! The hash chain over the log's rows.

use gantry_es::Recorded;
use gantry_kernel::{OffsetDateTime, Uuid};
use sha2::{Digest, Sha256};

/// Everything of a row that the chain covers.
pub(crate) struct Link<'a> {
    pub position: i64,
    pub stream: &'a str,
    pub version: i64,
    pub id: Uuid,
    pub kind: &'a str,
    pub kind_version: u16,
    pub data: &'a str,
    pub actor: &'a str,
    pub tenant: Option<Uuid>,
    pub from: Option<&'a str>,
    pub command_id: Option<&'a str>,
    pub trace: Option<&'a str>,
    pub at: OffsetDateTime,
}

impl<'a> Link<'a> {
    pub fn of(event: &'a Recorded) -> Self {
        Self {
            position: event.position,
            stream: event.stream.as_str(),
            version: event.version,
            id: event.id,
            kind: &event.kind,
            kind_version: event.kind_version,
            data: event.data.as_str(),
            actor: &event.meta.actor,
            tenant: event.meta.tenant.map(|t| t.0),
            from: event.meta.from.as_deref(),
            command_id: event.meta.command_id.as_deref(),
            trace: event.meta.trace.as_deref(),
            at: event.at,
        }
    }
}

/// SHA-256 over the previous hash and the row, every field with its length before it so that no two rows read alike.
pub(crate) fn chain(previous: &[u8], link: &Link<'_>) -> Vec<u8> {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(previous);
    field(&link.position.to_be_bytes());
    field(link.stream.as_bytes());
    field(&link.version.to_be_bytes());
    field(link.id.as_bytes());
    field(link.kind.as_bytes());
    field(&link.kind_version.to_be_bytes());
    field(link.data.as_bytes());
    field(link.actor.as_bytes());
    field(link.tenant.map(|t| t.into_bytes()).as_ref().map_or(&[], |t| &t[..]));
    for text in [link.from, link.command_id, link.trace] {
        field(text.unwrap_or_default().as_bytes());
    }
    field(&link.at.unix_timestamp_nanos().to_be_bytes());
    hash.finalize().to_vec()
}
