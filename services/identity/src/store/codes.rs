//! Authorization codes: used once. A code shown a second time ends what the first use gave (RFC 6749 section 4.1.2).

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::{AssertSqlSafe, FromRow, PgPool, Row};

use crate::store::directory::{ALONG, user_along};
use crate::store::entities::user;

#[derive(Clone, Debug)]
pub struct Code {
    /// The family of refresh tokens that the exchange will start.
    pub family: Uuid,
    pub client_id: String,
    pub user_id: Uuid,
    pub session_id: Uuid,
    pub redirect_uri: String,
    pub challenge: String,
    pub nonce: Option<String>,
    pub scope: String,
    pub auth_time: OffsetDateTime,
    pub amr: String,
    pub expires_at: OffsetDateTime,
    /// `domain::claims::ClaimsRequest` as JSON.
    pub claims: String,
    pub dpop_jkt: Option<String>,
}

crate::store::row!(Code { family, client_id, user_id, session_id, redirect_uri, challenge, nonce, scope, auth_time, amr, expires_at, claims, dpop_jkt });

const COLUMNS: &str = "family, client_id, user_id, session_id, redirect_uri, challenge, nonce, scope, auth_time, amr, expires_at, claims, dpop_jkt";

pub async fn insert(pool: &PgPool, hash: &[u8], code: &Code) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into codes (hash, family, client_id, user_id, session_id, redirect_uri, challenge, nonce, scope, auth_time, amr, expires_at, claims, dpop_jkt)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(hash)
    .bind(code.family)
    .bind(&code.client_id)
    .bind(code.user_id)
    .bind(code.session_id)
    .bind(&code.redirect_uri)
    .bind(&code.challenge)
    .bind(&code.nonce)
    .bind(&code.scope)
    .bind(code.auth_time)
    .bind(&code.amr)
    .bind(code.expires_at)
    .bind(&code.claims)
    .bind(&code.dpop_jkt)
    .execute(pool)
    .await?;
    Ok(())
}

/// A code with what decides whether it counts.
pub struct First {
    pub code: Code,
    /// Its session has not ended.
    pub alive: bool,
    /// Its person, if there still is one.
    pub user: Option<user::Model>,
}

pub enum Taken {
    /// Ours alone: nobody else gets it.
    First(Box<First>),
    /// Was used before.
    Again(Box<Code>),
    Unknown,
}

/// Marks the code as used, whatever comes of it, so that two requests at once cannot both have it.
pub async fn take(pool: &PgPool, hash: &[u8], now: OffsetDateTime) -> Result<Taken, sqlx::Error> {
    let sql = format!(
        "with taken as (
            update codes set used_at = $2 where hash = $1 and used_at is null
            returning {COLUMNS}, exists (select from sessions s where s.id = codes.session_id and s.ended_at is null and s.expires_at > $2) as alive)
         select taken.*, {ALONG} from taken left join users u on u.id = taken.user_id"
    );
    if let Some(row) = sqlx::query(AssertSqlSafe(sql)).bind(hash).bind(now).fetch_optional(pool).await? {
        let first = First { code: Code::from_row(&row)?, alive: row.try_get("alive")?, user: user_along(&row)? };
        return Ok(Taken::First(Box::new(first)));
    }
    let sql = format!("select {COLUMNS} from codes where hash = $1");
    let again: Option<Code> = sqlx::query_as(AssertSqlSafe(sql)).bind(hash).fetch_optional(pool).await?;
    Ok(again.map_or(Taken::Unknown, |code| Taken::Again(Box::new(code))))
}
