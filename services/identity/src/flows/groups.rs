//! Read model of teams and who is in them, custom roles and service accounts.

use async_trait::async_trait;
use gantry_contract::identity::{MembershipEvent, OrgEvent, RobotEvent, RoleEvent, TeamEvent, UserEvent};
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

pub struct Groups;

async fn run(tx: &DatabaseTransaction, sql: &str, values: Vec<Value>) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

#[async_trait]
impl Projection for Groups {
    fn name(&self) -> &'static str {
        "groups"
    }

    fn ddl(&self) -> &'static str {
        "create table teams (
            id uuid primary key, org uuid not null, name text not null, display_name text not null, parent uuid,
            version bigint not null, created_at timestamptz not null, unique (org, name));
         create index on teams (parent);
         create table team_members (
            team uuid not null, subject text not null, org uuid not null, added_at timestamptz not null, primary key (team, subject));
         create index on team_members (subject);
         create table custom_roles (
            id uuid primary key, org uuid, name text not null, description text not null, permissions text not null,
            version bigint not null, created_at timestamptz not null);
         create index on custom_roles (org, name);
         create table robots (
            id uuid primary key, org uuid not null, name text not null, description text not null, repositories text not null,
            suspended_reason text, version bigint not null, created_at timestamptz not null, unique (org, name));"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["teams", "team_members", "custom_roles", "robots"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<TeamEvent>() {
            return team(tx, event, event.decode()?).await;
        }
        if event.is::<MembershipEvent>() {
            return membership(tx, event, event.decode()?).await;
        }
        if event.is::<RoleEvent>() {
            return role(tx, event, event.decode()?).await;
        }
        if event.is::<RobotEvent>() {
            return robot(tx, event, event.decode()?).await;
        }
        if event.is::<UserEvent>()
            && let UserEvent::Deleted { user } = event.decode()?
        {
            return run(tx, "delete from team_members where subject = $1", vec![format!("user:{user}").into()]).await;
        }
        if event.is::<OrgEvent>()
            && let OrgEvent::Deleted { org, .. } = event.decode()?
        {
            for table in ["teams", "team_members", "custom_roles", "robots"] {
                run(tx, &format!("delete from {table} where org = $1"), vec![org.0.into()]).await?;
            }
        }
        Ok(())
    }
}

async fn team(tx: &DatabaseTransaction, at: &Recorded, event: TeamEvent) -> anyhow::Result<()> {
    match event {
        TeamEvent::Created { org, team, name, display_name, parent } => {
            let sql = "insert into teams (id, org, name, display_name, parent, version, created_at) values ($1, $2, $3, $4, $5, $6, $7)";
            let parent = parent.map(|p| p.0);
            run(tx, sql, vec![team.0.into(), org.0.into(), name.as_str().into(), display_name.into(), parent.into(), at.version.into(), at.at.into()]).await
        }
        TeamEvent::Renamed { team, display_name, .. } => {
            run(tx, "update teams set display_name = $2, version = $3 where id = $1", vec![team.0.into(), display_name.into(), at.version.into()]).await
        }
        TeamEvent::Moved { team, parent, .. } => {
            run(tx, "update teams set parent = $2, version = $3 where id = $1", vec![team.0.into(), parent.map(|p| p.0).into(), at.version.into()]).await
        }
        TeamEvent::Deleted { team, .. } => {
            run(tx, "delete from team_members where team = $1", vec![team.0.into()]).await?;
            run(tx, "delete from teams where id = $1", vec![team.0.into()]).await
        }
    }
}

async fn membership(tx: &DatabaseTransaction, at: &Recorded, event: MembershipEvent) -> anyhow::Result<()> {
    match event {
        MembershipEvent::Added { org, team, subject } => {
            // A team that was deleted meanwhile has no members.
            let sql = "insert into team_members (team, subject, org, added_at) select $1, $2, $3, $4 where exists (select 1 from teams where id = $1)
                       on conflict do nothing";
            run(tx, sql, vec![team.0.into(), subject.into(), org.0.into(), at.at.into()]).await
        }
        MembershipEvent::Removed { team, subject, .. } => {
            run(tx, "delete from team_members where team = $1 and subject = $2", vec![team.0.into(), subject.into()]).await
        }
    }
}

async fn role(tx: &DatabaseTransaction, at: &Recorded, event: RoleEvent) -> anyhow::Result<()> {
    match event {
        RoleEvent::Defined { role, org, name, description, permissions } => {
            let sql = "insert into custom_roles (id, org, name, description, permissions, version, created_at) values ($1, $2, $3, $4, $5, $6, $7)";
            let (org, permissions) = (org.map(|o| o.0), permissions.join(" "));
            let values = vec![role.0.into(), org.into(), name.as_str().into(), description.into(), permissions.into(), at.version.into(), at.at.into()];
            run(tx, sql, values).await
        }
        RoleEvent::Changed { role, description, permissions } => {
            let sql = "update custom_roles set description = $2, permissions = $3, version = $4 where id = $1";
            run(tx, sql, vec![role.0.into(), description.into(), permissions.join(" ").into(), at.version.into()]).await
        }
        RoleEvent::Deleted { role } => run(tx, "delete from custom_roles where id = $1", vec![role.0.into()]).await,
    }
}

async fn robot(tx: &DatabaseTransaction, at: &Recorded, event: RobotEvent) -> anyhow::Result<()> {
    let version: Value = at.version.into();
    match event {
        RobotEvent::Created { robot, org, name, description, repositories } => {
            let sql = "insert into robots (id, org, name, description, repositories, version, created_at) values ($1, $2, $3, $4, $5, $6, $7)";
            let repositories = serde_json::to_string(&repositories)?;
            run(tx, sql, vec![robot.into(), org.0.into(), name.as_str().into(), description.into(), repositories.into(), version, at.at.into()]).await
        }
        RobotEvent::Changed { robot, description, repositories, .. } => {
            let sql = "update robots set description = $2, repositories = $3, version = $4 where id = $1";
            run(tx, sql, vec![robot.into(), description.into(), serde_json::to_string(&repositories)?.into(), version]).await
        }
        RobotEvent::Suspended { robot, reason, .. } => {
            run(tx, "update robots set suspended_reason = $2, version = $3 where id = $1", vec![robot.into(), reason.into(), version]).await
        }
        RobotEvent::Resumed { robot, .. } => {
            run(tx, "update robots set suspended_reason = null, version = $2 where id = $1", vec![robot.into(), version]).await
        }
        RobotEvent::Deleted { robot, .. } => {
            run(tx, "delete from team_members where subject = $1", vec![format!("robot:{robot}").into()]).await?;
            run(tx, "delete from robots where id = $1", vec![robot.into()]).await
        }
    }
}
