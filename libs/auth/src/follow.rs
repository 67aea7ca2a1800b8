//! From the tables of [`crate::RightsProjection`] into memory: what is newer than what is held.

use std::sync::Arc;

use gantry_contract::identity::RoleRef;
use gantry_es_pg::Db;
use gantry_kernel::{BindingId, Name, OrgId, ProjectId, RoleId, Scope, SpaceId, TeamId, Uuid};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};

use crate::auth::Auth;
use crate::permissions::PermissionSet;
use crate::places::{OrgRef, ProjectRef, SpaceRef};
use crate::rights::{CustomRole, Grant, Rights, TeamRef};

/// One changed row.
enum Change {
    Place { id: Uuid, level: String, parent: Option<Uuid>, name: String, public: bool, gone: bool },
    Binding { id: BindingId, grant: Grant, gone: bool },
    Team { team: TeamRef, gone: bool },
    Member { team: TeamId, subject: String, gone: bool },
    Role { role: CustomRole, gone: bool },
}

/// Places first: the others refer to them. Within them, what contains comes before what is contained.
const READS: &[(&str, fn(&QueryResult) -> anyhow::Result<Change>)] = &[
    (
        "select id, level, parent, name, public, gone from auth_places where position > $1 and position <= $2
         order by case level when 'org' then 0 when 'project' then 1 else 2 end, position",
        place,
    ),
    ("select id, org, name, permissions, gone from auth_roles where position > $1 and position <= $2 order by position", role),
    ("select id, org, name, parent, gone from auth_teams where position > $1 and position <= $2 order by position", team),
    ("select team, subject, gone from auth_members where position > $1 and position <= $2 order by position", member),
    ("select id, subject, role, scope, condition, gone from auth_bindings where position > $1 and position <= $2 order by position", binding),
];

fn place(row: &QueryResult) -> anyhow::Result<Change> {
    Ok(Change::Place {
        id: row.try_get("", "id")?,
        level: row.try_get("", "level")?,
        parent: row.try_get("", "parent")?,
        name: row.try_get("", "name")?,
        public: row.try_get("", "public")?,
        gone: row.try_get("", "gone")?,
    })
}

fn role(row: &QueryResult) -> anyhow::Result<Change> {
    let (name, permissions, org): (String, String, Option<Uuid>) = (row.try_get("", "name")?, row.try_get("", "permissions")?, row.try_get("", "org")?);
    let role = CustomRole {
        id: RoleId(row.try_get("", "id")?),
        org: org.map(OrgId),
        name: Name::parse(&name)?,
        permissions: PermissionSet::new(permissions.split(' ')),
    };
    Ok(Change::Role { role, gone: row.try_get("", "gone")? })
}

fn team(row: &QueryResult) -> anyhow::Result<Change> {
    let (name, parent): (String, Option<Uuid>) = (row.try_get("", "name")?, row.try_get("", "parent")?);
    let team = TeamRef { id: TeamId(row.try_get("", "id")?), org: OrgId(row.try_get("", "org")?), name: Name::parse(&name)?, parent: parent.map(TeamId) };
    Ok(Change::Team { team, gone: row.try_get("", "gone")? })
}

fn member(row: &QueryResult) -> anyhow::Result<Change> {
    Ok(Change::Member { team: TeamId(row.try_get("", "team")?), subject: row.try_get("", "subject")?, gone: row.try_get("", "gone")? })
}

fn binding(row: &QueryResult) -> anyhow::Result<Change> {
    let (role, scope, condition): (String, String, Option<String>) = (row.try_get("", "role")?, row.try_get("", "scope")?, row.try_get("", "condition")?);
    let role: RoleRef = role.parse().map_err(anyhow::Error::msg)?;
    let condition = condition.map(|c| serde_json::from_str(&c)).transpose()?.map(Arc::new);
    let grant = Grant { subject: row.try_get("", "subject")?, role, scope: scope.parse()?, condition };
    Ok(Change::Binding { id: BindingId(row.try_get("", "id")?), grant, gone: row.try_get("", "gone")? })
}

impl Auth {
    /// Takes into memory what the tables have after `since`; returns the position now held.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn follow(&self, db: &Db, since: i64) -> anyhow::Result<i64> {
        // Several statements see several states. Reading all up to the checkpoint as it was before them loses nothing:
        // what is committed in between has higher positions and comes next time.
        let sql = "select position from projections where name = 'auth-rights'";
        let row = db.orm.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let upto: i64 = match row {
            Some(row) => row.try_get("", "position")?,
            None => return Ok(since),
        };
        let mut changes = Vec::new();
        for (sql, read) in READS {
            let rows = db.orm.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, *sql, [since.into(), upto.into()])).await?;
            for row in rows {
                changes.push(read(&row)?);
            }
        }
        self.write(|rights| {
            for change in changes {
                take(rights, change);
            }
        });
        Ok(upto)
    }
}

fn take(rights: &mut Rights, change: Change) {
    match change {
        Change::Place { id, level, gone, .. } if level == "user" || level == "robot" => rights.set_out(format!("{level}:{id}"), gone),
        Change::Place { id, level, parent, name, public, gone } => take_place(rights, id, &level, parent, &name, public, gone),
        Change::Binding { id, grant, gone: false } => rights.put_binding(id, grant),
        Change::Binding { id, gone: true, .. } => rights.revoke(id),
        Change::Team { team, gone: false } => rights.put_team(team),
        Change::Team { team, gone: true } => rights.remove_team(team.id),
        Change::Member { team, subject, gone } => rights.set_member(team, subject, !gone),
        Change::Role { role, gone: false } => rights.put_role(role),
        Change::Role { role, gone: true } => rights.remove_role(role.id),
    }
}

fn take_place(rights: &mut Rights, id: Uuid, level: &str, parent: Option<Uuid>, name: &str, public: bool, gone: bool) {
    let scope = match level {
        "org" => Scope::Org(OrgId(id)),
        "project" => Scope::Project(ProjectId(id)),
        _ => Scope::Space(SpaceId(id)),
    };
    // The projection wrote it from a name.
    let (false, Ok(name)) = (gone, Name::parse(name)) else { return rights.remove(scope) };
    match (scope, parent) {
        (Scope::Org(id), _) => rights.put_org(OrgRef { id, name }),
        (Scope::Project(id), Some(org)) => {
            if let Some(org) = rights.org_ref(OrgId(org)).cloned() {
                rights.put_project(ProjectRef { org, id, name, public });
            }
        }
        (Scope::Space(id), Some(project)) => {
            if let Some(project) = rights.project_ref(ProjectId(project)).cloned() {
                rights.put_space(SpaceRef { project, id, name });
            }
        }
        (Scope::Platform | Scope::Project(_) | Scope::Space(_), _) => {}
    }
}
