//! What scanners outside were asked and said, per image.

use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde_json::Value;
use sqlx::PgPool;
use time::OffsetDateTime;

/// `waiting`, `done` or `failed`.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub scanner: String,
    pub state: String,
    pub asked_at: OffsetDateTime,
    pub at: Option<OffsetDateTime>,
    pub error: Option<String>,
    /// Name and version as the scanner says them.
    pub identity: Option<Value>,
    pub has_sbom: bool,
}

type Row = (String, String, OffsetDateTime, Option<OffsetDateTime>, Option<String>, Option<Value>, bool);

/// Notes that a scanner is asked. What it found before stays until it answers.
///
/// # Errors
/// Database.
pub async fn ask(pool: &PgPool, (repository, digest): (&str, &str), scanner: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into scanner_reports (repository, digest, scanner, state, asked_at) values ($1, $2, $3, 'waiting', $4)
        on conflict (repository, digest, scanner) do update set state = 'waiting', asked_at = excluded.asked_at, error = null";
    sqlx::query(sql).bind(repository).bind(digest).bind(scanner).bind(now).execute(pool).await?;
    Ok(())
}

/// A question that was put down: which scanner about which image, and when. One that is put anew is another question, and so is one to
/// another scanner of the same name.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub repository: &'a str,
    pub digest: &'a str,
    pub scanner: &'a str,
    /// As it was read.
    pub asked_at: OffsetDateTime,
}

/// Keeps an answer, if its question still stands; whether it does.
///
/// # Errors
/// Database.
pub async fn done(
    pool: &PgPool,
    question: Question<'_>,
    (identity, findings, sbom): (&Value, &Value, Option<&Value>),
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let sql = "update scanner_reports set state = 'done', at = $5, error = null, identity = $6, findings = $7, sbom = $8
        where repository = $1 and digest = $2 and scanner = $3 and asked_at = $4";
    let query = sqlx::query(sql).bind(question.repository).bind(question.digest).bind(question.scanner).bind(question.asked_at);
    Ok(query.bind(now).bind(identity).bind(findings).bind(sbom).execute(pool).await?.rows_affected() > 0)
}

/// What was found before stays.
///
/// # Errors
/// Database.
pub async fn failed(pool: &PgPool, question: Question<'_>, error: &str, last: bool) -> Result<(), sqlx::Error> {
    let sql = "update scanner_reports set error = $5, state = case when $6 then 'failed' else state end
        where repository = $1 and digest = $2 and scanner = $3 and asked_at = $4";
    let query = sqlx::query(sql).bind(question.repository).bind(question.digest).bind(question.scanner).bind(question.asked_at);
    query.bind(error.replace('\0', "")).bind(last).execute(pool).await?;
    Ok(())
}

/// Of an image, all; by the scanner's name.
///
/// # Errors
/// Database.
pub async fn of(pool: &PgPool, repository: &str, digest: &str) -> Result<Vec<Asked>, sqlx::Error> {
    let sql =
        "select scanner, state, asked_at, at, error, identity, sbom is not null from scanner_reports where repository = $1 and digest = $2 order by scanner";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(repository).bind(digest).fetch_all(pool).await?;
    let asked = |(scanner, state, asked_at, at, error, identity, has_sbom)| Asked { scanner, state, asked_at, at, error, identity, has_sbom };
    Ok(rows.into_iter().map(asked).collect())
}

/// What the scanners among `names` found: name and findings each.
///
/// # Errors
/// Database.
pub async fn findings(pool: &PgPool, repository: &str, digest: &str, names: &[String]) -> Result<Vec<(String, Value)>, sqlx::Error> {
    let sql =
        "select scanner, findings from scanner_reports where repository = $1 and digest = $2 and scanner = any($3) and findings is not null order by scanner";
    sqlx::query_as(sql).bind(repository).bind(digest).bind(names).fetch_all(pool).await
}

/// # Errors
/// Database.
pub async fn sbom(pool: &PgPool, repository: &str, digest: &str, scanner: &str) -> Result<Option<Value>, sqlx::Error> {
    let sql = "select sbom from scanner_reports where repository = $1 and digest = $2 and scanner = $3";
    let found: Option<Option<Value>> = sqlx::query_scalar(sql).bind(repository).bind(digest).bind(scanner).fetch_optional(pool).await?;
    Ok(found.flatten())
}

/// Reports of a scanner for a project's images that are older than `before`, so many.
///
/// # Errors
/// Database.
pub async fn stale(pool: &PgPool, project: Uuid, scanner: &str, before: OffsetDateTime, limit: i64) -> Result<Vec<(String, String)>, sqlx::Error> {
    let sql = "select s.repository, s.digest from scanner_reports s join repositories r on r.name = s.repository
        where r.project = $1 and s.scanner = $2 and s.state <> 'waiting' and s.asked_at < $3 order by s.asked_at limit $4";
    sqlx::query_as(sql).bind(project).bind(scanner).bind(before).bind(limit).fetch_all(pool).await
}

/// Forgets an image's reports: all, or those of one scanner.
///
/// # Errors
/// Database.
pub async fn forget(pool: &PgPool, repository: &str, digest: &str, scanner: Option<&str>) -> Result<(), sqlx::Error> {
    let sql = "delete from scanner_reports where repository = $1 and digest = $2 and ($3::text is null or scanner = $3)";
    sqlx::query(sql).bind(repository).bind(digest).bind(scanner).execute(pool).await?;
    Ok(())
}

/// Forgets what a scanner was asked about a project's images until `until`, and said.
///
/// # Errors
/// Database.
pub async fn forget_scanner(tx: &impl ConnectionTrait, project: Uuid, scanner: &str, until: OffsetDateTime) -> Result<(), DbErr> {
    let sql = "delete from scanner_reports s using repositories r where r.name = s.repository and r.project = $1 and s.scanner = $2 and s.asked_at <= $3";
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.into(), scanner.into(), until.into()])).await?;
    Ok(())
}
