//! Lists by cursor: `?limit=50&cursor=...` → `{ "items": [...], "next": "..." | null }`.

use gantry_kernel::Problem;
use serde::{Deserialize, Serialize};

pub const DEFAULT_LIMIT: u32 = 50;
pub const LARGEST_LIMIT: u32 = 500;

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// 1 to 500; 50 if not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// `true`: a stream of server-sent events, the whole list first, then changes.
    #[serde(default)]
    pub watch: bool,
}

/// Where a page starts: the sort key of the last item before it.
pub type Cursor = Option<String>;

impl PageQuery {
    /// # Errors
    /// When the limit is out of range, or the cursor is no text of a database.
    pub fn limit(&self) -> Result<u64, Problem> {
        // Postgres keeps no U+0000.
        if self.cursor.as_deref().is_some_and(|c| c.contains('\0')) {
            return Err(Problem::invalid("cursor", "must be `next` of the page before"));
        }
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=LARGEST_LIMIT => Ok(limit.into()),
            other => Err(Problem::invalid("limit", format!("{other}: must be 1 to {LARGEST_LIMIT}"))),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// `cursor` of the next page; null on the last.
    pub next: Cursor,
}

impl<T> Page<T> {
    /// From up to `limit + 1` items read: the surplus one only says that there is more.
    pub fn of(mut items: Vec<T>, limit: u64, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() as u64 > limit;
        items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }

    pub fn all(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_that_no_page_gave_out_is_refused_before_the_database_sees_it() {
        let of = |cursor: &str| PageQuery { cursor: Some(cursor.into()), ..PageQuery::default() }.limit();
        assert_eq!(of("a\0b").unwrap_err().kind, gantry_kernel::Kind::Invalid);
        assert_eq!(of("acme/shop/web").unwrap(), u64::from(DEFAULT_LIMIT));
    }
}
