//! Security policies: what the platform and each organisation ask of the people who sign in.

use gantry_es::EventData;
use gantry_kernel::OrgId;
use serde::{Deserialize, Serialize};

/// What a second factor must be. Ordered by strictness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    #[default]
    Optional,
    /// Any: an authenticator or a passkey.
    Required,
    /// A passkey: nothing that a false page could fish for.
    Passkey,
}

/// Who may register. Ordered by strictness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationRule {
    #[default]
    Open,
    /// An administrator approves each.
    Approval,
    Closed,
}

/// What is left out is not restricted by this policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityPolicy {
    pub second_factor: SecondFactor,
    /// 8 to 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_min_length: Option<u32>,
    /// Guessability by zxcvbn, 3 or 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_min_score: Option<u8>,
    /// So many passwords from before may not be used again: 1 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_history: Option<u32>,
    /// A session ends so many hours after the sign-in: 1 to 720.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_hours: Option<u32>,
    /// A session ends when it was not used for so long: 5 to 10080.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_idle_minutes: Option<u32>,
    /// Networks to sign in from, e.g. `10.0.0.0/8`. None: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Ways to sign in: `password`, `passkey`, or `directory` (LDAP). None: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sign_in_by: Vec<String>,
    pub registration: RegistrationRule,
    /// Domains of e-mail addresses that may register or be invited. None: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub email_domains: Vec<String>,
}

/// Stream `security-policy-<organisation>`; the platform's is of the nil id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum SecurityPolicyEvent {
    /// `org` is none for the platform.
    #[serde(rename = "security-policy.changed")]
    Changed { org: Option<OrgId>, policy: SecurityPolicy },
}

impl EventData for SecurityPolicyEvent {
    const AGGREGATE: &'static str = "security-policy";
}
