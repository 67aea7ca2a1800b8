//! Mails that wait, as the list of pending work has them. Address and text are sealed in there and are not read here.

use gantry_kernel::OffsetDateTime;
use sqlx::PgPool;

#[derive(Clone, Debug)]
pub struct Waiting {
    pub waiting: i64,
    pub next_try_at: Option<OffsetDateTime>,
    /// Of the one that was tried most often.
    pub tries: i32,
    pub fault: Option<String>,
}

crate::store::row!(Waiting { waiting, next_try_at, tries, fault });

/// Of the work with these names.
pub async fn waiting(pool: &PgPool, names: &[&str]) -> Result<Waiting, sqlx::Error> {
    let sql = "select count(*) as waiting, min(due) as next_try_at, coalesce(max(attempts), 0) as tries,
                      (array_agg(last_error order by attempts desc) filter (where last_error is not null))[1] as fault
               from todos where name = any($1)";
    sqlx::query_as(sql).bind(names).fetch_one(pool).await
}
