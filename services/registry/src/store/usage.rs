//! What each project keeps, counted both ways: every piece of content once, and once per image.

use std::collections::BTreeMap;

use gantry_kernel::{ProjectId, Uuid};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

/// Bytes a project keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct Usage {
    /// Manifests, configs and layers, each once however many images share it: what counts for the quota.
    pub unique_bytes: i64,
    /// The sum over images: what they would be without sharing.
    pub image_bytes: i64,
    pub images: i64,
}

/// # Errors
/// Database.
pub async fn of(db: &impl ConnectionTrait, project: ProjectId) -> Result<Usage, DbErr> {
    let sql = "select unique_bytes, image_bytes, images from project_usage where project = $1";
    Ok(Usage::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.0.into()])).one(db).await?.unwrap_or_default())
}

/// The same, counted from the manifests there are: what [`of`] must always equal.
///
/// # Errors
/// Database.
pub async fn recount(db: &impl ConnectionTrait, project: ProjectId) -> Result<Usage, DbErr> {
    let sql = "with mine as (select m.repository, m.digest, m.size_bytes from manifests m join repositories r on r.name = m.repository where r.project = $1),
        content as (select digest, size_bytes from mine
            union select b.blob, b.size_bytes from manifest_blobs b join mine on mine.repository = b.repository and mine.digest = b.manifest)
        select coalesce((select sum(size_bytes) from (select digest, max(size_bytes) as size_bytes from content group by digest) c), 0)::bigint as unique_bytes,
            (coalesce((select sum(size_bytes) from mine), 0) + coalesce((select sum(b.size_bytes) from manifest_blobs b
                join mine on mine.repository = b.repository and mine.digest = b.manifest), 0))::bigint as image_bytes,
            (select count(*) from mine)::bigint as images";
    Ok(Usage::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.0.into()])).one(db).await?.unwrap_or_default())
}

/// How many of the project's images have each piece of content.
///
/// # Errors
/// Database.
pub async fn uses(db: &impl ConnectionTrait, project: ProjectId, digests: &[String]) -> Result<BTreeMap<String, u64>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        digest: String,
        uses: i64,
    }
    let sql = "select digest, uses::bigint as uses from project_content where project = $1 and digest = any($2)";
    let rows = Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.0.into(), digests.to_vec().into()])).all(db).await?;
    Ok(rows.into_iter().map(|r| (r.digest, r.uses.unsigned_abs())).collect())
}

/// A manifest that a repository keeps.
pub struct Manifest<'a> {
    pub org: Uuid,
    pub project: Uuid,
    pub repository: &'a str,
    pub digest: &'a str,
    /// Not about another one, as a signature is.
    pub image: bool,
}

/// One manifest more. `content` is each of its blobs and itself, once.
///
/// # Errors
/// Database.
pub async fn add(tx: &impl ConnectionTrait, manifest: &Manifest<'_>, content: &[(String, i64)]) -> Result<(), DbErr> {
    let digests: Vec<String> = content.iter().map(|(d, _)| d.clone()).collect();
    let sizes: Vec<i64> = content.iter().map(|(_, s)| *s).collect();
    let sql = "with fresh as (
            insert into project_manifests (repository, digest, project, content, sizes, image) values ($2, $3, $1, $4, $5, $6) on conflict do nothing returning 1),
        counted as (
            insert into project_content (project, digest, size_bytes, uses)
            select $1, c.digest, c.size, 1 from unnest($4::text[], $5::bigint[]) as c (digest, size) where exists (select from fresh)
            on conflict (project, digest) do update set uses = project_content.uses + 1
            returning uses, size_bytes),
        here as (
            insert into repository_content (repository, digest, size_bytes, uses)
            select $2, c.digest, c.size, 1 from unnest($4::text[], $5::bigint[]) as c (digest, size) where exists (select from fresh)
            on conflict (repository, digest) do update set uses = repository_content.uses + 1
            returning uses, size_bytes),
        mine as (
            insert into repository_usage (repository, org, project, bytes, images, manifests, tags)
            select $2, $7, $1, coalesce(sum(size_bytes) filter (where uses = 1), 0)::bigint, case when $6 then 1 else 0 end, 1, 0 from here
            having exists (select from fresh)
            on conflict (repository) do update set org = excluded.org, project = excluded.project, bytes = repository_usage.bytes + excluded.bytes,
                images = repository_usage.images + excluded.images, manifests = repository_usage.manifests + 1)
        insert into project_usage (project, unique_bytes, image_bytes, images)
        select $1, coalesce(sum(size_bytes) filter (where uses = 1), 0)::bigint, coalesce(sum(size_bytes), 0)::bigint, 1 from counted
        having exists (select from fresh)
        on conflict (project) do update set unique_bytes = project_usage.unique_bytes + excluded.unique_bytes,
            image_bytes = project_usage.image_bytes + excluded.image_bytes, images = project_usage.images + 1";
    let Manifest { org, project, repository, digest, image } = *manifest;
    let values = [project.into(), repository.into(), digest.into(), digests.into(), sizes.into(), image.into(), org.into()];
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// One manifest less.
///
/// # Errors
/// Database.
pub async fn take(tx: &impl ConnectionTrait, repository: &str, manifest: &str) -> Result<(), DbErr> {
    let sql = "with gone as (delete from project_manifests where repository = $1 and digest = $2 returning project, content, image),
        counted as (
            update project_content p set uses = p.uses - 1 from gone where p.project = gone.project and p.digest = any(gone.content)
            returning p.project, p.uses, p.size_bytes),
        here as (
            update repository_content c set uses = c.uses - 1 from gone where c.repository = $1 and c.digest = any(gone.content)
            returning c.uses, c.size_bytes),
        mine as (
            update repository_usage u set manifests = u.manifests - 1, images = u.images - case when gone.image then 1 else 0 end,
                bytes = u.bytes - (select coalesce(sum(size_bytes) filter (where uses = 0), 0)::bigint from here)
            from gone where u.repository = $1),
        total as (select project, coalesce(sum(size_bytes) filter (where uses = 0), 0)::bigint as freed, sum(size_bytes)::bigint as less from counted group by project)
        update project_usage u set unique_bytes = u.unique_bytes - t.freed, image_bytes = u.image_bytes - t.less, images = u.images - 1
        from total t where u.project = t.project";
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repository.into(), manifest.into()])).await?;
    // Apart: a row cannot be changed and deleted by one statement.
    tx.execute_raw(Statement::from_string(DbBackend::Postgres, "delete from project_content where uses <= 0")).await?;
    let sql = "delete from repository_content where repository = $1 and uses <= 0";
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repository.into()])).await?;
    Ok(())
}

/// So many tags more.
///
/// # Errors
/// Database.
pub async fn count_tags(tx: &impl ConnectionTrait, repository: &str, more: i64) -> Result<(), DbErr> {
    let sql = "update repository_usage set tags = tags + $2 where repository = $1";
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repository.into(), more.into()])).await?;
    Ok(())
}

/// What a repository keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct Stored {
    pub repository: String,
    pub org: Uuid,
    pub project: Uuid,
    /// Manifests, configs and layers, each once.
    pub bytes: i64,
    /// Manifests that are about no other one.
    pub images: i64,
    pub tags: i64,
}

const STORED: &str = "select repository, org, project, bytes, images, tags from repository_usage";

/// Every repository that keeps anything.
///
/// # Errors
/// Database.
pub async fn stored(db: &impl ConnectionTrait) -> Result<Vec<Stored>, DbErr> {
    let sql = format!("{STORED} where bytes > 0 order by repository");
    Stored::find_by_statement(Statement::from_string(DbBackend::Postgres, sql)).all(db).await
}

/// What each of these repositories keeps.
///
/// # Errors
/// Database.
pub async fn stored_in(db: &impl ConnectionTrait, repositories: &[String]) -> Result<Vec<Stored>, DbErr> {
    let sql = format!("{STORED} where repository = any($1)");
    Stored::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repositories.to_vec().into()])).all(db).await
}

/// The same, counted from the manifests and tags there are: what [`stored_in`] must always equal.
///
/// # Errors
/// Database.
pub async fn recount_repository(db: &impl ConnectionTrait, repository: &str) -> Result<Option<Stored>, DbErr> {
    let sql = "with content as (
            select distinct blob as digest, size_bytes from manifest_blobs where repository = $1
            union select digest, size_bytes from manifests where repository = $1)
        select r.name as repository, r.org, r.project, coalesce((select sum(size_bytes) from content), 0)::bigint as bytes,
            (select count(*) from manifests where repository = $1 and subject is null) as images, (select count(*) from tags where repository = $1) as tags
        from repositories r where r.name = $1";
    Stored::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repository.into()])).one(db).await
}
