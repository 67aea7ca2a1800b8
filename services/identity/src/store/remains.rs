//! What still names somebody: their key, the log, and every table there is. It reads whole tables: for operators, now and then.

use futures::{Stream, StreamExt};
use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row};

/// All statements see the same; none takes longer than this.
const ONE_MOMENT: &str = "set transaction isolation level repeatable read read only; set local statement_timeout = '120s'";
/// Rows of a table that are read whole.
const ROWS: i64 = 500;

/// When somebody's key was made and destroyed.
pub async fn key(pool: &PgPool, subject: &str) -> Result<Option<(OffsetDateTime, Option<OffsetDateTime>, bool)>, sqlx::Error> {
    let sql = "select created_at, erased_at, wrapped is not null from subject_keys where subject = $1";
    sqlx::query_as(sql).bind(subject).fetch_optional(pool).await
}

/// One moment's view for all the questions.
pub async fn begin(pool: &PgPool) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::raw_sql(ONE_MOMENT).execute(&mut *tx).await?;
    Ok(tx)
}

/// An event that names somebody.
#[derive(Clone, Debug)]
pub struct Named {
    pub kind: String,
    pub data: String,
    /// They did it, and this says from which network address.
    pub addressed: bool,
}

pub fn events<'c>(connection: &'c mut PgConnection, id: &'c str, subject: &'c str) -> impl Stream<Item = Result<Named, sqlx::Error>> + 'c {
    let sql = "select kind, data::text as data, actor = $2 and from_addr is not null as addressed from events
               where actor = $2 or strpos(stream, $1) > 0 or strpos(data::text, $1) > 0";
    let rows = sqlx::query(sql).bind(id).bind(subject).fetch(connection);
    rows.map(|row| {
        let row = row?;
        Ok(Named { kind: row.try_get("kind")?, data: row.try_get("data")?, addressed: row.try_get("addressed")? })
    })
}

/// A table with the columns that could name somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// Column, and whether it is an id by type.
    pub columns: Vec<(String, bool)>,
}

/// All tables of this service but the log; parts of a table are read through it.
pub async fn tables(connection: &mut PgConnection) -> Result<Vec<Table>, sqlx::Error> {
    let sql = "select c.relname::text, a.attname::text, t.typname = 'uuid' from pg_class c
               join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped join pg_type t on t.oid = a.atttypid
               where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> 'events'
                 and t.typname in ('uuid', 'text', 'varchar', 'name', 'json', 'jsonb', '_uuid', '_text')
               order by 1, a.attnum";
    let rows: Vec<(String, String, bool)> = sqlx::query_as(sql).fetch_all(connection).await?;
    let mut tables: Vec<Table> = Vec::new();
    for (table, column, id) in rows {
        match tables.last_mut().filter(|t| t.name == table) {
            Some(last) => last.columns.push((column, id)),
            None => tables.push(Table { name: table, columns: vec![(column, id)] }),
        }
    }
    Ok(tables)
}

/// How many rows name somebody in each of a table's columns, in their order.
pub async fn count(connection: &mut PgConnection, table: &Table, id: Uuid) -> Result<Vec<i64>, sqlx::Error> {
    let counts: Vec<String> = table.columns.iter().map(|c| format!("count(*) filter (where {})", names(c))).collect();
    let sql = format!("select array[{}] from {}", counts.join(", "), quoted(&table.name));
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(id).bind(id.to_string()).fetch_one(connection).await
}

/// The rows that name somebody, whole, as JSON; some of them if they are many.
pub async fn rows(connection: &mut PgConnection, table: &Table, id: Uuid) -> Result<Vec<String>, sqlx::Error> {
    let any: Vec<String> = table.columns.iter().map(names).collect();
    let sql = format!("select row_to_json(t)::text from {} t where {} limit {ROWS}", quoted(&table.name), any.join(" or "));
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(id).bind(id.to_string()).fetch_all(connection).await
}

/// `$1`: the id; `$2`: the same as text. Both stand in every statement, so that both have a type.
fn names((column, id): &(String, bool)) -> String {
    let column = quoted(column);
    if *id { format!("({column} = $1 and $2::text is not null)") } else { format!("($1::uuid is not null and strpos({column}::text, $2) > 0)") }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Facts by or about somebody that say from which network address.
pub async fn addressed_facts(connection: &mut PgConnection, subject: &str) -> Result<i64, sqlx::Error> {
    let sql = "select count(*) from fact_chain where (actor = $1 or object = $1) and coalesce(fact ->> 'from', '') <> ''";
    sqlx::query_scalar(sql).bind(subject).fetch_one(connection).await
}

/// Takes out of the tables that are no read models what somebody left there and nobody needs once they are erased. Sessions and tokens
/// stay, without where they came from, until their time is over: a stolen one must be known to be void.
pub async fn forget(pool: &PgPool, user: Uuid) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    for sql in [
        "delete from factor_uses where user_id = $1",
        "delete from recovery_uses where user_id = $1",
        "delete from known_devices where user_id = $1",
        "delete from mail_links where user_id = $1",
        "delete from impersonations where user_id = $1 or by_user = $1",
        "delete from scim_links where kind = 'User' and id = $1",
        "update sessions set from_addr = '', user_agent = '' where user_id = $1 and (from_addr <> '' or user_agent <> '')",
        "update personal_tokens set name = '' where user_id = $1 and name <> ''",
        "delete from consents where user_id = $1",
    ] {
        sqlx::query(sql).bind(user).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Which of them still have a session or a personal token: the process died between the deletion and their end.
pub async fn still_in(pool: &PgPool, users: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    let sql = "select user_id from sessions where user_id = any($1) and ended_at is null
               union select user_id from personal_tokens where user_id = any($1) and revoked_at is null";
    sqlx::query_scalar(sql).bind(users).fetch_all(pool).await
}

/// Whose key was destroyed in the last week: what [`forget`] takes is theirs no more, also where the process died between the two.
pub async fn erased_lately(pool: &PgPool) -> Result<Vec<Uuid>, sqlx::Error> {
    let sql = "select subject from subject_keys where erased_at > now() - interval '7 days' and subject like 'user:%'";
    let subjects: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await?;
    Ok(subjects.iter().filter_map(|s| Uuid::parse_str(s.strip_prefix("user:")?).ok()).collect())
}
