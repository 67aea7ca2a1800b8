//! Security facts that are no aggregate's events: sign-ins, token issues, denials, failures. On stream `GANTRY_AUDIT`.

use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One record: who, what, when, from where, result, reason (clause 6.6.2.1.a).
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditFact {
    pub id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub at: OffsetDateTime,
    pub service: String,
    /// "user:<uuid>", "service:<name>", or "anonymous".
    pub actor: String,
    /// A verb phrase such as `session.opened` or `POST /api/v1/orgs`.
    pub action: String,
    /// What it was about: "user:<uuid>", "app:<uuid>", a path.
    pub object: String,
    pub org: Option<OrgId>,
    /// `ok`, `denied` or `failed`.
    pub result: String,
    pub reason: String,
    /// The caller's address.
    pub from: String,
    pub trace_id: Option<String>,
    /// What it was and what it became, without personal and secret values, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}
