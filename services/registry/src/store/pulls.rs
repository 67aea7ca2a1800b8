//! When each image was last pulled and how often: gathered in memory and written in batches, never in the event log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gantry_kernel::OffsetDateTime;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

/// Images remembered between two writes; more are written at the next pull that finds room.
const MOST: usize = 100_000;

/// Pulls since the last write, by repository and digest. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pulls(Arc<Mutex<HashMap<(String, String), (OffsetDateTime, i64)>>>);

impl Pulls {
    pub fn note(&self, repository: &str, digest: &str, now: OffsetDateTime) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            let entry = kept.entry((repository.to_owned(), digest.to_owned())).or_insert((now, 0));
            *entry = (now, entry.1 + 1);
        }
    }

    /// Writes what was noted, and gives it: repository, digest, pulls. What cannot be written is noted again.
    ///
    /// # Errors
    /// Database.
    pub async fn write(&self, db: &impl ConnectionTrait) -> Result<Vec<(String, String, i64)>, DbErr> {
        let batch = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (mut repositories, mut digests, mut times, mut counts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((repository, digest), (at, count)) in &batch {
            repositories.push(repository.clone());
            digests.push(digest.clone());
            times.push(at.unix_timestamp());
            counts.push(*count);
        }
        let sql = "insert into pulls (repository, digest, last, pulls)
            select r, d, to_timestamp(t), c from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) as n (r, d, t, c)
            on conflict (repository, digest) do update set last = greatest(pulls.last, excluded.last), pulls = pulls.pulls + excluded.pulls";
        let values = [repositories.into(), digests.into(), times.into(), counts.into()];
        let written = db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await;
        if let Err(error) = written {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, (at, count)) in batch {
                let entry = kept.entry(key).or_insert((at, 0));
                *entry = (entry.0.max(at), entry.1 + count);
            }
            return Err(error);
        }
        Ok(batch.into_iter().map(|((repository, digest), (_, count))| (repository, digest, count)).collect())
    }
}

#[derive(Clone, Debug, FromQueryResult)]
pub struct Pulled {
    pub repository: String,
    pub digest: String,
    pub last: OffsetDateTime,
    pub pulls: i64,
}

/// What is known of several repositories' images.
///
/// # Errors
/// Database.
pub async fn of(db: &impl ConnectionTrait, repositories: &[String]) -> Result<Vec<Pulled>, DbErr> {
    let sql = "select repository, digest, last, pulls from pulls where repository = any($1)";
    Pulled::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repositories.to_vec().into()])).all(db).await
}

/// When each image of several repositories was last pulled, by repository and digest; an index also when an image was that it lists.
///
/// # Errors
/// Database.
pub async fn last_of(db: &impl ConnectionTrait, repositories: &[String]) -> Result<HashMap<(String, String), OffsetDateTime>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        repository: String,
        digest: String,
        last: OffsetDateTime,
    }
    let sql = "select repository, digest, max(last) as last from (
            select repository, digest, last from pulls where repository = any($1)
            union all
            select c.repository, c.parent, p.last from index_children c join pulls p on p.repository = c.repository and p.digest = c.child
            where c.repository = any($1)
        ) u group by repository, digest";
    let rows = Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repositories.to_vec().into()])).all(db).await?;
    Ok(rows.into_iter().map(|r| ((r.repository, r.digest), r.last)).collect())
}

/// When retention was last applied to a project by schedule.
///
/// # Errors
/// Database.
pub async fn last_retention(db: &impl ConnectionTrait, project: gantry_kernel::Uuid) -> Result<Option<OffsetDateTime>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        at: OffsetDateTime,
    }
    let sql = "select at from retention_runs where project = $1";
    let row = Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.into()])).one(db).await?;
    Ok(row.map(|r| r.at))
}

/// # Errors
/// Database.
pub async fn retained(db: &impl ConnectionTrait, project: gantry_kernel::Uuid, at: OffsetDateTime, kept: usize, removed: usize) -> Result<(), DbErr> {
    let sql = "insert into retention_runs (project, at, kept, removed) values ($1, to_timestamp($2), $3, $4)
        on conflict (project) do update set at = excluded.at, kept = excluded.kept, removed = excluded.removed";
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let values = [project.into(), at.unix_timestamp().into(), count(kept).into(), count(removed).into()];
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}
