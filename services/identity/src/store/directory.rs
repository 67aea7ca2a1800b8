//! Queries of the directory. The tenant comes first wherever there is one.

use std::collections::HashSet;

use gantry_kernel::{BindingId, OrgId, ProjectId, Uuid};
use sea_orm::{ColumnTrait, Condition, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::store::entities::{binding, member, org, project, space, user};

pub async fn user(db: &DatabaseConnection, id: Uuid) -> Result<Option<user::Model>, DbErr> {
    user::Entity::find_by_id(id).one(db).await
}

/// A person's columns for statements that read them along with something else, from `users u`; see [`user_along`].
pub const ALONG: &str = "u.id as along_id, u.username_key, u.email_key, u.username, u.email, u.display_name, u.password_hash, u.must_change_password,
    u.suspended_reason, u.version, u.created_at as along_created_at";

/// The person of a row with the columns [`ALONG`]; none where an outer join found nobody.
pub fn user_along(row: &PgRow) -> Result<Option<user::Model>, sqlx::Error> {
    let Some(id) = row.try_get::<Option<Uuid>, _>("along_id")? else { return Ok(None) };
    Ok(Some(user::Model {
        id,
        username_key: row.try_get("username_key")?,
        email_key: row.try_get("email_key")?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        display_name: row.try_get("display_name")?,
        password_hash: row.try_get("password_hash")?,
        must_change_password: row.try_get("must_change_password")?,
        suspended_reason: row.try_get("suspended_reason")?,
        version: row.try_get("version")?,
        created_at: row.try_get("along_created_at")?,
    }))
}

/// By the keyed hash of a user name or an e-mail address. A name wins over somebody's address. One question whoever it is: a second one
/// after a first in vain would tell by its time who is there.
pub async fn user_by_key(db: &DatabaseConnection, key: &str) -> Result<Option<user::Model>, DbErr> {
    let either = Condition::any().add(user::Column::UsernameKey.eq(key)).add(user::Column::EmailKey.eq(key));
    let found = user::Entity::find().filter(either).limit(2).all(db).await?;
    Ok(found.into_iter().max_by_key(|row| row.username_key == key))
}

pub async fn users_by_ids(db: &DatabaseConnection, ids: Vec<Uuid>) -> Result<Vec<user::Model>, DbErr> {
    user::Entity::find().filter(user::Column::Id.is_in(ids)).all(db).await
}

/// In the order of creation, after `after`.
pub async fn users(db: &DatabaseConnection, after: Option<Uuid>, limit: u64) -> Result<Vec<user::Model>, DbErr> {
    let mut find = user::Entity::find().order_by_asc(user::Column::Id).limit(limit);
    if let Some(after) = after {
        find = find.filter(user::Column::Id.gt(after));
    }
    find.all(db).await
}

pub async fn org(db: &DatabaseConnection, name: &str) -> Result<Option<org::Model>, DbErr> {
    org::Entity::find().filter(org::Column::Name.eq(name)).one(db).await
}

pub async fn orgs_by_ids(db: &DatabaseConnection, ids: Vec<Uuid>) -> Result<Vec<org::Model>, DbErr> {
    org::Entity::find().filter(org::Column::Id.is_in(ids)).all(db).await
}

/// By name, after `after`; `among` limits to these.
pub async fn orgs(db: &DatabaseConnection, among: Option<Vec<Uuid>>, after: Option<&str>, limit: u64) -> Result<Vec<org::Model>, DbErr> {
    let mut find = org::Entity::find().order_by_asc(org::Column::Name).limit(limit);
    if let Some(ids) = among {
        find = find.filter(org::Column::Id.is_in(ids));
    }
    if let Some(after) = after {
        find = find.filter(org::Column::Name.gt(after));
    }
    find.all(db).await
}

pub async fn is_member(db: &DatabaseConnection, org: OrgId, person: Uuid) -> Result<bool, DbErr> {
    Ok(member::Entity::find_by_id((org.0, person)).one(db).await?.is_some())
}

/// Everybody in an organisation, by id.
pub async fn member_ids(db: &DatabaseConnection, org: OrgId) -> Result<HashSet<Uuid>, DbErr> {
    let ids = member::Entity::find().select_only().column(member::Column::UserId).filter(member::Column::Org.eq(org.0));
    Ok(ids.into_tuple::<Uuid>().all(db).await?.into_iter().collect())
}

pub async fn members(db: &DatabaseConnection, org: OrgId, after: Option<Uuid>, limit: u64) -> Result<Vec<member::Model>, DbErr> {
    let mut find = member::Entity::find().filter(member::Column::Org.eq(org.0)).order_by_asc(member::Column::UserId).limit(limit);
    if let Some(after) = after {
        find = find.filter(member::Column::UserId.gt(after));
    }
    find.all(db).await
}

/// Whether two people share an organisation: only then may one learn the other's name.
pub async fn colleagues(db: &DatabaseConnection, person: Uuid) -> Result<Vec<Uuid>, DbErr> {
    let mine = member::Entity::find().select_only().column(member::Column::Org).filter(member::Column::UserId.eq(person));
    let find = member::Entity::find().filter(member::Column::Org.in_subquery(sea_orm::QueryTrait::into_query(mine)));
    Ok(find.all(db).await?.into_iter().map(|m| m.user_id).collect())
}

pub async fn projects(db: &DatabaseConnection, org: OrgId, after: Option<&str>, limit: u64) -> Result<Vec<project::Model>, DbErr> {
    let mut find = project::Entity::find().filter(project::Column::Org.eq(org.0)).order_by_asc(project::Column::Name).limit(limit);
    if let Some(after) = after {
        find = find.filter(project::Column::Name.gt(after));
    }
    find.all(db).await
}

pub async fn project(db: &DatabaseConnection, org: OrgId, name: &str) -> Result<Option<project::Model>, DbErr> {
    project::Entity::find().filter(project::Column::Org.eq(org.0)).filter(project::Column::Name.eq(name)).one(db).await
}

pub async fn spaces(db: &DatabaseConnection, org: OrgId, of: ProjectId) -> Result<Vec<space::Model>, DbErr> {
    let find = space::Entity::find().filter(space::Column::Org.eq(org.0)).filter(space::Column::Project.eq(of.0));
    find.order_by_asc(space::Column::Name).all(db).await
}

pub async fn binding(db: &DatabaseConnection, id: BindingId) -> Result<Option<binding::Model>, DbErr> {
    binding::Entity::find_by_id(id.0).one(db).await
}

pub async fn bindings_of(db: &DatabaseConnection, subject: &str) -> Result<Vec<binding::Model>, DbErr> {
    binding::Entity::find().filter(binding::Column::Subject.eq(subject)).order_by_asc(binding::Column::Id).all(db).await
}

pub async fn bindings_at(db: &DatabaseConnection, scopes: Vec<String>, after: Option<Uuid>, limit: u64) -> Result<Vec<binding::Model>, DbErr> {
    let mut find = binding::Entity::find().filter(binding::Column::Scope.is_in(scopes)).order_by_asc(binding::Column::Id).limit(limit);
    if let Some(after) = after {
        find = find.filter(binding::Column::Id.gt(after));
    }
    find.all(db).await
}

pub async fn owns_any(db: &DatabaseConnection, person: Uuid) -> Result<bool, DbErr> {
    Ok(org::Entity::find().filter(org::Column::Owner.eq(person)).one(db).await?.is_some())
}

/// Bindings of one role, as its text.
pub async fn bindings_with(db: &DatabaseConnection, role: &str, limit: u64) -> Result<Vec<binding::Model>, DbErr> {
    binding::Entity::find().filter(binding::Column::Role.eq(role)).order_by_asc(binding::Column::Id).limit(limit).all(db).await
}

/// The names of the organisations a person is a member of.
pub async fn org_names_of(pool: &sqlx::PgPool, person: gantry_kernel::UserId) -> Result<Vec<String>, sqlx::Error> {
    let sql = "select o.name from members m join orgs o on o.id = m.org where m.user_id = $1 order by o.name limit 500";
    sqlx::query_scalar(sql).bind(person.0).fetch_all(pool).await
}
