//! The published list of permissions. Each belongs to an area, and to the least built-in role that has it. A custom
//! role names permissions; one of the three broad ones of an area (`apps.read`, `apps.write`, `apps.admin`) stands for
//! all of that area up to its role.

use std::collections::BTreeSet;

use gantry_kernel::Role;

/// One thing that may be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `<area>.<verb>`.
    pub name: &'static str,
    /// The least built-in role that has it.
    pub role: Role,
    pub description: &'static str,
}

impl Permission {
    pub fn area(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(area, _)| area)
    }
}

const fn of(name: &'static str, role: Role, description: &'static str) -> Permission {
    Permission { name, role, description }
}

use Role::{Admin, Editor, Viewer};

/// All there are, by area. Names are never reused for something else.
pub const ALL: &[Permission] = &[
    of("identity.read", Viewer, "Read organisations, projects, spaces, members, teams and roles"),
    of("identity.write", Editor, "Reserved for changes that need no administrator; reads as identity.read does"),
    of("identity.admin", Admin, "Everything about members, teams, roles, service accounts and settings"),
    of("identity.users-read", Viewer, "Read the profiles of users (bound at the platform: of all)"),
    of("identity.users-write", Admin, "Create, change, suspend, merge and delete users"),
    of("identity.members-write", Admin, "Add and remove members"),
    of("identity.teams-write", Admin, "Create, change and delete teams, and say who is in them"),
    of("identity.bindings-read", Viewer, "Read who has which role"),
    of("identity.bindings-write", Admin, "Give and take roles, up to the own rights"),
    of("identity.roles-write", Admin, "Define custom roles, up to the own rights"),
    of("identity.robots-write", Admin, "Create and change service accounts and their keys"),
    of("identity.scim-write", Admin, "Make tokens for provisioning by SCIM"),
    of("identity.nodes-join", Admin, "Make join tokens for nodes, revoke node certificates"),
    of("identity.org-delete", Admin, "Delete the organisation"),
    of("images.read", Viewer, "List images, tags and scan results"),
    of("images.write", Editor, "Push images, change tags"),
    of("images.admin", Admin, "Delete images, set policies of the registry"),
    of("images.pull", Viewer, "Pull images"),
    of("images.push", Editor, "Push images"),
    of("images.delete", Admin, "Delete images"),
    of("apps.read", Viewer, "See applications, instances and why they are where they are"),
    of("apps.write", Editor, "Deploy, scale, restart, roll back"),
    of("apps.exec", Editor, "Run commands in containers, attach to them, forward ports, copy files, send signals"),
    of("apps.configs-write", Editor, "Set and delete configs and secrets of spaces, read configs"),
    of("apps.secrets-reveal", Admin, "Read secrets of spaces in clear; each reading is audited"),
    of("apps.admin", Admin, "Settings and nodes"),
    of("pipelines.read", Viewer, "Read repositories, runs and logs"),
    of("pipelines.write", Editor, "Push code, start and cancel runs"),
    of("pipelines.admin", Admin, "Approve, set protected branches"),
    of("services.read", Viewer, "See ready-made services"),
    of("services.write", Editor, "Create, bind and delete ready-made services"),
    of("services.admin", Admin, "Offer and withdraw services"),
    of("billing.read", Viewer, "Read usage, quotas and bills"),
    of("billing.write", Editor, "Change what is charged to whom"),
    of("billing.admin", Admin, "Set quotas and price plans"),
    of("monitoring.read", Viewer, "Read metrics, logs, events and alerts"),
    of("monitoring.write", Editor, "Create dashboards and alerts"),
    of("monitoring.admin", Admin, "Read the audit list"),
];

/// The area of a service's checks by built-in role.
pub fn area_of(service: &str) -> &'static str {
    match service {
        "registry" => "images",
        "scheduler" | "agent" => "apps",
        "cicd" => "pipelines",
        "catalog" => "services",
        "billing" => "billing",
        "monitoring" => "monitoring",
        _ => "identity",
    }
}

pub fn find(name: &str) -> Option<&'static Permission> {
    ALL.iter().find(|p| p.name == name)
}

/// The broad permission of an area and a role.
pub fn broad(area: &str, role: Role) -> String {
    let verb = match role {
        Viewer => "read",
        Editor => "write",
        Admin => "admin",
    };
    format!("{area}.{verb}")
}

/// What a set of permissions amounts to: looked up in every decision, so made once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet {
    named: BTreeSet<&'static str>,
    /// The highest broad permission of each area.
    broad: Vec<(&'static str, Role)>,
}

impl PermissionSet {
    /// Names that are not published count for nothing: a newer version may have written them.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut set = Self::default();
        for permission in names.into_iter().filter_map(find) {
            set.named.insert(permission.name);
            if permission.name != broad(permission.area(), permission.role) {
                continue;
            }
            match set.broad.iter_mut().find(|(area, _)| *area == permission.area()) {
                Some((_, role)) => *role = (*role).max(permission.role),
                None => set.broad.push((permission.area(), permission.role)),
            }
        }
        set
    }

    /// The built-in role that it comes up to in `area`.
    pub fn role_in(&self, area: &str) -> Option<Role> {
        self.broad.iter().find(|(known, _)| *known == area).map(|(_, role)| *role)
    }

    pub fn has(&self, permission: &Permission) -> bool {
        self.named.contains(permission.name) || self.role_in(permission.area()).is_some_and(|role| role >= permission.role)
    }

    /// Every permission it gives.
    pub fn all(&self) -> impl Iterator<Item = &'static Permission> + '_ {
        ALL.iter().filter(|p| self.has(p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_unique_and_every_area_has_its_three_broad_ones() {
        let names: BTreeSet<_> = ALL.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), ALL.len());
        for area in ALL.iter().map(Permission::area) {
            for role in [Viewer, Editor, Admin] {
                assert_eq!(find(&broad(area, role)).map(|p| p.role), Some(role), "{area}");
            }
        }
    }

    #[test]
    fn a_broad_permission_stands_for_its_area_up_to_its_role() {
        let set = PermissionSet::new(["images.write", "identity.teams-write", "no.such"]);
        assert!(set.has(find("images.pull").unwrap()) && set.has(find("images.push").unwrap()));
        assert!(!set.has(find("images.delete").unwrap()));
        assert!(set.has(find("identity.teams-write").unwrap()));
        assert!(!set.has(find("identity.read").unwrap()), "a single one stands for itself");
        assert_eq!((set.role_in("images"), set.role_in("identity")), (Some(Editor), None));
    }
}
