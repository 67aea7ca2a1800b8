//! Events of identity about rights: custom roles, teams and who is in them, service accounts; and the words of bindings.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use gantry_es::EventData;
use gantry_kernel::{Name, OffsetDateTime, OrgId, Role, RoleId, TeamId, Uuid};
use serde::{Deserialize, Serialize};

/// A built-in role, or one that somebody has put together. As text: `viewer`, `editor`, `admin`, or `role:<uuid>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RoleRef {
    BuiltIn(Role),
    Custom(RoleId),
}

impl From<Role> for RoleRef {
    fn from(role: Role) -> Self {
        Self::BuiltIn(role)
    }
}

impl RoleRef {
    pub fn built_in(self) -> Option<Role> {
        if let Self::BuiltIn(role) = self { Some(role) } else { None }
    }
}

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(role) => f.write_str(role.as_str()),
            Self::Custom(id) => write!(f, "role:{id}"),
        }
    }
}

impl FromStr for RoleRef {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("role:") {
            Some(id) => id.parse().map(Self::Custom).map_err(|_| format!("`{text}`: a custom role is written role:<id>")),
            None => text.parse().map(Self::BuiltIn),
        }
    }
}

impl TryFrom<String> for RoleRef {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RoleRef> for String {
    fn from(role: RoleRef) -> Self {
        role.to_string()
    }
}

impl schemars::JsonSchema for RoleRef {
    fn schema_name() -> Cow<'static, str> {
        "RoleRef".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

/// When a binding counts. Every part that is given must hold; an empty condition always does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// Not before this moment (RFC 3339).
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>)]
    pub not_before: Option<OffsetDateTime>,
    /// Not from this moment on (RFC 3339).
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>)]
    pub not_after: Option<OffsetDateTime>,
    /// Within these hours of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// On these days: 1 (Monday) to 7 (Sunday), in the time zone of `hours`, else UTC.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<u8>,
    /// From an address in one of these networks: `10.0.0.0/8`, `2001:db8::/32`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Signed in with all of these factors (RFC 8176): `pwd`, `otp`, `hwk`, `mfa`, ...
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<String>,
}

/// From a minute of the day to another one; over midnight when `to` is not after `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// `08:00`
    pub from: String,
    /// `18:30`: the first minute that is out.
    pub to: String,
    /// Minutes east of UTC: 480 for China.
    #[serde(default)]
    pub utc_offset_minutes: i16,
}

/// Stream `role-<id>`: a custom role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum RoleEvent {
    /// `org`: whose role it is; none: the platform's, to be bound anywhere.
    #[serde(rename = "role.defined")]
    Defined { role: RoleId, org: Option<OrgId>, name: Name, description: String, permissions: Vec<String> },
    #[serde(rename = "role.changed")]
    Changed { role: RoleId, description: String, permissions: Vec<String> },
    #[serde(rename = "role.deleted")]
    Deleted { role: RoleId },
}

impl EventData for RoleEvent {
    const AGGREGATE: &'static str = "role";
}

/// Stream `team-<organisation's id>`: all teams of an organisation, so that no circle can come to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum TeamEvent {
    /// Members of a team have the rights of its parent as well.
    #[serde(rename = "team.created")]
    Created { org: OrgId, team: TeamId, name: Name, display_name: String, parent: Option<TeamId> },
    #[serde(rename = "team.renamed")]
    Renamed { org: OrgId, team: TeamId, display_name: String },
    #[serde(rename = "team.moved")]
    Moved { org: OrgId, team: TeamId, parent: Option<TeamId> },
    #[serde(rename = "team.deleted")]
    Deleted { org: OrgId, team: TeamId, name: Name },
}

impl EventData for TeamEvent {
    const AGGREGATE: &'static str = "team";
}

/// Stream `membership-<team>.<subject>`: one subject in one team, so that no team is a hot stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum MembershipEvent {
    /// `subject`: "user:<uuid>" or "robot:<uuid>".
    #[serde(rename = "membership.added")]
    Added { org: OrgId, team: TeamId, subject: String },
    #[serde(rename = "membership.removed")]
    Removed { org: OrgId, team: TeamId, subject: String },
}

impl EventData for MembershipEvent {
    const AGGREGATE: &'static str = "membership";
}

/// Repositories of the registry that a service account may use without a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryGrant {
    /// `<org>/<project>/<repository>`, or `<org>/<project>/*`.
    pub pattern: String,
    /// `pull`, `push`, `delete`.
    pub actions: Vec<String>,
}

/// Stream `robot-<id>`: a service account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum RobotEvent {
    #[serde(rename = "robot.created")]
    Created { robot: Uuid, org: OrgId, name: Name, description: String, repositories: Vec<RepositoryGrant> },
    #[serde(rename = "robot.changed")]
    Changed { robot: Uuid, org: OrgId, description: String, repositories: Vec<RepositoryGrant> },
    #[serde(rename = "robot.suspended")]
    Suspended { robot: Uuid, org: OrgId, reason: String },
    #[serde(rename = "robot.resumed")]
    Resumed { robot: Uuid, org: OrgId },
    #[serde(rename = "robot.deleted")]
    Deleted { robot: Uuid, org: OrgId, name: Name },
}

impl EventData for RobotEvent {
    const AGGREGATE: &'static str = "robot";
}
