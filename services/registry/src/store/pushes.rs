//! What many pushes leave in the read models, in one statement for each of them: most of what a small image costs is the way to the database
//! and back. Each has the same outcome as one push after the other, which is `flows/projections`' own way for a single one.

use std::collections::BTreeMap;

use gantry_kernel::{OffsetDateTime, Uuid};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use serde::Serialize;

/// A manifest that lists no others.
#[derive(Serialize)]
pub struct Push {
    pub position: i64,
    pub org: Uuid,
    pub project: Uuid,
    pub repository: String,
    pub digest: String,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub subject: Option<String>,
    pub size_bytes: i64,
    pub total_bytes: i64,
    pub platforms: Vec<String>,
    pub annotations: BTreeMap<String, String>,
    pub pushed_by: String,
    pub pushed_at: String,
    pub blobs: Vec<String>,
    /// Of each of `blobs`.
    pub sizes: Vec<i64>,
    pub missing: Vec<String>,
}

/// A tag that points somewhere else now.
#[derive(Serialize)]
pub struct Move {
    pub position: i64,
    pub repository: String,
    pub tag: String,
    pub digest: String,
    pub previous: Option<String>,
    pub by_whom: String,
    pub at: String,
}

/// What a manifest adds to what is kept.
#[derive(Serialize)]
pub struct Kept {
    pub position: i64,
    pub org: Uuid,
    pub project: Uuid,
    pub repository: String,
    pub digest: String,
    /// Each of its blobs and itself, once.
    pub content: Vec<String>,
    /// Of each of `content`.
    pub sizes: Vec<i64>,
    /// Not about another one, as a signature is.
    pub image: bool,
}

/// Where an image is found.
#[derive(Serialize)]
pub struct Listed {
    pub image: i64,
    pub org: Uuid,
    pub project: Uuid,
    pub repository: String,
    pub digest: String,
    pub kind: &'static str,
    pub words: Vec<String>,
    /// Of each of `words`.
    pub details: Vec<String>,
}

/// A time as the database keeps it.
///
/// # Errors
/// A year that has more than four digits.
pub fn moment(at: OffsetDateTime) -> anyhow::Result<String> {
    // It would round what is finer than its microseconds, where a value that is bound is cut off.
    Ok(at.replace_nanosecond(at.microsecond() * 1_000)?.format(&time::format_description::well_known::Rfc3339)?)
}

/// Manifests, their content and the tags that moved, oldest first.
///
/// # Errors
/// Database.
pub async fn keep(tx: &DatabaseTransaction, pushes: &[Push], moves: &[Move]) -> anyhow::Result<()> {
    run(tx, IMAGES, &[serde_json::to_string(pushes)?, serde_json::to_string(moves)?]).await
}

/// Counts them.
///
/// # Errors
/// Database.
pub async fn count(tx: &DatabaseTransaction, kept: &[Kept]) -> anyhow::Result<()> {
    if kept.is_empty() { Ok(()) } else { run(tx, USAGE, &[serde_json::to_string(kept)?]).await }
}

/// So many tags more in each repository.
///
/// # Errors
/// Database.
pub async fn count_tags(tx: &DatabaseTransaction, more: &BTreeMap<String, i64>) -> anyhow::Result<()> {
    if more.is_empty() {
        return Ok(());
    }
    let sql = "update repository_usage u set tags = u.tags + m.value::bigint from json_each_text($1::json) m where u.repository = m.key";
    run(tx, sql, &[serde_json::to_string(more)?]).await
}

/// Lists them by the terms that their pushes tell.
///
/// # Errors
/// Database.
pub async fn list(tx: &DatabaseTransaction, listed: &[Listed]) -> anyhow::Result<()> {
    if listed.is_empty() { Ok(()) } else { run(tx, CATALOGUE, &[serde_json::to_string(listed)?]).await }
}

async fn run(tx: &DatabaseTransaction, sql: &str, documents: &[String]) -> anyhow::Result<()> {
    let values = documents.iter().map(|document| document.as_str().into());
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// A project deleted and made again under the same name has another id: the repository follows its last push.
const IMAGES: &str = "
    with pushes as materialized (
        select * from json_to_recordset($1::json) p(position bigint, org uuid, project uuid, repository text, digest text, media_type text,
            artifact_type text, subject text, size_bytes bigint, total_bytes bigint, platforms json, annotations json, pushed_by text,
            pushed_at timestamptz, blobs text[], sizes bigint[], missing text[])),
    moves as materialized (
        select * from json_to_recordset($2::json) m(position bigint, repository text, tag text, digest text, previous text, by_whom text, at timestamptz)),
    touched as (
        select distinct on (repository) repository, at from (
            select repository, position, pushed_at as at from pushes union all select repository, position, at from moves) t
        order by repository, position desc),
    placed as (
        insert into repositories (name, org, project, created_at, updated_at)
        select p.repository, (array_agg(p.org order by p.position desc))[1], (array_agg(p.project order by p.position desc))[1],
            (array_agg(p.pushed_at order by p.position))[1], t.at
        from pushes p join touched t on t.repository = p.repository group by p.repository, t.at order by p.repository
        on conflict (name) do update set org = excluded.org, project = excluded.project, updated_at = excluded.updated_at),
    kept as (
        insert into manifests (repository, digest, media_type, artifact_type, subject, size_bytes, total_bytes, platforms, annotations, pushed_by, pushed_at)
        select repository, digest, media_type, artifact_type, subject, size_bytes, total_bytes, platforms, annotations, pushed_by, pushed_at from pushes),
    needed as (
        insert into manifest_blobs (repository, manifest, blob, size_bytes, present)
        select p.repository, p.digest, b.digest, b.size, not b.digest = any(p.missing)
        from pushes p cross join lateral unnest(p.blobs, p.sizes) b(digest, size)
        on conflict (repository, manifest, blob) do nothing),
    remembered as (
        insert into tag_history (position, repository, tag, what, digest, previous, by_whom, at)
        select position, repository, tag, 'moved', digest, previous, by_whom, at from moves),
    moved as (
        insert into tags (repository, tag, digest, moved_by, moved_at)
        select distinct on (repository, tag) repository, tag, digest, by_whom, at from moves order by repository, tag, position desc
        on conflict (repository, tag) do update set digest = excluded.digest, moved_by = excluded.moved_by, moved_at = excluded.moved_at)
    update repositories r set updated_at = t.at from touched t
    where r.name = t.repository and not exists (select from pushes p where p.repository = t.repository)";

/// Content is new where nobody used it before: then all its uses are of this statement. Its size is that of who brought it.
const USAGE: &str = "
    with given as materialized (
        select * from json_to_recordset($1::json) g(position bigint, org uuid, project uuid, repository text, digest text, content text[], sizes bigint[],
            image boolean)),
    fresh as (
        insert into project_manifests (repository, digest, project, content, sizes, image)
        select repository, digest, project, content, sizes, image from given order by position on conflict do nothing returning repository, digest),
    adding as (select g.* from given g join fresh f on f.repository = g.repository and f.digest = g.digest),
    parts as (
        select a.position, a.project, a.repository, c.digest, c.size from adding a cross join lateral unnest(a.content, a.sizes) c(digest, size)),
    of_projects as (
        select project, digest, (array_agg(size order by position))[1] as size, count(*) as uses from parts group by project, digest),
    counted as (
        insert into project_content (project, digest, size_bytes, uses) select project, digest, size, uses from of_projects order by project, digest
        on conflict (project, digest) do update set uses = project_content.uses + excluded.uses
        returning project, digest, size_bytes, uses),
    of_repositories as (
        select repository, digest, (array_agg(size order by position))[1] as size, count(*) as uses from parts group by repository, digest),
    here as (
        insert into repository_content (repository, digest, size_bytes, uses) select repository, digest, size, uses from of_repositories
        order by repository, digest
        on conflict (repository, digest) do update set uses = repository_content.uses + excluded.uses
        returning repository, digest, size_bytes, uses),
    mine as (
        insert into repository_usage (repository, org, project, bytes, images, manifests, tags)
        select a.repository, (array_agg(a.org order by a.position desc))[1], (array_agg(a.project order by a.position desc))[1],
            coalesce((select sum(h.size_bytes) from here h join of_repositories o on o.repository = h.repository and o.digest = h.digest
                where h.repository = a.repository and h.uses = o.uses), 0)::bigint,
            count(*) filter (where a.image), count(*), 0
        from adding a group by a.repository order by a.repository
        on conflict (repository) do update set org = excluded.org, project = excluded.project, bytes = repository_usage.bytes + excluded.bytes,
            images = repository_usage.images + excluded.images, manifests = repository_usage.manifests + excluded.manifests),
    sums as (
        select c.project, coalesce(sum(c.size_bytes) filter (where c.uses = o.uses), 0)::bigint as unique_bytes,
            coalesce(sum(c.size_bytes * o.uses), 0)::bigint as image_bytes
        from counted c join of_projects o on o.project = c.project and o.digest = c.digest group by c.project)
    insert into project_usage (project, unique_bytes, image_bytes, images)
    select s.project, s.unique_bytes, s.image_bytes, (select count(*) from adding a where a.project = s.project) from sums s order by s.project
    on conflict (project) do update set unique_bytes = project_usage.unique_bytes + excluded.unique_bytes,
        image_bytes = project_usage.image_bytes + excluded.image_bytes, images = project_usage.images + excluded.images";

const CATALOGUE: &str = "
    with given as materialized (
        select * from json_to_recordset($1::json) g(image bigint, org uuid, project uuid, repository text, digest text, kind text, words text[], details text[])),
    listed as (
        insert into catalogue (image, org, project, repository, digest, kind)
        select image, org, project, repository, digest, kind from given order by image on conflict do nothing)
    insert into image_terms (term, project, image, detail, source)
    select t.word, g.project, g.image, t.detail, 0 from given g cross join lateral unnest(g.words, g.details) t(word, detail) on conflict do nothing";

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_is_cut_off_where_the_database_ends() {
        assert_eq!(moment(datetime!(2026-12-01 06:30:00.123456789 UTC)).unwrap(), "2026-12-01T06:30:00.123456Z");
        assert_eq!(moment(datetime!(2026-12-01 06:30:00 UTC)).unwrap(), "2026-12-01T06:30:00Z");
    }
}
