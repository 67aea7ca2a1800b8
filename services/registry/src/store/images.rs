//! Questions to the read models of repositories, manifests and tags.

use gantry_kernel::{OffsetDateTime, ProjectId, Uuid};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, Order, QueryFilter, QueryOrder, QuerySelect, Statement,
};

use super::entities::{manifests, repositories, tags};
use crate::domain::digest::Digest;
use crate::domain::name::{Reference, RepositoryName};

/// # Errors
/// Database.
pub async fn repository(db: &impl ConnectionTrait, name: &RepositoryName) -> Result<Option<repositories::Model>, DbErr> {
    repositories::Entity::find_by_id(name.to_string()).one(db).await
}

/// What a reference names now.
///
/// # Errors
/// Database.
pub async fn manifest(db: &impl ConnectionTrait, name: &RepositoryName, reference: &Reference) -> Result<Option<manifests::Model>, DbErr> {
    let digest = match reference {
        Reference::Digest(digest) => digest.to_string(),
        Reference::Tag(tag) => match tags::Entity::find_by_id((name.to_string(), tag.to_string())).one(db).await? {
            Some(row) => row.digest,
            None => return Ok(None),
        },
    };
    manifests::Entity::find_by_id((name.to_string(), digest)).one(db).await
}

/// Manifests of a repository by digest.
///
/// # Errors
/// Database.
pub async fn known_manifests(db: &impl ConnectionTrait, name: &RepositoryName, digests: &[String]) -> Result<Vec<manifests::Model>, DbErr> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    manifests::Entity::find()
        .filter(manifests::Column::Repository.eq(name.as_str()))
        .filter(manifests::Column::Digest.is_in(digests.iter().map(String::as_str)))
        .all(db)
        .await
}

/// Tags after `last` in the order of their bytes.
///
/// # Errors
/// Database.
pub async fn tags(db: &impl ConnectionTrait, name: &RepositoryName, last: Option<&str>, limit: u64) -> Result<Vec<tags::Model>, DbErr> {
    let mut query = tags::Entity::find().filter(tags::Column::Repository.eq(name.as_str()));
    if let Some(last) = last {
        query = query.filter(tags::Column::Tag.gt(last));
    }
    query.order_by(tags::Column::Tag, Order::Asc).limit(limit).all(db).await
}

/// Names of tags after `last` in the order of their bytes, those that begin with `prefix` and hold `search`. Read from the index alone.
///
/// # Errors
/// Database.
pub async fn tag_names(db: &impl ConnectionTrait, name: &RepositoryName, wanted: &Wanted<'_>, limit: u64) -> Result<Vec<String>, DbErr> {
    let mut query = tags::Entity::find().select_only().column(tags::Column::Tag).filter(tags::Column::Repository.eq(name.as_str()));
    if let Some(last) = wanted.last {
        query = query.filter(tags::Column::Tag.gt(last));
    }
    if let Some(prefix) = wanted.prefix.filter(|p| !p.is_empty()) {
        query = query.filter(tags::Column::Tag.gte(prefix));
        query = query.filter(tags::Column::Tag.lt(after_all(prefix)));
    }
    if let Some(search) = wanted.search.filter(|s| !s.is_empty()) {
        query = query.filter(Expr::cust_with_exprs("position($1 in $2) > 0", [Expr::value(search), Expr::col(tags::Column::Tag)]));
    }
    query.order_by(tags::Column::Tag, Order::Asc).limit(limit).into_tuple().all(db).await
}

/// The first text after all that begin with `prefix`: tags and names are ASCII, so it ends with the next letter.
fn after_all(prefix: &str) -> String {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut().filter(|b| b.is_ascii()) {
        *last += 1;
    }
    String::from_utf8_lossy(&end).into_owned()
}

/// Which tags are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    pub last: Option<&'a str>,
    pub prefix: Option<&'a str>,
    pub search: Option<&'a str>,
}

/// The rows of these tags, by name.
///
/// # Errors
/// Database.
pub async fn tags_named(db: &impl ConnectionTrait, name: &RepositoryName, names: &[String]) -> Result<Vec<tags::Model>, DbErr> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let query = tags::Entity::find().filter(tags::Column::Repository.eq(name.as_str())).filter(tags::Column::Tag.is_in(names.iter().map(String::as_str)));
    query.order_by(tags::Column::Tag, Order::Asc).all(db).await
}

/// The newest tags of several repositories, at most `each` of each, newest first.
///
/// # Errors
/// Database.
pub async fn newest_tags(db: &impl ConnectionTrait, repositories: &[String], each: i64) -> Result<Vec<tags::Model>, DbErr> {
    let sql = "select t.* from unnest($1::text[]) as r (name)
        cross join lateral (select * from tags where repository = r.name order by moved_at desc, tag limit $2) t order by t.repository, t.moved_at desc, t.tag";
    let values = [repositories.to_vec().into(), each.into()];
    tags::Entity::find().from_raw_sql(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await
}

/// An image that no tag and no index names, and when anybody last had to do with it.
#[derive(Debug, FromQueryResult)]
pub struct Untagged {
    pub repository: String,
    pub digest: String,
    pub used_at: OffsetDateTime,
}

/// Those of several repositories. What is about an image is none, as long as that image is there.
///
/// # Errors
/// Database.
pub async fn untagged(db: &impl ConnectionTrait, names: &[String]) -> Result<Vec<Untagged>, DbErr> {
    // A tag that was taken away counts as use: the image was in somebody's hands until then. An index is used when one of its images is.
    let sql = "with told as (
            select repository, digest, max(at) as at from (
                select repository, digest, at from tag_history where repository = any($1)
                union all select repository, previous, at from tag_history where repository = any($1) and previous is not null
            ) h group by repository, digest
        )
        select m.repository, m.digest, greatest(m.pushed_at, t.at, p.last, k.last) as used_at
        from manifests m
        left join told t on t.repository = m.repository and t.digest = m.digest
        left join pulls p on p.repository = m.repository and p.digest = m.digest
        left join lateral (
            select max(q.last) as last from index_children c join pulls q on q.repository = c.repository and q.digest = c.child
            where c.repository = m.repository and c.parent = m.digest
        ) k on true
        where m.repository = any($1)
          and not exists (select from tags g where g.repository = m.repository and g.digest = m.digest)
          and not exists (select from index_children c where c.repository = m.repository and c.child = m.digest)
          and not exists (select from manifests s where s.repository = m.repository and s.digest = m.subject)
        order by m.repository, used_at, m.digest";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [names.to_vec().into()]);
    Untagged::find_by_statement(statement).all(db).await
}

/// Manifests by repository and digest.
///
/// # Errors
/// Database.
pub async fn manifests_at(db: &impl ConnectionTrait, places: &[(String, String)]) -> Result<Vec<manifests::Model>, DbErr> {
    let (repositories, digests): (Vec<String>, Vec<String>) = places.iter().cloned().unzip();
    let sql = "select m.* from manifests m join (select distinct * from unnest($1::text[], $2::text[]) as w (repository, digest)) w
        on m.repository = w.repository and m.digest = w.digest";
    let values = [repositories.into(), digests.into()];
    manifests::Entity::find().from_raw_sql(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await
}

/// The image that was pushed last to each of several repositories. Signatures and the like are about an image, not images.
///
/// # Errors
/// Database.
pub async fn newest_images(db: &impl ConnectionTrait, repositories: &[String]) -> Result<Vec<manifests::Model>, DbErr> {
    let sql = "select m.* from unnest($1::text[]) as r (name)
        cross join lateral (select * from manifests where repository = r.name and subject is null order by pushed_at desc limit 1) m";
    let values = [repositories.to_vec().into()];
    manifests::Entity::find().from_raw_sql(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await
}

/// Tags of several repositories at once.
///
/// # Errors
/// Database.
pub async fn tags_of(db: &impl ConnectionTrait, repositories: &[String]) -> Result<Vec<tags::Model>, DbErr> {
    if repositories.is_empty() {
        return Ok(Vec::new());
    }
    tags::Entity::find().filter(tags::Column::Repository.is_in(repositories.iter().map(String::as_str))).order_by_desc(tags::Column::MovedAt).all(db).await
}

/// Manifests of several repositories, newest first.
///
/// # Errors
/// Database.
pub async fn manifests_of(db: &impl ConnectionTrait, repositories: &[String]) -> Result<Vec<manifests::Model>, DbErr> {
    if repositories.is_empty() {
        return Ok(Vec::new());
    }
    manifests::Entity::find()
        .filter(manifests::Column::Repository.is_in(repositories.iter().map(String::as_str)))
        .order_by_desc(manifests::Column::PushedAt)
        .all(db)
        .await
}

/// Manifests whose subject is `subject`, by digest after `last`.
///
/// # Errors
/// Database.
pub async fn referrers(
    db: &impl ConnectionTrait,
    name: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<&str>,
    last: Option<&str>,
    limit: u64,
) -> Result<Vec<manifests::Model>, DbErr> {
    let mut query = manifests::Entity::find().filter(manifests::Column::Repository.eq(name.as_str())).filter(manifests::Column::Subject.eq(subject.as_str()));
    if let Some(wanted) = artifact_type {
        query = query.filter(manifests::Column::ArtifactType.eq(wanted));
    }
    if let Some(last) = last {
        query = query.filter(manifests::Column::Digest.gt(last));
    }
    query.order_by(manifests::Column::Digest, Order::Asc).limit(limit).all(db).await
}

/// Repositories of a project after `last`, by name.
///
/// # Errors
/// Database.
pub async fn repositories_of(db: &impl ConnectionTrait, project: ProjectId, last: Option<&str>, limit: u64) -> Result<Vec<repositories::Model>, DbErr> {
    let mut query = repositories::Entity::find().filter(repositories::Column::Project.eq(project.0));
    if let Some(last) = last {
        query = query.filter(repositories::Column::Name.gt(last));
    }
    query.order_by(repositories::Column::Name, Order::Asc).limit(limit).all(db).await
}

/// Names of repositories in any of `projects`, or of any of `patterns` (a name, or what names begin with and a `*`), after `last`.
///
/// # Errors
/// Database.
pub async fn catalog(db: &impl ConnectionTrait, projects: &[Uuid], patterns: &[&str], last: Option<&str>, limit: u64) -> Result<Vec<String>, DbErr> {
    use repositories::Column::{Name, Project};
    if projects.is_empty() && patterns.is_empty() {
        return Ok(Vec::new());
    }
    let mut shown = Condition::any();
    if !projects.is_empty() {
        shown = shown.add(Project.is_in(projects.iter().copied()));
    }
    for pattern in patterns {
        shown = match pattern.strip_suffix('*') {
            Some(prefix) => shown.add(Condition::all().add(Name.gte(prefix)).add(Name.lt(after_all(prefix)))),
            None => shown.add(Name.eq(*pattern)),
        };
    }
    let mut query = repositories::Entity::find().select_only().column(Name).filter(shown);
    if let Some(last) = last {
        query = query.filter(repositories::Column::Name.gt(last));
    }
    query.order_by(repositories::Column::Name, Order::Asc).limit(limit).into_tuple().all(db).await
}

/// Every image manifest there is, with organisation and project, for matching with new advisories.
///
/// # Errors
/// Database.
pub async fn all_images(db: &impl ConnectionTrait) -> Result<Vec<(String, String, Uuid, Uuid)>, DbErr> {
    let places: Vec<(String, Uuid, Uuid)> = repositories::Entity::find()
        .select_only()
        .columns([repositories::Column::Name, repositories::Column::Org, repositories::Column::Project])
        .into_tuple()
        .all(db)
        .await?;
    let places: std::collections::HashMap<_, _> = places.into_iter().map(|(name, org, project)| (name, (org, project))).collect();
    let rows: Vec<(String, String)> = manifests::Entity::find()
        .select_only()
        .columns([manifests::Column::Repository, manifests::Column::Digest])
        .filter(manifests::Column::MediaType.is_in([crate::domain::manifest::OCI_MANIFEST, crate::domain::manifest::DOCKER_MANIFEST]))
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().filter_map(|(name, digest)| places.get(&name).map(|(org, project)| (name.clone(), digest, *org, *project))).collect())
}

/// Whether a tag points at the manifest, those that `ignored` names apart.
///
/// # Errors
/// Database.
pub async fn is_tagged(db: &impl ConnectionTrait, name: &RepositoryName, digest: &Digest, ignored: fn(&str) -> bool) -> Result<bool, DbErr> {
    let rows = tags::Entity::find().filter(tags::Column::Repository.eq(name.as_str())).filter(tags::Column::Digest.eq(digest.as_str())).all(db).await?;
    Ok(rows.iter().any(|t| !ignored(&t.tag)))
}
