//! Finding people in a long list: by the hashed beginning of a name, by address, state and organisation, in the order of
//! creation. Each filter is a join on an index whose order is that of the list, so a page costs the same at any length.

use gantry_kernel::Uuid;
use sqlx::{PgPool, Postgres, QueryBuilder};

#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Hash of a beginning: see [`crate::app::secrets::Lookup::beginning`].
    pub term: Option<Vec<u8>>,
    /// Keyed hash of the whole address.
    pub email_key: Option<String>,
    pub suspended: Option<bool>,
    pub org: Option<Uuid>,
    /// Only these.
    pub among: Option<Vec<Uuid>>,
}

/// The ids of a page, after `after`.
pub async fn find(pool: &PgPool, filter: &Filter, after: Option<Uuid>, limit: u64) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new("select u.id from users u");
    if let Some(term) = &filter.term {
        query.push(" join user_terms t on t.user_id = u.id and t.term = ").push_bind(term);
    }
    if let Some(org) = filter.org {
        query.push(" join members m on m.user_id = u.id and m.org = ").push_bind(org);
    }
    query.push(" where true");
    if let Some(after) = after {
        query.push(" and u.id > ").push_bind(after);
    }
    if let Some(key) = &filter.email_key {
        query.push(" and u.email_key = ").push_bind(key);
    }
    match filter.suspended {
        Some(true) => {
            query.push(" and u.suspended_reason is not null");
        }
        Some(false) => {
            query.push(" and u.suspended_reason is null");
        }
        None => {}
    }
    if let Some(among) = &filter.among {
        query.push(" and u.id = any(").push_bind(among).push(")");
    }
    query.push(" order by u.id limit ").push_bind(limit.cast_signed());
    query.build_query_scalar().fetch_all(pool).await
}

/// In which organisations somebody is a member, and which they own.
pub async fn orgs_of(pool: &PgPool, user: Uuid) -> Result<Vec<(Uuid, bool)>, sqlx::Error> {
    sqlx::query_as("select m.org, o.owner = m.user_id from members m join orgs o on o.id = m.org where m.user_id = $1 order by m.org")
        .bind(user)
        .fetch_all(pool)
        .await
}
