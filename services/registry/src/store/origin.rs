//! Which images are built on which: the stacks of layers that an image begins with, each by its chain
//! (`domain/origin.rs`).

use sea_orm::prelude::Uuid;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// An image whose layers are the beginning of another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    pub image: i64,
    pub repository: String,
    pub digest: String,
    /// Layers.
    pub depth: i32,
    pub tags: Vec<String>,
}

type Row = (i64, String, String, i32, Vec<String>);

fn stack((image, repository, digest, depth, tags): Row) -> Stack {
    Stack { image, repository, digest, depth, tags }
}

/// Keeps the chains of an image, lowest first.
///
/// # Errors
/// Database.
pub async fn keep(db: &mut PgConnection, image: i64, project: Uuid, chains: &[String]) -> Result<(), sqlx::Error> {
    let sql = "insert into image_chains (chain, project, image, depth, whole)
        select chain, $2, $3, n, n = cardinality($1::text[]) from unnest($1::text[]) with ordinality x(chain, n) on conflict do nothing";
    sqlx::query(sql).bind(chains).bind(project).bind(image).execute(db).await?;
    Ok(())
}

/// Images of `projects` that are exactly one of these stacks: the highest first, then those with tags, then the oldest. `own` apart; so many of each
/// height, and so many in all.
///
/// # Errors
/// Database.
pub async fn below(pool: &PgPool, projects: &[Uuid], chains: &[String], own: (&str, &str), (each, most): (i64, i64)) -> Result<Vec<Stack>, sqlx::Error> {
    // Of each height, so many: one base may have been copied into many repositories.
    let sql = "select x.image, x.repository, x.digest, x.depth, x.tags from unnest($2::text[]) with ordinality s(chain, n)
        cross join lateral (
            select c.image, c.repository, c.digest, i.depth,
                array(select t.tag from tags t where t.repository = c.repository and t.digest = c.digest order by t.tag limit 20)
                    || array(select distinct t.tag from index_children k join tags t on t.repository = k.repository and t.digest = k.parent
                        where k.repository = c.repository and k.child = c.digest order by t.tag limit 20) as tags
            from image_chains i join catalogue c on c.image = i.image
            where i.chain = s.chain and i.whole and i.project = any($1) and not (c.repository = $3 and c.digest = $4) order by c.image limit $5
        ) x
        order by x.depth desc, cardinality(x.tags) = 0, x.image limit $6";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(projects).bind(chains).bind(own.0).bind(own.1).bind(each).bind(most).fetch_all(pool).await?;
    Ok(rows.into_iter().map(stack).collect())
}

/// Images of `projects` that are built on the stack `chain`, newest first, older than `before`.
///
/// # Errors
/// Database.
pub async fn above(pool: &PgPool, projects: &[Uuid], chain: &str, before: Option<i64>, limit: i64) -> Result<Vec<Stack>, sqlx::Error> {
    let sql = "select c.image, c.repository, c.digest, (select max(w.depth) from image_chains w where w.image = i.image),
            array(select t.tag from tags t where t.repository = c.repository and t.digest = c.digest order by t.tag limit 20)
                || array(select distinct t.tag from index_children k join tags t on t.repository = k.repository and t.digest = k.parent
                    where k.repository = c.repository and k.child = c.digest order by t.tag limit 20) as tags
        from image_chains i join catalogue c on c.image = i.image
        where i.chain = $2 and not i.whole and i.project = any($1) and c.image < $3 order by c.image desc limit $4";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(projects).bind(chain).bind(before.unwrap_or(i64::MAX)).bind(limit).fetch_all(pool).await?;
    Ok(rows.into_iter().map(stack).collect())
}

/// A tag that once pointed at an image, and where it points now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub tag: String,
    /// Null: there is no such tag any more.
    pub now: Option<String>,
    pub at: Option<OffsetDateTime>,
}

/// Every tag of a repository that ever pointed at any of `digests`, with what it points at now.
///
/// # Errors
/// Database.
pub async fn tags_that_were(pool: &PgPool, repository: &str, digests: &[String]) -> Result<Vec<Moved>, sqlx::Error> {
    let sql = "select h.tag, t.digest, t.moved_at from (select distinct tag from tag_history where repository = $1 and what = 'moved' and digest = any($2)) h
        left join tags t on t.repository = $1 and t.tag = h.tag order by h.tag limit 200";
    let rows: Vec<(String, Option<String>, Option<OffsetDateTime>)> = sqlx::query_as(sql).bind(repository).bind(digests).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(tag, now, at)| Moved { tag, now, at }).collect())
}
