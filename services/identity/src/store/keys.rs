//! Signing keys and the service's own secrets. Private parts are sealed before they come here.

use gantry_kernel::OffsetDateTime;
use sqlx::PgPool;

#[derive(Clone, Debug)]
pub struct SigningKeyRow {
    pub kid: String,
    pub alg: String,
    pub public_jwk: String,
    pub private_sealed: String,
    pub created_at: OffsetDateTime,
    pub active_at: OffsetDateTime,
}

crate::store::row!(SigningKeyRow { kid, alg, public_jwk, private_sealed, created_at, active_at });

pub async fn all(pool: &PgPool) -> Result<Vec<SigningKeyRow>, sqlx::Error> {
    sqlx::query_as("select kid, alg, public_jwk, private_sealed, created_at, active_at from signing_keys order by active_at").fetch_all(pool).await
}

pub async fn insert(pool: &PgPool, row: &SigningKeyRow) -> Result<(), sqlx::Error> {
    sqlx::query("insert into signing_keys (kid, alg, public_jwk, private_sealed, created_at, active_at) values ($1, $2, $3, $4, $5, $6)")
        .bind(&row.kid)
        .bind(&row.alg)
        .bind(&row.public_jwk)
        .bind(&row.private_sealed)
        .bind(row.created_at)
        .bind(row.active_at)
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn delete(pool: &PgPool, kids: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query("delete from signing_keys where kid = any($1)").bind(kids).execute(pool).await?;
    Ok(())
}

pub async fn secret(pool: &PgPool, name: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select sealed from secrets where name = $1").bind(name).fetch_optional(pool).await
}

/// Keeps `sealed` under `name` unless another replica was first.
pub async fn offer_secret(pool: &PgPool, name: &str, sealed: &str) -> Result<(), sqlx::Error> {
    sqlx::query("insert into secrets (name, sealed) values ($1, $2) on conflict do nothing").bind(name).bind(sealed).execute(pool).await?;
    Ok(())
}
