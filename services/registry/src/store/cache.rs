//! When a cache last compared what it has with its upstream, and how the upstreams are.

use gantry_kernel::{OffsetDateTime, Uuid};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

/// One tag or list of referrers of a cached repository.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Check {
    pub repository: String,
    pub reference: String,
    pub checked_at: OffsetDateTime,
    pub next_at: OffsetDateTime,
    /// Why it is served although the upstream did not confirm it.
    pub error: Option<String>,
}

/// When it is to be compared again.
///
/// # Errors
/// Database.
pub async fn next(db: &impl ConnectionTrait, repository: &str, reference: &str) -> Result<Option<OffsetDateTime>, DbErr> {
    let sql = "select repository, reference, checked_at, next_at, error from cache_checks where repository = $1 and reference = $2";
    let values = [repository.into(), reference.into()];
    Ok(Check::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).one(db).await?.map(|c| c.next_at))
}

/// # Errors
/// Database.
pub async fn note(db: &impl ConnectionTrait, check: &Check) -> Result<(), DbErr> {
    let sql = "insert into cache_checks (repository, reference, checked_at, next_at, error) values ($1, $2, $3, $4, $5)
        on conflict (repository, reference) do update set checked_at = excluded.checked_at, next_at = excluded.next_at, error = excluded.error";
    let values = [check.repository.as_str().into(), check.reference.as_str().into(), check.checked_at.into(), check.next_at.into(), check.error.clone().into()];
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// What is known of repositories whose names begin with `prefix`, after `last` by repository and reference.
///
/// # Errors
/// Database.
pub async fn below(db: &impl ConnectionTrait, prefix: &str, last: (&str, &str), limit: u64) -> Result<Vec<Check>, DbErr> {
    let sql = "select repository, reference, checked_at, next_at, error from cache_checks
        where starts_with(repository, $1) and (repository, reference) > ($2, $3) order by repository, reference limit $4";
    let values = [prefix.into(), last.0.into(), last.1.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    Check::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await
}

/// Forgets what is known of images that are gone.
///
/// # Errors
/// Database.
pub async fn forget(db: &impl ConnectionTrait, repository: &str, references: &[String]) -> Result<(), DbErr> {
    let sql = "delete from cache_checks where repository = $1 and reference = any($2)";
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repository.into(), references.to_vec().into()])).await?;
    Ok(())
}

/// How an upstream is.
#[derive(Clone, Debug, Default, FromQueryResult)]
pub struct State {
    pub ok_at: Option<OffsetDateTime>,
    pub error_at: Option<OffsetDateTime>,
    pub error: Option<String>,
}

/// # Errors
/// Database.
pub async fn state(db: &impl ConnectionTrait, project: Uuid, name: &str) -> Result<State, DbErr> {
    let sql = "select ok_at, error_at, error from upstream_states where project = $1 and name = $2";
    Ok(State::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.into(), name.into()])).one(db).await?.unwrap_or_default())
}

/// Notes how the upstream answered; `error` is none when it was well.
///
/// # Errors
/// Database.
pub async fn answered(db: &impl ConnectionTrait, project: Uuid, name: &str, at: OffsetDateTime, error: Option<&str>) -> Result<(), DbErr> {
    let sql = "insert into upstream_states as s (project, name, ok_at, error_at, error)
        values ($1, $2, case when $4::text is null then $3 end, case when $4::text is not null then $3 end, $4)
        on conflict (project, name) do update set ok_at = coalesce(excluded.ok_at, s.ok_at), error_at = coalesce(excluded.error_at, s.error_at),
            error = excluded.error";
    let values = [project.into(), name.into(), at.into(), error.map(str::to_owned).into()];
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}
