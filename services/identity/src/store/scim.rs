//! Provisioning: its tokens, and what a directory outside calls our people and teams.

use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use sqlx::PgPool;

pub const TABLES: (&str, &str) = (
    "identity-0011-scim",
    "alter table scim_links add column user_name text, add column user_name_key text;
     create unique index scim_links_user_name on scim_links (org, user_name_key) where user_name_key is not null;",
);

/// What a directory says of people that is of no use here, sealed under the person's own key.
pub const ATTRIBUTES: &str = "alter table scim_links add column attributes text;";

#[derive(Clone, Debug)]
pub struct ScimToken {
    pub id: Uuid,
    pub org: Uuid,
    pub name: String,
    pub hint: String,
    pub created_by: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub last_used_at: Option<OffsetDateTime>,
}

crate::store::row!(ScimToken { id, org, name, hint, created_by, created_at, expires_at, last_used_at });

const TOKEN: &str = "id, org, name, hint, created_by, created_at, expires_at, last_used_at";

/// What is kept of one resource for one organisation. Texts are sealed; keys are keyed hashes.
#[derive(Clone, Debug)]
pub struct Link {
    pub org: Uuid,
    pub kind: String,
    pub id: Uuid,
    pub external_key: Option<String>,
    pub external_id: Option<String>,
    pub user_name_key: Option<String>,
    pub user_name: Option<String>,
    /// Made by the directory, so it may change and remove the person.
    pub managed: bool,
    pub created_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
    /// `domain::scim::kept` as JSON, sealed under the person's key. Groups have none.
    pub attributes: Option<String>,
}

crate::store::row!(Link { org, kind, id, external_key, external_id, user_name_key, user_name, managed, created_at, changed_at, attributes });

const LINK: &str = "org, kind, id, external_key, external_id, user_name_key, user_name, managed, created_at, changed_at, attributes";

fn sql(text: String) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(text)
}

pub async fn insert_token(pool: &PgPool, token: &ScimToken, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("insert into scim_tokens (id, org, name, hint, hash, created_by, created_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(token.id)
        .bind(token.org)
        .bind(&token.name)
        .bind(&token.hint)
        .bind(hash)
        .bind(&token.created_by)
        .bind(token.created_at)
        .bind(token.expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn tokens(pool: &PgPool, org: OrgId) -> Result<Vec<ScimToken>, sqlx::Error> {
    sqlx::query_as(sql(format!("select {TOKEN} from scim_tokens where org = $1 and revoked_at is null order by created_at"))).bind(org.0).fetch_all(pool).await
}

/// The living token of a hash; notes the use, at most once a minute.
pub async fn find_token(pool: &PgPool, hash: &[u8], now: OffsetDateTime) -> Result<Option<ScimToken>, sqlx::Error> {
    let text = format!("select {TOKEN} from scim_tokens where hash = $1 and revoked_at is null and expires_at > $2");
    let found: Option<ScimToken> = sqlx::query_as(sql(text)).bind(hash).bind(now).fetch_optional(pool).await?;
    if let Some(token) = &found {
        sqlx::query("update scim_tokens set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at < $2 - interval '1 minute')")
            .bind(token.id)
            .bind(now)
            .execute(pool)
            .await?;
    }
    Ok(found)
}

pub async fn revoke_token(pool: &PgPool, org: OrgId, id: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let text = "update scim_tokens set revoked_at = $3 where id = $2 and org = $1 and revoked_at is null";
    Ok(sqlx::query(text).bind(org.0).bind(id).bind(now).execute(pool).await?.rows_affected() > 0)
}

pub async fn links(pool: &PgPool, org: OrgId, kind: &str) -> Result<Vec<Link>, sqlx::Error> {
    sqlx::query_as(sql(format!("select {LINK} from scim_links where org = $1 and kind = $2"))).bind(org.0).bind(kind).fetch_all(pool).await
}

pub async fn link(pool: &PgPool, org: OrgId, kind: &str, id: Uuid) -> Result<Option<Link>, sqlx::Error> {
    let text = format!("select {LINK} from scim_links where org = $1 and kind = $2 and id = $3");
    sqlx::query_as(sql(text)).bind(org.0).bind(kind).bind(id).fetch_optional(pool).await
}

/// By the hash of the name or of the id that the directory outside uses.
pub async fn link_by_key(pool: &PgPool, org: OrgId, kind: &str, column: Key, key: &str) -> Result<Option<Link>, sqlx::Error> {
    let column = match column {
        Key::External => "external_key",
        Key::UserName => "user_name_key",
    };
    let text = format!("select {LINK} from scim_links where org = $1 and kind = $2 and {column} = $3");
    sqlx::query_as(sql(text)).bind(org.0).bind(kind).bind(key).fetch_optional(pool).await
}

#[derive(Clone, Copy)]
pub enum Key {
    External,
    UserName,
}

/// `false`: the outside id or name is another resource's already.
pub async fn put_link(pool: &PgPool, link: &Link) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into scim_links (org, kind, id, external_key, external_id, user_name_key, user_name, managed, created_at, changed_at, attributes)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (org, kind, id) do update set external_key = excluded.external_key, external_id = excluded.external_id,
            user_name_key = excluded.user_name_key, user_name = excluded.user_name, changed_at = excluded.changed_at, attributes = excluded.attributes",
    )
    .bind(link.org)
    .bind(&link.kind)
    .bind(link.id)
    .bind(&link.external_key)
    .bind(&link.external_id)
    .bind(&link.user_name_key)
    .bind(&link.user_name)
    .bind(link.managed)
    .bind(link.created_at)
    .bind(link.changed_at)
    .bind(&link.attributes)
    .execute(pool)
    .await;
    match done {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error),
    }
}

/// What directories keep of a person, in whatever organisation.
pub async fn links_of_person(pool: &PgPool, user: Uuid) -> Result<Vec<Link>, sqlx::Error> {
    sqlx::query_as(sql(format!("select {LINK} from scim_links where kind = 'User' and id = $1 order by org"))).bind(user).fetch_all(pool).await
}

pub async fn delete_link(pool: &PgPool, org: OrgId, kind: &str, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from scim_links where org = $1 and kind = $2 and id = $3").bind(org.0).bind(kind).bind(id).execute(pool).await?;
    Ok(())
}

/// The members of an organisation in the order in which they came, and how many there are.
pub async fn member_page(pool: &PgPool, org: OrgId, offset: u64, limit: u64) -> Result<(Vec<Uuid>, i64), sqlx::Error> {
    let ids = sqlx::query_scalar("select user_id from members where org = $1 order by added_at, user_id offset $2 limit $3")
        .bind(org.0)
        .bind(offset.cast_signed())
        .bind(limit.cast_signed())
        .fetch_all(pool)
        .await?;
    let total = sqlx::query_scalar("select count(*) from members where org = $1").bind(org.0).fetch_one(pool).await?;
    Ok((ids, total))
}

/// Who is in which team of an organisation.
pub async fn team_members(pool: &PgPool, org: OrgId) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    sqlx::query_as("select team, subject from team_members where org = $1 order by team, subject").bind(org.0).fetch_all(pool).await
}
