//! Queries of teams, custom roles and service accounts. The tenant comes first wherever there is one.

use gantry_contract::identity::RepositoryGrant;
use gantry_kernel::{OffsetDateTime, OrgId, RoleId, TeamId, Uuid};
use sqlx::PgPool;

#[derive(Clone, Debug)]
pub struct TeamRow {
    pub id: Uuid,
    pub org: Uuid,
    pub name: String,
    pub display_name: String,
    pub parent: Option<Uuid>,
    pub version: i64,
    pub created_at: OffsetDateTime,
}

crate::store::row!(TeamRow { id, org, name, display_name, parent, version, created_at });

#[derive(Clone, Debug)]
pub struct TeamMember {
    pub team: Uuid,
    pub subject: String,
    pub added_at: OffsetDateTime,
}

crate::store::row!(TeamMember { team, subject, added_at });

#[derive(Clone, Debug)]
pub struct RoleRow {
    pub id: Uuid,
    pub org: Option<Uuid>,
    pub name: String,
    pub description: String,
    pub permissions: String,
    pub version: i64,
    pub created_at: OffsetDateTime,
}

crate::store::row!(RoleRow { id, org, name, description, permissions, version, created_at });

#[derive(Clone, Debug)]
pub struct RobotRow {
    pub id: Uuid,
    pub org: Uuid,
    pub name: String,
    pub description: String,
    pub repositories: String,
    pub suspended_reason: Option<String>,
    pub version: i64,
    pub created_at: OffsetDateTime,
}

crate::store::row!(RobotRow { id, org, name, description, repositories, suspended_reason, version, created_at });

impl RobotRow {
    /// What the projection wrote reads back; anything else grants nothing.
    pub fn grants(&self) -> Vec<RepositoryGrant> {
        serde_json::from_str(&self.repositories).unwrap_or_default()
    }
}

const TEAM: &str = "id, org, name, display_name, parent, version, created_at";
const ROLE: &str = "id, org, name, description, permissions, version, created_at";
const ROBOT: &str = "id, org, name, description, repositories, suspended_reason, version, created_at";

fn sql(text: String) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(text)
}

/// By name, after `after`.
pub async fn teams(pool: &PgPool, org: OrgId, after: Option<&str>, limit: u64) -> Result<Vec<TeamRow>, sqlx::Error> {
    let text = format!("select {TEAM} from teams where org = $1 and ($2::text is null or name > $2) order by name limit $3");
    sqlx::query_as(sql(text)).bind(org.0).bind(after).bind(limit.cast_signed()).fetch_all(pool).await
}

pub async fn team(pool: &PgPool, org: OrgId, name: &str) -> Result<Option<TeamRow>, sqlx::Error> {
    sqlx::query_as(sql(format!("select {TEAM} from teams where org = $1 and name = $2"))).bind(org.0).bind(name).fetch_optional(pool).await
}

pub async fn team_by_id(pool: &PgPool, org: OrgId, id: TeamId) -> Result<Option<TeamRow>, sqlx::Error> {
    sqlx::query_as(sql(format!("select {TEAM} from teams where org = $1 and id = $2"))).bind(org.0).bind(id.0).fetch_optional(pool).await
}

pub async fn team_members(pool: &PgPool, org: OrgId, team: TeamId, after: Option<&str>, limit: u64) -> Result<Vec<TeamMember>, sqlx::Error> {
    let text = "select team, subject, added_at from team_members where org = $1 and team = $2 and ($3::text is null or subject > $3) order by subject limit $4";
    sqlx::query_as(text).bind(org.0).bind(team.0).bind(after).bind(limit.cast_signed()).fetch_all(pool).await
}

/// In which teams a subject is, in all organisations: with the organisation of each.
pub async fn memberships_of(pool: &PgPool, subject: &str) -> Result<Vec<(Uuid, Uuid)>, sqlx::Error> {
    sqlx::query_as("select org, team from team_members where subject = $1 order by team").bind(subject).fetch_all(pool).await
}

/// The platform's roles and those of `org`.
pub async fn roles(pool: &PgPool, org: Option<OrgId>) -> Result<Vec<RoleRow>, sqlx::Error> {
    let text = format!("select {ROLE} from custom_roles where org is null or org = $1 order by name, id");
    sqlx::query_as(sql(text)).bind(org.map(|o| o.0)).fetch_all(pool).await
}

pub async fn role(pool: &PgPool, id: RoleId) -> Result<Option<RoleRow>, sqlx::Error> {
    sqlx::query_as(sql(format!("select {ROLE} from custom_roles where id = $1"))).bind(id.0).fetch_optional(pool).await
}

/// By name: the organisation's own before the platform's.
pub async fn role_named(pool: &PgPool, org: Option<OrgId>, name: &str) -> Result<Option<RoleRow>, sqlx::Error> {
    let text = format!("select {ROLE} from custom_roles where name = $2 and (org is null or org = $1) order by org nulls last limit 1");
    sqlx::query_as(sql(text)).bind(org.map(|o| o.0)).bind(name).fetch_optional(pool).await
}

pub async fn robots(pool: &PgPool, org: OrgId, after: Option<&str>, limit: u64) -> Result<Vec<RobotRow>, sqlx::Error> {
    let text = format!("select {ROBOT} from robots where org = $1 and ($2::text is null or name > $2) order by name limit $3");
    sqlx::query_as(sql(text)).bind(org.0).bind(after).bind(limit.cast_signed()).fetch_all(pool).await
}

pub async fn robot(pool: &PgPool, org: OrgId, name: &str) -> Result<Option<RobotRow>, sqlx::Error> {
    sqlx::query_as(sql(format!("select {ROBOT} from robots where org = $1 and name = $2"))).bind(org.0).bind(name).fetch_optional(pool).await
}

/// For a key or a subject, which do not say the organisation.
pub async fn robot_by_id(pool: &PgPool, id: Uuid) -> Result<Option<RobotRow>, sqlx::Error> {
    sqlx::query_as(sql(format!("select {ROBOT} from robots where id = $1"))).bind(id).fetch_optional(pool).await
}

/// How much an organisation has of what a deletion takes along: teams, custom roles, service accounts, members.
pub async fn counts(pool: &PgPool, org: OrgId) -> Result<(i64, i64, i64, i64), sqlx::Error> {
    sqlx::query_as(
        "select (select count(*) from teams where org = $1), (select count(*) from custom_roles where org = $1),
                (select count(*) from robots where org = $1), (select count(*) from members where org = $1)",
    )
    .bind(org.0)
    .fetch_one(pool)
    .await
}
