//! Identity's bindings, teams, roles and places in the service's own tables.
//!
//! Rows are never removed but marked, with the position that changed them, so that every replica can follow by
//! reading what is newer than what it has.

use async_trait::async_trait;
use gantry_contract::identity::{BindingEvent, MembershipEvent, OrgEvent, RobotEvent, RoleEvent, TeamEvent, UserEvent};
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use gantry_kernel::{OrgId, Uuid};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

pub struct RightsProjection;

async fn run(tx: &DatabaseTransaction, sql: &str, values: Vec<Value>) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

#[async_trait]
impl Projection for RightsProjection {
    fn name(&self) -> &'static str {
        "auth-rights"
    }

    fn version(&self) -> i32 {
        2
    }

    fn ddl(&self) -> &'static str {
        "create table auth_bindings (id uuid primary key, subject text not null, role text not null, scope text not null, condition text, gone boolean not null, position bigint not null);
         create index auth_bindings_position on auth_bindings (position);
         create table auth_places (id uuid primary key, level text not null, parent uuid, name text not null, public boolean not null, gone boolean not null, position bigint not null);
         create index auth_places_position on auth_places (position);
         create index auth_places_parent on auth_places (parent);
         create table auth_teams (id uuid primary key, org uuid not null, name text not null, parent uuid, gone boolean not null, position bigint not null);
         create index auth_teams_position on auth_teams (position);
         create index auth_teams_org on auth_teams (org);
         create table auth_members (team uuid not null, subject text not null, gone boolean not null, position bigint not null, primary key (team, subject));
         create index auth_members_position on auth_members (position);
         create table auth_roles (id uuid primary key, org uuid, name text not null, permissions text not null, gone boolean not null, position bigint not null);
         create index auth_roles_position on auth_roles (position)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["auth_bindings", "auth_places", "auth_teams", "auth_members", "auth_roles"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        let at: Value = event.position.into();
        if event.is::<BindingEvent>() {
            let (binding, subject, role, scope, condition, gone) = match event.decode::<BindingEvent>()? {
                BindingEvent::Granted { binding, subject, role, scope, condition } => (binding, subject, role, scope, condition, false),
                BindingEvent::Revoked { binding, subject, role, scope } => (binding, subject, role, scope, None, true),
            };
            let condition: Option<String> = condition.map(|c| serde_json::to_string(&c)).transpose()?;
            let sql = "insert into auth_bindings (id, subject, role, scope, condition, gone, position) values ($1, $2, $3, $4, $5, $6, $7)
                       on conflict (id) do update set gone = excluded.gone, position = excluded.position";
            let values = vec![binding.0.into(), subject.into(), role.to_string().into(), scope.to_string().into(), condition.into(), gone.into(), at];
            return run(tx, sql, values).await;
        }
        if event.is::<UserEvent>() {
            let (user, gone) = match event.decode::<UserEvent>()? {
                UserEvent::Suspended { user, .. } | UserEvent::Deleted { user } => (user, true),
                UserEvent::Resumed { user } => (user, false),
                // What does not change whether the person is in.
                _ => return Ok(()),
            };
            // A person who is out has no rights, however long the access token still lives.
            return principal(tx, "user", user.0, None, gone, at).await;
        }
        if event.is::<RobotEvent>() {
            return match event.decode::<RobotEvent>()? {
                RobotEvent::Created { robot, org, .. } | RobotEvent::Resumed { robot, org } => principal(tx, "robot", robot, Some(org), false, at).await,
                RobotEvent::Suspended { robot, org, .. } | RobotEvent::Deleted { robot, org, .. } => principal(tx, "robot", robot, Some(org), true, at).await,
                RobotEvent::Changed { .. } => Ok(()),
            };
        }
        if event.is::<TeamEvent>() {
            return apply_team(tx, event.decode()?, at).await;
        }
        if event.is::<MembershipEvent>() {
            let (team, subject, gone) = match event.decode::<MembershipEvent>()? {
                MembershipEvent::Added { team, subject, .. } => (team, subject, false),
                MembershipEvent::Removed { team, subject, .. } => (team, subject, true),
            };
            let sql = "insert into auth_members (team, subject, gone, position) values ($1, $2, $3, $4)
                       on conflict (team, subject) do update set gone = excluded.gone, position = excluded.position";
            return run(tx, sql, vec![team.0.into(), subject.into(), gone.into(), at]).await;
        }
        if event.is::<RoleEvent>() {
            return apply_role(tx, event.decode()?, at).await;
        }
        if !event.is::<OrgEvent>() {
            return Ok(());
        }
        let put = "insert into auth_places (id, level, parent, name, public, gone, position) values ($1, $2, $3, $4, $5, false, $6)
                   on conflict (id) do update set name = excluded.name, public = excluded.public, gone = false, position = excluded.position";
        let none: Option<Uuid> = None;
        match event.decode::<OrgEvent>()? {
            OrgEvent::Created { org, name, .. } => run(tx, put, vec![org.0.into(), "org".into(), none.into(), name.as_str().into(), false.into(), at]).await,
            OrgEvent::ProjectCreated { org, project, name, public, .. } => {
                run(tx, put, vec![project.0.into(), "project".into(), Some(org.0).into(), name.as_str().into(), public.into(), at]).await
            }
            OrgEvent::SpaceCreated { project, space, name, .. } => {
                run(tx, put, vec![space.0.into(), "space".into(), Some(project.0).into(), name.as_str().into(), false.into(), at]).await
            }
            OrgEvent::SpaceDeleted { space, .. } => gone(tx, space.0, at).await,
            OrgEvent::ProjectDeleted { project, .. } => gone(tx, project.0, at).await,
            OrgEvent::Deleted { org, .. } => gone(tx, org.0, at).await,
            _ => Ok(()),
        }
    }
}

/// Whether somebody is in.
async fn principal(tx: &DatabaseTransaction, level: &str, id: Uuid, org: Option<OrgId>, gone: bool, at: Value) -> anyhow::Result<()> {
    let sql = "insert into auth_places (id, level, parent, name, public, gone, position) values ($1, $2, $3, $2, false, $4, $5)
               on conflict (id) do update set gone = excluded.gone, position = excluded.position";
    run(tx, sql, vec![id.into(), level.into(), org.map(|o| o.0).into(), gone.into(), at]).await
}

async fn apply_team(tx: &DatabaseTransaction, event: TeamEvent, at: Value) -> anyhow::Result<()> {
    match event {
        TeamEvent::Created { org, team, name, parent, .. } => {
            let sql = "insert into auth_teams (id, org, name, parent, gone, position) values ($1, $2, $3, $4, false, $5)
                       on conflict (id) do update set gone = false, parent = excluded.parent, position = excluded.position";
            run(tx, sql, vec![team.0.into(), org.0.into(), name.as_str().into(), parent.map(|p| p.0).into(), at]).await
        }
        TeamEvent::Moved { team, parent, .. } => {
            run(tx, "update auth_teams set parent = $2, position = $3 where id = $1", vec![team.0.into(), parent.map(|p| p.0).into(), at]).await
        }
        TeamEvent::Deleted { team, .. } => run(tx, "update auth_teams set gone = true, position = $2 where id = $1", vec![team.0.into(), at]).await,
        TeamEvent::Renamed { .. } => Ok(()),
    }
}

async fn apply_role(tx: &DatabaseTransaction, event: RoleEvent, at: Value) -> anyhow::Result<()> {
    match event {
        RoleEvent::Defined { role, org, name, permissions, .. } => {
            let sql = "insert into auth_roles (id, org, name, permissions, gone, position) values ($1, $2, $3, $4, false, $5)
                       on conflict (id) do update set permissions = excluded.permissions, gone = false, position = excluded.position";
            run(tx, sql, vec![role.0.into(), org.map(|o| o.0).into(), name.as_str().into(), permissions.join(" ").into(), at]).await
        }
        RoleEvent::Changed { role, permissions, .. } => {
            run(tx, "update auth_roles set permissions = $2, position = $3 where id = $1", vec![role.0.into(), permissions.join(" ").into(), at]).await
        }
        RoleEvent::Deleted { role } => run(tx, "update auth_roles set gone = true, position = $2 where id = $1", vec![role.0.into(), at]).await,
    }
}

/// The place and all below it.
async fn gone(tx: &DatabaseTransaction, id: Uuid, at: Value) -> anyhow::Result<()> {
    let sql = "with recursive below as (select id from auth_places where id = $1 union all select p.id from auth_places p join below b on p.parent = b.id)
               update auth_places set gone = true, position = $2 where id in (select id from below)";
    run(tx, sql, vec![id.into(), at.clone()]).await?;
    run(tx, "update auth_teams set gone = true, position = $2 where org = $1", vec![id.into(), at.clone()]).await?;
    run(tx, "update auth_roles set gone = true, position = $2 where org = $1", vec![id.into(), at]).await
}
