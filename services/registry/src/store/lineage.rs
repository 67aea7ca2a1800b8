//! Which index lists which image, and which image is built on which.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;

/// Indexes of the repository that list this manifest.
///
/// # Errors
/// Database.
pub async fn parents(db: &impl ConnectionTrait, repository: &RepositoryName, child: &Digest) -> Result<Vec<String>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        parent: String,
    }
    let sql = "select parent from index_children where repository = $1 and child = $2 order by parent limit 20";
    let values = [repository.as_str().into(), child.as_str().into()];
    Ok(Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await?.into_iter().map(|r| r.parent).collect())
}

/// # Errors
/// Database.
pub async fn add_children(tx: &impl ConnectionTrait, repository: &str, parent: &str, children: &[String]) -> Result<(), DbErr> {
    let sql = "insert into index_children (repository, parent, child) select $1, $2, c from unnest($3::text[]) as c on conflict do nothing";
    let values = [repository.into(), parent.into(), children.to_vec().into()];
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// # Errors
/// Database.
pub async fn remove_children(tx: &impl ConnectionTrait, repository: &str, parent: &str) -> Result<(), DbErr> {
    let sql = "delete from index_children where repository = $1 and parent = $2";
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repository.into(), parent.into()])).await?;
    Ok(())
}

/// What an index lists.
///
/// # Errors
/// Database.
pub async fn children(db: &impl ConnectionTrait, repository: &RepositoryName, parent: &Digest) -> Result<Vec<String>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        child: String,
    }
    let sql = "select child from index_children where repository = $1 and parent = $2 order by child";
    let values = [repository.as_str().into(), parent.as_str().into()];
    Ok(Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await?.into_iter().map(|r| r.child).collect())
}
