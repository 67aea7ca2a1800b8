//! Events of identity. `Sealed` fields are personal: encrypted under the person's key, readable only by identity.

mod client;
mod rights;

pub use client::{ClientEvent, ClientSecret, ClientSettings};
use gantry_es::{EventData, Sealed};
use gantry_kernel::{BindingId, Name, OrgId, ProjectId, Scope, SpaceId, UserId};
pub use rights::{Condition, Hours, MembershipEvent, RepositoryGrant, RobotEvent, RoleEvent, RoleRef, TeamEvent};
use serde::{Deserialize, Serialize};

/// Stream `user-<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum UserEvent {
    #[serde(rename = "user.registered")]
    Registered {
        user: UserId,
        username: Sealed,
        email: Sealed,
        display_name: Sealed,
        password_hash: Option<Sealed>,
        by_admin: bool,
        must_change_password: bool,
    },
    #[serde(rename = "user.profile-changed")]
    ProfileChanged { user: UserId, email: Option<Sealed>, display_name: Option<Sealed> },
    #[serde(rename = "user.password-changed")]
    PasswordChanged {
        user: UserId,
        password_hash: Sealed,
        /// Set by an administrator: the person must choose another one.
        #[serde(default)]
        must_change_password: bool,
    },
    #[serde(rename = "user.suspended")]
    Suspended { user: UserId, reason: String },
    #[serde(rename = "user.resumed")]
    Resumed { user: UserId },
    #[serde(rename = "user.deleted")]
    Deleted { user: UserId },
    /// The person must choose a new password at the next sign-in.
    #[serde(rename = "user.password-reset-required")]
    PasswordResetRequired { user: UserId, reason: String },
    /// All that `from` had is `user`'s now; `from` is deleted.
    #[serde(rename = "user.merged")]
    Merged { user: UserId, from: UserId },
}

impl EventData for UserEvent {
    const AGGREGATE: &'static str = "user";
}

/// Stream `org-<id>`: the organisation with its members, projects and spaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum OrgEvent {
    #[serde(rename = "org.created")]
    Created { org: OrgId, name: Name, display_name: String, owner: UserId },
    #[serde(rename = "org.renamed")]
    Renamed { org: OrgId, display_name: String },
    #[serde(rename = "org.owner-changed")]
    OwnerChanged { org: OrgId, owner: UserId },
    #[serde(rename = "org.member-added")]
    MemberAdded { org: OrgId, user: UserId },
    #[serde(rename = "org.member-removed")]
    MemberRemoved { org: OrgId, user: UserId },
    #[serde(rename = "org.project-created")]
    ProjectCreated { org: OrgId, org_name: Name, project: ProjectId, name: Name, public: bool },
    #[serde(rename = "org.project-deleted")]
    ProjectDeleted { org: OrgId, project: ProjectId, name: Name },
    #[serde(rename = "org.space-created")]
    SpaceCreated { org: OrgId, project: ProjectId, space: SpaceId, name: Name },
    #[serde(rename = "org.space-deleted")]
    SpaceDeleted { org: OrgId, project: ProjectId, space: SpaceId, name: Name },
    #[serde(rename = "org.deleted")]
    Deleted { org: OrgId, name: Name },
}

impl EventData for OrgEvent {
    const AGGREGATE: &'static str = "org";
}

/// Stream `binding-<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum BindingEvent {
    /// `subject`: "user:<uuid>", "team:<uuid>" or "robot:<uuid>".
    #[serde(rename = "binding.granted")]
    Granted {
        binding: BindingId,
        subject: String,
        role: RoleRef,
        scope: Scope,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        condition: Option<Condition>,
    },
    #[serde(rename = "binding.revoked")]
    Revoked { binding: BindingId, subject: String, role: RoleRef, scope: Scope },
}

impl EventData for BindingEvent {
    const AGGREGATE: &'static str = "binding";
}
