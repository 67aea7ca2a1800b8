//! Reading the projections. Every query of tenant data takes the project first.

use gantry_kernel::{ProjectId, RunId, Uuid};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement};

use super::{artifact, repository, run, run_step};

/// A run with its steps in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    pub run: run::Model,
    pub steps: Vec<run_step::Model>,
}

/// Names after `after`, in alphabetical order.
///
/// # Errors
/// When the database refuses.
pub async fn repositories(db: &DatabaseConnection, project: ProjectId, after: Option<&str>, limit: u64) -> Result<Vec<repository::Model>, DbErr> {
    let mut query = repository::Entity::find().filter(repository::Column::ProjectId.eq(project.0)).order_by_asc(repository::Column::Name);
    if let Some(after) = after {
        query = query.filter(repository::Column::Name.gt(after));
    }
    query.limit(limit).all(db).await
}

/// Every repository of the platform, for looking at them all when the service starts.
///
/// # Errors
/// When the database refuses.
pub async fn all_repositories(db: &DatabaseConnection) -> Result<Vec<repository::Model>, DbErr> {
    repository::Entity::find().all(db).await
}

/// # Errors
/// When the database refuses.
pub async fn repository(db: &DatabaseConnection, project: ProjectId, name: &str) -> Result<Option<repository::Model>, DbErr> {
    repository::Entity::find_by_id((project.0, name.to_owned())).one(db).await
}

/// Newest first; `before` is the number of the last one seen.
///
/// # Errors
/// When the database refuses.
pub async fn runs(db: &DatabaseConnection, project: ProjectId, repository: Option<&str>, before: Option<i64>, limit: u64) -> Result<Vec<RunRow>, DbErr> {
    let mut query = run::Entity::find().filter(run::Column::ProjectId.eq(project.0)).order_by_desc(run::Column::Number);
    if let Some(before) = before {
        query = query.filter(run::Column::Number.lt(before));
    }
    if let Some(name) = repository {
        query = query.filter(run::Column::Repository.eq(name));
    }
    let runs = query.limit(limit).all(db).await?;
    with_steps(db, runs).await
}

/// # Errors
/// When the database refuses.
pub async fn run(db: &DatabaseConnection, project: ProjectId, run: RunId) -> Result<Option<RunRow>, DbErr> {
    let runs = run::Entity::find_by_id(run.0).filter(run::Column::ProjectId.eq(project.0)).all(db).await?;
    Ok(with_steps(db, runs).await?.pop())
}

/// Runs that are not over, oldest first: the runner's work.
///
/// # Errors
/// When the database refuses.
pub async fn active_runs(db: &DatabaseConnection) -> Result<Vec<run::Model>, DbErr> {
    run::Entity::find()
        .filter(run::Column::State.is_in(["queued", "running", "waiting"]))
        .order_by_asc(run::Column::CreatedAt)
        .order_by_asc(run::Column::Id)
        .all(db)
        .await
}

/// # Errors
/// When the database refuses.
pub async fn artifacts(db: &DatabaseConnection, run: RunId) -> Result<Vec<artifact::Model>, DbErr> {
    artifact::Entity::find().filter(artifact::Column::RunId.eq(run.0)).order_by_asc(artifact::Column::Name).all(db).await
}

/// # Errors
/// When the database refuses.
pub async fn artifact(db: &DatabaseConnection, run: RunId, name: &str) -> Result<Option<artifact::Model>, DbErr> {
    artifact::Entity::find_by_id((run.0, name.to_owned())).one(db).await
}

/// The next number for a run of this project. A number drawn for a run that never comes to be is lost, which harms nobody.
///
/// # Errors
/// When the database refuses.
pub async fn next_number(db: &DatabaseConnection, project: ProjectId) -> Result<u64, DbErr> {
    let sql = "insert into run_numbers (project_id, last) values ($1, 1) on conflict (project_id) do update set last = run_numbers.last + 1 returning last";
    let row = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.0.into()])).await?;
    let number: i64 = row.ok_or_else(|| DbErr::RecordNotFound("run number".into()))?.try_get("", "last")?;
    Ok(number.unsigned_abs())
}

async fn with_steps(db: &DatabaseConnection, runs: Vec<run::Model>) -> Result<Vec<RunRow>, DbErr> {
    let ids: Vec<Uuid> = runs.iter().map(|r| r.id).collect();
    let mut steps = run_step::Entity::find().filter(run_step::Column::RunId.is_in(ids)).order_by_asc(run_step::Column::Ordinal).all(db).await?;
    let mut rows: Vec<RunRow> = runs.into_iter().map(|run| RunRow { run, steps: Vec::new() }).collect();
    for row in &mut rows {
        let (own, rest) = steps.into_iter().partition(|s| s.run_id == row.run.id);
        row.steps = own;
        steps = rest;
    }
    Ok(rows)
}
