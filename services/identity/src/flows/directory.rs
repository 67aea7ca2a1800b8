//! Read model of users, organisations and bindings. Opens sealed names only to hash them for lookups, and erases the
//! key of a deleted person: that is idempotent, so a rebuild or a repeated event does no harm.

use async_trait::async_trait;
use gantry_contract::identity::{BindingEvent, OrgEvent, UserEvent};
use gantry_es::{Recorded, Sealed};
use gantry_es_pg::{Keyring, KeyringError, Projection};
use gantry_kernel::{Scope, UserId};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QueryFilter, Statement};

use crate::app::secrets::Lookup;
use crate::store::entities::{binding, member, org, project, space, user};

pub struct Directory {
    pub keyring: Keyring,
    pub lookup: Lookup,
}

#[async_trait]
impl Projection for Directory {
    fn name(&self) -> &'static str {
        "directory"
    }

    fn version(&self) -> i32 {
        2
    }

    fn ddl(&self) -> &'static str {
        "create table users (
            id uuid primary key, username_key text not null, email_key text not null, username text not null, email text not null,
            display_name text not null, password_hash text, must_change_password boolean not null, suspended_reason text,
            version bigint not null, created_at timestamptz not null);
         create table user_terms (term bytea not null, user_id uuid not null, primary key (term, user_id));
         create index on user_terms (user_id);
         create unique index on users (username_key);
         create index on users (email_key);
         create table orgs (
            id uuid primary key, name text not null unique, display_name text not null, owner uuid not null,
            version bigint not null, created_at timestamptz not null);
         create table members (org uuid not null, user_id uuid not null, added_at timestamptz not null, primary key (org, user_id));
         create index on members (user_id);
         create table projects (
            id uuid primary key, org uuid not null, name text not null, public boolean not null, created_at timestamptz not null,
            unique (org, name));
         create table spaces (
            id uuid primary key, org uuid not null, project uuid not null, name text not null, created_at timestamptz not null,
            unique (project, name));
         create table bindings (
            id uuid primary key, subject text not null, role text not null, scope text not null, condition text, created_at timestamptz not null);
         create index on bindings (subject);
         create index on bindings (scope);
         create index on bindings (role);"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["users", "user_terms", "orgs", "members", "projects", "spaces", "bindings"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<UserEvent>() {
            self.apply_user(tx, event, event.decode()?).await
        } else if event.is::<OrgEvent>() {
            apply_org(tx, event, event.decode()?).await
        } else if event.is::<BindingEvent>() {
            apply_binding(tx, event, event.decode()?).await
        } else {
            Ok(())
        }
    }
}

impl Directory {
    async fn apply_user(&self, tx: &DatabaseTransaction, at: &Recorded, event: UserEvent) -> anyhow::Result<()> {
        let id = match event {
            UserEvent::Registered { user, username, email, display_name, password_hash, must_change_password, .. } => {
                // Erased since: a later event removes the row, and until then nobody may find it.
                let (Some(username_key), Some(email_key)) = (self.key(user, &username).await?, self.key(user, &email).await?) else {
                    return Ok(());
                };
                self.index(tx, user, &username, &display_name).await?;
                let row = user::ActiveModel {
                    id: Set(user.0),
                    username_key: Set(username_key),
                    email_key: Set(email_key),
                    username: Set(username.0),
                    email: Set(email.0),
                    display_name: Set(display_name.0),
                    password_hash: Set(password_hash.map(|h| h.0)),
                    must_change_password: Set(must_change_password),
                    suspended_reason: Set(None),
                    version: Set(at.version),
                    created_at: Set(at.at),
                };
                user::Entity::insert(row).exec_without_returning(tx).await?;
                return Ok(());
            }
            UserEvent::ProfileChanged { user, email, display_name } => {
                if let Some(email) = email
                    && let Some(key) = self.key(user, &email).await?
                {
                    let change = [(user::Column::EmailKey, Expr::value(key)), (user::Column::Email, Expr::value(email.0))];
                    update_user(tx, user, change).await?;
                }
                if let Some(name) = display_name {
                    if let Some(row) = user::Entity::find_by_id(user.0).one(tx).await? {
                        self.index(tx, user, &Sealed(row.username), &name).await?;
                    }
                    update_user(tx, user, [(user::Column::DisplayName, Expr::value(name.0))]).await?;
                }
                user
            }
            UserEvent::PasswordChanged { user, password_hash, must_change_password } => {
                let change =
                    [(user::Column::PasswordHash, Expr::value(password_hash.0)), (user::Column::MustChangePassword, Expr::value(must_change_password))];
                update_user(tx, user, change).await?;
                user
            }
            UserEvent::Suspended { user, reason } => {
                update_user(tx, user, [(user::Column::SuspendedReason, Expr::value(reason))]).await?;
                user
            }
            UserEvent::Resumed { user } => {
                update_user(tx, user, [(user::Column::SuspendedReason, Expr::value(Option::<String>::None))]).await?;
                user
            }
            UserEvent::PasswordResetRequired { user, .. } => {
                update_user(tx, user, [(user::Column::MustChangePassword, Expr::value(true))]).await?;
                user
            }
            UserEvent::Merged { user, .. } => user,
            UserEvent::Deleted { user } => {
                user::Entity::delete_by_id(user.0).exec(tx).await?;
                forget_terms(tx, user).await?;
                member::Entity::delete_many().filter(member::Column::UserId.eq(user.0)).exec(tx).await?;
                self.keyring.erase(&subject(user)).await?;
                return Ok(());
            }
        };
        update_user(tx, id, [(user::Column::Version, Expr::value(at.version))]).await
    }

    /// The hashed beginnings by which a person is found: names stay sealed, and who reads the table cannot tell them.
    async fn index(&self, tx: &DatabaseTransaction, user: UserId, username: &Sealed, display_name: &Sealed) -> anyhow::Result<()> {
        let mut terms = std::collections::BTreeSet::new();
        for sealed in [username, display_name] {
            match self.keyring.open(&subject(user), sealed).await {
                Ok(plain) => terms.extend(self.lookup.beginnings(&plain)),
                Err(KeyringError::Erased) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        forget_terms(tx, user).await?;
        let terms: Vec<Vec<u8>> = terms.into_iter().collect();
        let sql = "insert into user_terms (term, user_id) select unnest($1::bytea[]), $2";
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [terms.into(), user.0.into()])).await?;
        Ok(())
    }

    /// The lookup hash of a sealed value; `None` when the person was erased.
    async fn key(&self, user: UserId, sealed: &Sealed) -> anyhow::Result<Option<String>> {
        match self.keyring.open(&subject(user), sealed).await {
            Ok(plain) => Ok(Some(self.lookup.hash(&plain))),
            Err(KeyringError::Erased) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

async fn forget_terms(tx: &DatabaseTransaction, user: UserId) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, "delete from user_terms where user_id = $1", [user.0.into()])).await?;
    Ok(())
}

fn subject(user: UserId) -> String {
    format!("user:{user}")
}

async fn update_user<const N: usize>(tx: &DatabaseTransaction, id: UserId, change: [(user::Column, Expr); N]) -> anyhow::Result<()> {
    let mut update = user::Entity::update_many().filter(user::Column::Id.eq(id.0));
    for (column, value) in change {
        update = update.col_expr(column, value);
    }
    update.exec(tx).await?;
    Ok(())
}

async fn apply_org(tx: &DatabaseTransaction, at: &Recorded, event: OrgEvent) -> anyhow::Result<()> {
    let id = match event {
        OrgEvent::Created { org, name, display_name, owner } => {
            let row = org::ActiveModel {
                id: Set(org.0),
                name: Set(name.to_string()),
                display_name: Set(display_name),
                owner: Set(owner.0),
                version: Set(at.version),
                created_at: Set(at.at),
            };
            org::Entity::insert(row).exec_without_returning(tx).await?;
            return Ok(());
        }
        OrgEvent::Renamed { org, display_name } => {
            let update = org::Entity::update_many().filter(org::Column::Id.eq(org.0));
            update.col_expr(org::Column::DisplayName, Expr::value(display_name)).exec(tx).await?;
            org
        }
        OrgEvent::OwnerChanged { org, owner } => {
            let update = org::Entity::update_many().filter(org::Column::Id.eq(org.0));
            update.col_expr(org::Column::Owner, Expr::value(owner.0)).exec(tx).await?;
            org
        }
        OrgEvent::MemberAdded { org, user } => {
            let row = member::ActiveModel { org: Set(org.0), user_id: Set(user.0), added_at: Set(at.at) };
            member::Entity::insert(row).exec_without_returning(tx).await?;
            org
        }
        OrgEvent::MemberRemoved { org, user } => {
            member::Entity::delete_by_id((org.0, user.0)).exec(tx).await?;
            org
        }
        OrgEvent::ProjectCreated { org, project, name, public, .. } => {
            let row = project::ActiveModel { id: Set(project.0), org: Set(org.0), name: Set(name.to_string()), public: Set(public), created_at: Set(at.at) };
            project::Entity::insert(row).exec_without_returning(tx).await?;
            org
        }
        OrgEvent::ProjectDeleted { org, project, .. } => {
            project::Entity::delete_by_id(project.0).exec(tx).await?;
            forget_scope(tx, Scope::Project(project)).await?;
            org
        }
        OrgEvent::SpaceCreated { org, project, space, name } => {
            let row = space::ActiveModel { id: Set(space.0), org: Set(org.0), project: Set(project.0), name: Set(name.to_string()), created_at: Set(at.at) };
            space::Entity::insert(row).exec_without_returning(tx).await?;
            org
        }
        OrgEvent::SpaceDeleted { org, space, .. } => {
            space::Entity::delete_by_id(space.0).exec(tx).await?;
            forget_scope(tx, Scope::Space(space)).await?;
            org
        }
        OrgEvent::Deleted { org, .. } => {
            org::Entity::delete_by_id(org.0).exec(tx).await?;
            member::Entity::delete_many().filter(member::Column::Org.eq(org.0)).exec(tx).await?;
            return forget_scope(tx, Scope::Org(org)).await;
        }
    };
    let update = org::Entity::update_many().filter(org::Column::Id.eq(id.0));
    update.col_expr(org::Column::Version, Expr::value(at.version)).exec(tx).await?;
    Ok(())
}

async fn forget_scope(tx: &DatabaseTransaction, scope: Scope) -> anyhow::Result<()> {
    binding::Entity::delete_many().filter(binding::Column::Scope.eq(scope.to_string())).exec(tx).await?;
    Ok(())
}

async fn apply_binding(tx: &DatabaseTransaction, at: &Recorded, event: BindingEvent) -> anyhow::Result<()> {
    match event {
        BindingEvent::Granted { binding, subject, role, scope, condition } => {
            let row = binding::ActiveModel {
                id: Set(binding.0),
                subject: Set(subject),
                role: Set(role.to_string()),
                scope: Set(scope.to_string()),
                condition: Set(condition.map(|c| serde_json::to_string(&c)).transpose()?),
                created_at: Set(at.at),
            };
            binding::Entity::insert(row).exec_without_returning(tx).await?;
        }
        BindingEvent::Revoked { binding, .. } => {
            binding::Entity::delete_by_id(binding.0).exec(tx).await?;
        }
    }
    Ok(())
}
