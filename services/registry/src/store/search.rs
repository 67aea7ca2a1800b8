//! Which images there are, and the terms they are found by. An image's number is the position of the event that pushed it: what is
//! newer has the larger one, and lists go by that.
//!
//! Every question is driven by its rarest part and reads at most a page of each project in index order, so that its cost follows
//! what is shown, not what is kept.

use sea_orm::prelude::Uuid;
use serde_json::Value;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Row};
use time::OffsetDateTime;

use crate::domain::search::{Term, Wanted};

/// Who wrote a term: a push, which stays, or a scan, which the next one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Push = 0,
    Scan = 1,
}

/// Entries that are counted to find the rarest part of a question.
const COUNTED: i64 = 2_000;
/// Repositories that one question goes through by name.
const MOST_NAMES: usize = 2_000;
/// Raised when more terms are made from the same scan, so that kept ones are made anew.
pub const INDEXED: i32 = 1;

/// An image that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    pub image: i64,
    pub repository: String,
    pub digest: String,
    pub kind: String,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub total_bytes: i64,
    pub platforms: Value,
    pub pushed_by: String,
    pub pushed_at: OffsetDateTime,
    pub scan: Option<Value>,
    /// Tags that point at it, and at an index that lists it.
    pub tags: Vec<String>,
    pub index_tags: Vec<String>,
}

/// Adds terms of a push; those that are there stay.
///
/// # Errors
/// Database.
pub async fn add(db: &mut PgConnection, image: i64, project: Uuid, terms: &[Term], source: Source) -> Result<(), sqlx::Error> {
    let (words, details): (Vec<&str>, Vec<&str>) = terms.iter().map(|t| (t.term.as_str(), t.detail.as_str())).unzip();
    let sql = "insert into image_terms (term, project, image, detail, source) select t, $3, $4, d, $5 from unnest($1::text[], $2::text[]) x(t, d) on conflict do nothing";
    sqlx::query(sql).bind(&words).bind(&details).bind(project).bind(image).bind(source as i16).execute(db).await?;
    Ok(())
}

/// The terms that a scan found, in the place of those of the scan before.
///
/// # Errors
/// Database.
pub async fn replace(db: &mut PgConnection, image: i64, project: Uuid, terms: &[Term]) -> Result<(), sqlx::Error> {
    let (words, details): (Vec<&str>, Vec<&str>) = terms.iter().map(|t| (t.term.as_str(), t.detail.as_str())).unzip();
    let sql = "delete from image_terms where image = $1 and source = $4 and (term, detail) not in (select t, d from unnest($2::text[], $3::text[]) x(t, d))";
    sqlx::query(sql).bind(image).bind(&words).bind(&details).bind(Source::Scan as i16).execute(&mut *db).await?;
    add(db, image, project, terms, Source::Scan).await
}

/// Number and project of an image; none while the list of images is behind the log, or when it is gone.
///
/// # Errors
/// Database.
pub async fn image(pool: &PgPool, repository: &str, digest: &str) -> Result<Option<(i64, Uuid)>, sqlx::Error> {
    sqlx::query_as("select image, project from catalogue where repository = $1 and digest = $2").bind(repository).bind(digest).fetch_optional(pool).await
}

/// Images whose kept scan was made into terms by an older program, or never: so many, behind repository and digest.
///
/// # Errors
/// Database.
pub async fn not_indexed(pool: &PgPool, after: (&str, &str), limit: i64) -> Result<Vec<(Uuid, Uuid, String, String)>, sqlx::Error> {
    let sql = "select r.org, r.project, s.repository, s.digest from scan_reports s join repositories r on r.name = s.repository
        where s.indexed < $1 and (s.repository, s.digest) > ($2, $3) order by s.repository, s.digest limit $4";
    sqlx::query_as(sql).bind(INDEXED).bind(after.0).bind(after.1).bind(limit).fetch_all(pool).await
}

/// How many pieces of the work `name` wait or are under way; of many, so many as matter.
///
/// # Errors
/// Database.
pub async fn waiting(pool: &PgPool, name: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from (select from todos where name = $1 limit 1000) t").bind(name).fetch_one(pool).await
}

/// The same, held until the transaction ends: a deletion comes after what is added to it.
///
/// # Errors
/// Database.
pub async fn held(db: &mut PgConnection, repository: &str, digest: &str) -> Result<Option<(i64, Uuid)>, sqlx::Error> {
    let sql = "select image, project from catalogue where repository = $1 and digest = $2 for share";
    sqlx::query_as(sql).bind(repository).bind(digest).fetch_optional(db).await
}

/// Notes that the terms of a kept scan are there.
///
/// # Errors
/// Database.
pub async fn indexed(db: &mut PgConnection, repository: &str, digest: &str) -> Result<(), sqlx::Error> {
    let sql = "update scan_reports set indexed = $3 where repository = $1 and digest = $2";
    sqlx::query(sql).bind(repository).bind(digest).bind(INDEXED).execute(db).await?;
    Ok(())
}

/// The images of `projects` that are as wanted, the newest first, older than `before`.
///
/// # Errors
/// Database.
pub async fn find(pool: &PgPool, projects: &[Uuid], wanted: &Wanted, before: Option<i64>, limit: i64) -> Result<Vec<Hit>, sqlx::Error> {
    let names = match &wanted.name {
        Some(name) => named(pool, projects, name).await?,
        None => Names::All,
    };
    if projects.is_empty() || matches!(&names, Names::These(these) if these.is_empty()) {
        return Ok(Vec::new());
    }
    let question = Question { projects, wanted, names, before: before.unwrap_or(i64::MAX), limit };
    let drive = question.drive(pool).await?;
    let mut sql = QueryBuilder::<Postgres>::new(
        "select c.image, c.repository, c.digest, c.kind, m.media_type, m.artifact_type, m.total_bytes, m.platforms, m.pushed_by, m.pushed_at, m.scan,
            array(select t.tag from tags t where t.repository = c.repository and t.digest = c.digest order by t.moved_at desc, t.tag limit 20) as tags,
            array(select distinct t.tag from index_children i join tags t on t.repository = i.repository and t.digest = i.parent
                where i.repository = c.repository and i.child = c.digest order by t.tag limit 20) as index_tags
        from (",
    );
    question.images(&mut sql, drive);
    sql.push(
        ") hit join catalogue c on c.image = hit.image join manifests m on m.repository = c.repository and m.digest = c.digest order by c.image desc limit ",
    );
    sql.push_bind(limit);
    sql.build().fetch_all(pool).await?.iter().map(hit).collect()
}

fn hit(row: &sqlx::postgres::PgRow) -> Result<Hit, sqlx::Error> {
    Ok(Hit {
        image: row.try_get("image")?,
        repository: row.try_get("repository")?,
        digest: row.try_get("digest")?,
        kind: row.try_get("kind")?,
        media_type: row.try_get("media_type")?,
        artifact_type: row.try_get("artifact_type")?,
        total_bytes: row.try_get("total_bytes")?,
        platforms: row.try_get("platforms")?,
        pushed_by: row.try_get("pushed_by")?,
        pushed_at: row.try_get("pushed_at")?,
        scan: row.try_get("scan")?,
        tags: row.try_get("tags")?,
        index_tags: row.try_get("index_tags")?,
    })
}

/// What of the terms asked for each image has: number, term, detail.
///
/// # Errors
/// Database.
pub async fn matched(pool: &PgPool, images: &[i64], terms: &[String]) -> Result<Vec<(i64, String, String)>, sqlx::Error> {
    let sql = "select distinct t.image, t.term, t.detail from image_terms t join catalogue c on c.image = t.image
        where t.term = any($2) and t.project = c.project and t.image = any($1) and t.detail <> '' order by t.image, t.term, t.detail limit 5000";
    sqlx::query_as(sql).bind(images).bind(terms).fetch_all(pool).await
}

/// Repositories that a part of a name stands for.
enum Names<'a> {
    /// No name was asked for.
    All,
    These(Vec<String>),
    /// Too many to go through one by one.
    With(&'a str),
}

async fn named<'a>(pool: &PgPool, projects: &[Uuid], part: &'a str) -> Result<Names<'a>, sqlx::Error> {
    let sql = "select name from repositories where project = any($1) and position($2 in name) > 0 limit $3";
    let limit = i64::try_from(MOST_NAMES + 1).unwrap_or(i64::MAX);
    let found: Vec<String> = sqlx::query_scalar(sql).bind(projects).bind(part).bind(limit).fetch_all(pool).await?;
    Ok(if found.len() > MOST_NAMES { Names::With(part) } else { Names::These(found) })
}

/// Which part of a question is looked up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drive {
    Digest,
    Term(usize),
    Names,
    Projects,
}

struct Question<'a> {
    projects: &'a [Uuid],
    wanted: &'a Wanted,
    names: Names<'a>,
    before: i64,
    limit: i64,
}

impl Question<'_> {
    async fn drive(&self, pool: &PgPool) -> Result<Drive, sqlx::Error> {
        if self.wanted.digest.is_some() {
            return Ok(Drive::Digest);
        }
        let few_names = matches!(&self.names, Names::These(these) if these.len() <= 50);
        let terms = &self.wanted.terms;
        if terms.is_empty() || (terms.len() == 1 && !few_names) {
            return Ok(match (terms.is_empty(), &self.names) {
                (false, _) => Drive::Term(0),
                (true, Names::These(_)) => Drive::Names,
                (true, _) => Drive::Projects,
            });
        }
        let mut rarest = (i64::MAX, 0);
        for (n, (term, detail)) in terms.iter().enumerate() {
            let mut sql = QueryBuilder::<Postgres>::new("select count(*) from (select from image_terms where term = ");
            sql.push_bind(term);
            if let Some(detail) = detail {
                sql.push(" and detail = ").push_bind(detail);
            }
            sql.push(" limit ").push_bind(COUNTED).push(") x");
            rarest = rarest.min((sql.build_query_scalar().fetch_one(pool).await?, n));
        }
        Ok(if few_names && rarest.0 >= COUNTED { Drive::Names } else { Drive::Term(rarest.1) })
    }

    /// Numbers of images, a page of each project or repository, newest first.
    fn images(&self, sql: &mut QueryBuilder<Postgres>, drive: Drive) {
        match (drive, &self.names) {
            (Drive::Digest, _) => {
                sql.push("select c.image from catalogue c where c.project = any(")
                    .push_bind(self.projects.to_vec())
                    .push(") and c.image < ")
                    .push_bind(self.before);
                self.filters(sql, drive);
                sql.push(" order by c.image desc limit ").push_bind(self.limit);
            }
            (Drive::Term(n), _) => {
                let (term, detail) = &self.wanted.terms[n];
                sql.push("select x.image from unnest(").push_bind(self.projects.to_vec());
                sql.push("::uuid[]) as v(project) cross join lateral (select distinct t.image from image_terms t ");
                // Only what is asked for beside terms needs more than their own table.
                if self.asks_of_images() {
                    sql.push("join catalogue c on c.image = t.image ");
                }
                sql.push("where t.term = ");
                sql.push_bind(term.clone()).push(" and t.project = v.project and t.image < ").push_bind(self.before);
                if let Some(detail) = detail {
                    sql.push(" and t.detail = ").push_bind(detail.clone());
                }
                self.filters(sql, drive);
                sql.push(" order by t.image desc limit ").push_bind(self.limit).push(") x");
                self.newest(sql);
            }
            (Drive::Names, Names::These(these)) => {
                sql.push("select x.image from unnest(").push_bind(these.clone());
                sql.push("::text[]) as r(name) cross join lateral (select c.image from catalogue c where c.repository = r.name and c.project = any(");
                sql.push_bind(self.projects.to_vec()).push(") and c.image < ").push_bind(self.before);
                self.filters(sql, drive);
                sql.push(" order by c.image desc limit ").push_bind(self.limit).push(") x");
                self.newest(sql);
            }
            (Drive::Names | Drive::Projects, _) => {
                sql.push("select x.image from unnest(").push_bind(self.projects.to_vec());
                sql.push("::uuid[]) as v(project) cross join lateral (select c.image from catalogue c where c.project = v.project and c.image < ")
                    .push_bind(self.before);
                self.filters(sql, drive);
                sql.push(" order by c.image desc limit ").push_bind(self.limit).push(") x");
                self.newest(sql);
            }
        }
    }

    /// Before anything else is read of them: of every project's page only the newest are shown.
    fn newest(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(" order by x.image desc limit ").push_bind(self.limit);
    }

    fn asks_of_images(&self) -> bool {
        !matches!(self.names, Names::All) || self.wanted.digest.is_some() || self.wanted.kind.is_some() || self.wanted.tag.is_some()
    }

    /// Everything that does not drive.
    fn filters(&self, sql: &mut QueryBuilder<Postgres>, drive: Drive) {
        for (n, (term, detail)) in self.wanted.terms.iter().enumerate().filter(|(n, _)| drive != Drive::Term(*n)) {
            sql.push(format!(" and exists (select from image_terms u{n} where u{n}.term = ")).push_bind(term.clone());
            let of = if matches!(drive, Drive::Term(_)) { 't' } else { 'c' };
            sql.push(format!(" and u{n}.project = {of}.project and u{n}.image = {of}.image"));
            if let Some(detail) = detail {
                sql.push(format!(" and u{n}.detail = ")).push_bind(detail.clone());
            }
            sql.push(")");
        }
        match &self.names {
            Names::These(these) if drive != Drive::Names => drop(sql.push(" and c.repository = any(").push_bind(these.clone()).push(")")),
            Names::With(part) => drop(sql.push(" and position(").push_bind((*part).to_owned()).push(" in c.repository) > 0")),
            Names::These(_) | Names::All => {}
        }
        if let Some(digest) = &self.wanted.digest {
            // Digits end with f.
            sql.push(" and c.digest >= ").push_bind(digest.clone()).push(" and c.digest < ").push_bind(format!("{digest}g"));
        }
        if let Some(kind) = self.wanted.kind {
            sql.push(" and c.kind = ").push_bind(kind.as_str());
        }
        if let Some(tag) = &self.wanted.tag {
            sql.push(" and exists (select from tags g where g.repository = c.repository and g.digest = c.digest and starts_with(g.tag, ")
                .push_bind(tag.clone())
                .push("))");
        }
    }
}
