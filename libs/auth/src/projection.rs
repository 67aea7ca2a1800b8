//! Identity's bindings and places in the service's own tables, and from there in memory.
//!
//! Rows are never removed but marked, with the position that changed them, so that every replica can follow by
//! reading what is newer than what it has.

use async_trait::async_trait;
use gantry_contract::identity::{BindingEvent, OrgEvent, UserEvent};
use gantry_es::Recorded;
use gantry_es_pg::{Db, Projection};
use gantry_kernel::{BindingId, Name, OrgId, ProjectId, Role, Scope, SpaceId, Uuid};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

use crate::places::{OrgRef, ProjectRef, SpaceRef};
use crate::rights::Auth;

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

    fn ddl(&self) -> &'static str {
        "create table auth_bindings (id uuid primary key, subject text not null, role text not null, scope text not null, gone boolean not null, position bigint not null);
         create index auth_bindings_position on auth_bindings (position);
         create table auth_places (id uuid primary key, level text not null, parent uuid, name text not null, public boolean not null, gone boolean not null, position bigint not null);
         create index auth_places_position on auth_places (position)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["auth_bindings", "auth_places"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        let at: Value = event.position.into();
        if event.is::<BindingEvent>() {
            let (binding, subject, role, scope, gone) = match event.decode::<BindingEvent>()? {
                BindingEvent::Granted { binding, subject, role, scope } => (binding, subject, role, scope, false),
                BindingEvent::Revoked { binding, subject, role, scope } => (binding, subject, role, scope, true),
            };
            let sql = "insert into auth_bindings (id, subject, role, scope, gone, position) values ($1, $2, $3, $4, $5, $6)
                       on conflict (id) do update set gone = excluded.gone, position = excluded.position";
            return run(tx, sql, vec![binding.0.into(), subject.into(), role.as_str().into(), scope.to_string().into(), gone.into(), at]).await;
        }
        if event.is::<UserEvent>() {
            let (user, gone) = match event.decode::<UserEvent>()? {
                UserEvent::Suspended { user, .. } | UserEvent::Deleted { user } => (user, true),
                UserEvent::Resumed { user } => (user, false),
                UserEvent::Registered { .. } | UserEvent::ProfileChanged { .. } | UserEvent::PasswordChanged { .. } => return Ok(()),
            };
            // A person who is out has no rights, however long the access token still lives.
            let sql = "insert into auth_places (id, level, parent, name, public, gone, position) values ($1, 'user', null, 'user', false, $2, $3)
                       on conflict (id) do update set gone = excluded.gone, position = excluded.position";
            return run(tx, sql, vec![user.0.into(), gone.into(), at]).await;
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

/// The place and all below it.
async fn gone(tx: &DatabaseTransaction, id: Uuid, at: Value) -> anyhow::Result<()> {
    let sql = "with recursive below as (select id from auth_places where id = $1 union all select p.id from auth_places p join below b on p.parent = b.id)
               update auth_places set gone = true, position = $2 where id in (select id from below)";
    run(tx, sql, vec![id.into(), at]).await
}

impl Auth {
    /// Takes into memory what the tables have after `since`; returns the position now held.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn follow(&self, db: &Db, since: i64) -> anyhow::Result<i64> {
        // Two statements see two states. Reading both up to the checkpoint as it was before them loses nothing: what is
        // committed in between has higher positions and comes next time.
        let sql = "select position from projections where name = 'auth-rights'";
        let row = db.orm.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let upto: i64 = match row {
            Some(row) => row.try_get("", "position")?,
            None => return Ok(since),
        };
        let sql = "select id, level, parent, name, public, gone from auth_places where position > $1 and position <= $2
                   order by case level when 'org' then 0 when 'project' then 1 else 2 end, position";
        let places = db.orm.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [since.into(), upto.into()])).await?;
        let sql = "select id, subject, role, scope, gone from auth_bindings where position > $1 and position <= $2 order by position";
        let bindings = db.orm.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [since.into(), upto.into()])).await?;
        let mut places_read: Vec<(Uuid, String, Option<Uuid>, Name, bool, bool)> = Vec::with_capacity(places.len());
        for row in places {
            let name: String = row.try_get("", "name")?;
            places_read.push((
                row.try_get("", "id")?,
                row.try_get("", "level")?,
                row.try_get("", "parent")?,
                Name::parse(&name)?,
                row.try_get("", "public")?,
                row.try_get("", "gone")?,
            ));
        }
        let mut bindings_read: Vec<(BindingId, String, Role, Scope, bool)> = Vec::with_capacity(bindings.len());
        for row in bindings {
            let (role, scope): (String, String) = (row.try_get("", "role")?, row.try_get("", "scope")?);
            let role = role.parse().map_err(anyhow::Error::msg)?;
            bindings_read.push((BindingId(row.try_get("", "id")?), row.try_get("", "subject")?, role, scope.parse()?, row.try_get("", "gone")?));
        }
        self.write(|rights| {
            for (id, level, parent, name, public, gone) in places_read {
                if level == "user" {
                    rights.set_out(format!("user:{id}"), gone);
                    continue;
                }
                let scope = match level.as_str() {
                    "org" => Scope::Org(OrgId(id)),
                    "project" => Scope::Project(ProjectId(id)),
                    _ => Scope::Space(SpaceId(id)),
                };
                if gone {
                    rights.remove(scope);
                    continue;
                }
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
            for (id, subject, role, scope, gone) in bindings_read {
                if gone { rights.revoke(id) } else { rights.grant(id, subject, role, scope) }
            }
        });
        Ok(upto)
    }
}
