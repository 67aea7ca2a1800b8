//! Organisations, projects and spaces by name.

use gantry_kernel::{Name, OrgId, ProjectId, Scope, SpaceId};
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrgRef {
    pub id: OrgId,
    pub name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProjectRef {
    pub org: OrgRef,
    pub id: ProjectId,
    pub name: Name,
    /// Its images may be pulled by anybody.
    pub public: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpaceRef {
    pub project: ProjectRef,
    pub id: SpaceId,
    pub name: Name,
}

impl OrgRef {
    pub fn scope(&self) -> Scope {
        Scope::Org(self.id)
    }
}

impl ProjectRef {
    pub fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    /// `<org>/<project>`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.org.name, self.name)
    }
}

impl SpaceRef {
    pub fn scope(&self) -> Scope {
        Scope::Space(self.id)
    }

    pub fn org(&self) -> &OrgRef {
        &self.project.org
    }

    /// `<org>/<project>/<space>`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.project.path(), self.name)
    }
}
