//! Where a right holds and how much it allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{OrgId, ProjectId, SpaceId};

/// The four levels at which a role can be bound; each contains the ones after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(tag = "level", content = "id", rename_all = "snake_case")]
pub enum Scope {
    Platform,
    Org(OrgId),
    Project(ProjectId),
    Space(SpaceId),
}

#[derive(Debug, Error)]
#[error("a scope is `platform`, `org:<id>`, `project:<id>` or `space:<id>`")]
pub struct ScopeError;

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("platform"),
            Self::Org(id) => write!(f, "org:{id}"),
            Self::Project(id) => write!(f, "project:{id}"),
            Self::Space(id) => write!(f, "space:{id}"),
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text == "platform" {
            return Ok(Self::Platform);
        }
        let (level, id) = text.split_once(':').ok_or(ScopeError)?;
        Ok(match level {
            "org" => Self::Org(id.parse().map_err(|_| ScopeError)?),
            "project" => Self::Project(id.parse().map_err(|_| ScopeError)?),
            "space" => Self::Space(id.parse().map_err(|_| ScopeError)?),
            _ => return Err(ScopeError),
        })
    }
}

/// The built-in roles (clause 6.5.2.2.c). Ordered: each may do all the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, creates, changes, deletes.
    Editor,
    /// Everything in its scope, the rights of others included.
    Admin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "editor" => Ok(Self::Editor),
            "admin" => Ok(Self::Admin),
            other => Err(format!("`{other}` is no role: viewer, editor, admin")),
        }
    }
}
