//! Changes of shape that are made beside those who read and write.

use std::time::Duration;

use gantry_es_pg::Db;

use crate::fixture::Fixture;

const LONG: Duration = Duration::from_secs(90);
const THINGS: (&str, &str) = ("t-0001-things", "create table things (n int not null)");
const BY_N: (&str, &str) = ("t-0002-things-by-n", "-- beside others\nselect 'create index concurrently if not exists things_by_n on things (n)'");
const AGAIN: (&str, &str) = ("t-0003-things-again", "-- beside others\nselect 'create index concurrently if not exists things_again on things (n, n)'");

async fn ready(db: &Db) -> Vec<(String, bool)> {
    let sql = "select c.relname::text, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = 'things'::regclass order by 1";
    sqlx::query_as(sql).fetch_all(&db.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_beside_others_once_for_all_replicas() {
    let f = Fixture::new().await;
    let (one, other) = tokio::join!(Db::open(&f.settings, &[THINGS, BY_N]), Db::open(&f.settings, &[THINGS, BY_N]));
    let (db, _) = (one.unwrap(), other.unwrap());
    assert_eq!(ready(&db).await, [("things_by_n".to_owned(), true)]);

    // Who has written and is not done is waited for; nobody else is kept from writing meanwhile.
    let mut slow = db.pool.begin().await.unwrap();
    sqlx::query("insert into things values (1)").execute(&mut *slow).await.unwrap();
    let meanwhile = async {
        while ready(&db).await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sqlx::query("insert into things values (2)").execute(&db.pool).await.unwrap();
        assert_eq!(ready(&db).await, [("things_again".to_owned(), false), ("things_by_n".to_owned(), true)]);
        slow.commit().await.unwrap();
    };
    let all = [THINGS, BY_N, AGAIN];
    let (opened, ()) = tokio::time::timeout(LONG, async { tokio::join!(Db::open(&f.settings, &all), meanwhile) }).await.expect("nobody waits for the other");
    opened.unwrap();
    assert_eq!(ready(&db).await, [("things_again".to_owned(), true), ("things_by_n".to_owned(), true)]);
    let noted: i64 = sqlx::query_scalar("select count(*) from migrations where name like 't-%'").fetch_one(&db.pool).await.unwrap();
    assert_eq!(noted, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_new_schema_it_is_a_migration_like_any() {
    let f = Fixture::new().await;
    let settings = gantry_es_pg::Settings { schema: format!("{}_new", f.settings.schema), ..f.settings.clone() };
    let db = Db::open(&settings, &[THINGS, BY_N]).await.unwrap();
    assert_eq!(ready(&db).await, [("things_by_n".to_owned(), true)]);
    let drop = format!("drop schema {0} cascade; drop owned by gantry_{0}; drop role gantry_{0}", settings.schema);
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&db.admin).await.unwrap();
}
