//! The trail lies in pieces of a million records: what was there before stays provable, and a full piece is followed by the next.

use gantry_contract::scheduler::AppEvent;
use gantry_es_pg::BESIDE_OTHERS;
use gantry_host::Service;
use gantry_monitoring::Monitoring;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::place::{LONG, Place};

/// The first record that does not follow from the one before it.
const BROKEN: &str = "select min(seq) from (
    select a.seq, a.hash, sha256(coalesce(lag(a.hash) over w, '\\x'::bytea) || convert_to(audit_text(a), 'UTF8')) as ought from audit a window w as (order by a.seq)
) c where hash <> ought";

/// As at the start of a service whose tables are in use.
async fn migrate(db: &mut PgConnection, sql: &'static str) {
    let Some(question) = sql.strip_prefix(BESIDE_OTHERS) else {
        db.execute(sql).await.unwrap();
        return;
    };
    let statements: Vec<String> = sqlx::query_scalar(question).fetch_all(&mut *db).await.unwrap();
    for statement in statements {
        db.execute(AssertSqlSafe(statement)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_from_before_is_kept_and_provable() {
    let place = Place::open(|_| {}).await;
    let mut db = place.host.db().admin.acquire().await.unwrap();
    let schema = format!("pieces_{}", place.host.db().schema);
    db.execute(AssertSqlSafe(format!("create schema {schema}; create role gantry_{schema}; set search_path to {schema}"))).await.unwrap();
    let all = Monitoring::migrations();
    let at = |wanted: &str| all.iter().position(|(name, _)| *name == wanted).expect("the migration");
    let (here, last) = (at("monitoring-0017-audit-by-id"), at("monitoring-0020-audit-in-pieces"));
    for (_, sql) in &all[..here] {
        migrate(&mut db, sql).await;
    }
    let add = |n: u32, before: &str| {
        format!(
            "select audit_add('00000000-0000-0000-0000-{n:012}', now(), 'fact', 'identity', 'session.opened', 'user:a', null, null, null, 'session:{n}', null,
                              '{{\"n\": {n}}}', 'ok', '', null, null, {before}, null)"
        )
    };
    for n in 1..=3 {
        db.execute(AssertSqlSafe(add(n, if n == 2 { "'{\"n\": 0}'" } else { "null" }))).await.unwrap();
    }
    for (_, sql) in &all[here..last] {
        migrate(&mut db, sql).await;
        // It goes on being written between them.
        let n: i64 = sqlx::query_scalar("select seq + 1 from audit_head").fetch_one(&mut *db).await.unwrap();
        db.execute(AssertSqlSafe(add(u32::try_from(n).unwrap(), "null"))).await.unwrap();
    }
    migrate(&mut db, all[last].1).await;
    // Nor does it change what is in pieces already, by a program that knew only the last of them.
    for (_, sql) in &all[here..last] {
        migrate(&mut db, sql).await;
    }
    let bounds = "select count(*) from pg_constraint where conname = 'audit_bound' and connamespace = current_schema()::regnamespace";
    assert_eq!(sqlx::query_scalar::<_, i64>(bounds).fetch_one(&mut *db).await.unwrap(), 0);
    // The index from before has become one of the trail's, and none was made besides.
    let sql = "select count(*), count(*) filter (where c.relname = 'audit_before_id' and exists (select from pg_inherits p where p.inhrelid = c.oid))
               from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = 'audit_before'::regclass";
    let indexes: (i64, i64) = sqlx::query_as(sql).fetch_one(&mut *db).await.unwrap();
    assert_eq!(indexes, (7, 1));
    // A record that comes again, from before the change too, is not kept twice.
    for n in [2, 7, 7, 8] {
        db.execute(AssertSqlSafe(add(n, "null"))).await.unwrap();
    }
    let (count, last): (i64, i64) = sqlx::query_as("select count(*), max(seq) from audit").fetch_one(&mut *db).await.unwrap();
    let broken: Option<i64> = sqlx::query_scalar(BROKEN).fetch_one(&mut *db).await.unwrap();
    assert_eq!((count, last, broken), (8, 8, None));
    db.execute(AssertSqlSafe(format!("set search_path to default; drop schema {schema} cascade; drop owned by gantry_{schema}; drop role gantry_{schema}")))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_piece_is_followed_by_the_next_and_none_can_be_changed() {
    let place = Place::open(|_| {}).await;
    let db = place.host.db();
    let pieces = async || {
        let sql = "select c.relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid where i.inhparent = 'audit'::regclass order by 1";
        sqlx::query_scalar::<_, String>(sql).fetch_all(&db.pool).await.unwrap()
    };
    place.world.until("pieces are made ahead", LONG, || async { pieces().await.len() >= 6 }).await;
    sqlx::query("update audit_head set seq = 999998").execute(&db.admin).await.unwrap();
    for revision in 1..=4 {
        place.happened(place.app, AppEvent::ReleaseStarted { app: place.app, revision, from: None, strategy: "rolling".into() }).await;
    }
    let shown = async || place.get("/api/v1/audit?kind=app.release-started", &place.admin).await.1;
    place.world.until("all four are in", LONG, || async { shown().await["items"].as_array().is_some_and(|all| all.len() == 4) }).await;
    let page = shown().await;
    let seqs: Vec<i64> = page["items"].as_array().unwrap().iter().map(|r| r["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, [1_000_002, 1_000_001, 1_000_000, 999_999], "read over the edge, the newest first");
    let lies: Vec<(i64, String)> =
        sqlx::query_as("select seq, tableoid::regclass::text from audit where seq > 999990 order by seq").fetch_all(&db.pool).await.unwrap();
    assert_eq!(lies.iter().map(|(_, piece)| piece.as_str()).collect::<Vec<_>>(), ["audit_before", "audit_before", "audit_1", "audit_1"]);
    for piece in pieces().await.into_iter().chain(["audit".to_owned()]) {
        for change in [format!("update {piece} set actor = 'x'"), format!("delete from {piece}"), format!("truncate {piece}")] {
            let refused = db.pool.execute(AssertSqlSafe(change.clone())).await.unwrap_err();
            assert!(refused.to_string().contains("permission denied"), "{change}: {refused}");
        }
    }
}
