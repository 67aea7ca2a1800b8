//! Generated passwords, sealed.

use gantry_es::Sealed;
use gantry_kernel::Uuid;
use sqlx::PgPool;

/// # Errors
/// When the database refuses.
pub async fn put(pool: &PgPool, instance: Uuid, sealed: &Sealed) -> Result<(), sqlx::Error> {
    sqlx::query("insert into secrets (instance, sealed) values ($1, $2) on conflict (instance) do nothing")
        .bind(instance)
        .bind(&sealed.0)
        .execute(pool)
        .await?;
    Ok(())
}

/// # Errors
/// When the database refuses.
pub async fn get(pool: &PgPool, instance: Uuid) -> Result<Option<Sealed>, sqlx::Error> {
    let sealed: Option<String> = sqlx::query_scalar("select sealed from secrets where instance = $1").bind(instance).fetch_optional(pool).await?;
    Ok(sealed.map(Sealed))
}

/// # Errors
/// When the database refuses.
pub async fn delete(pool: &PgPool, instance: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from secrets where instance = $1").bind(instance).execute(pool).await?;
    Ok(())
}
