//! Any one row changed, removed or added outside the platform is found and named.

use gantry_es_pg::{Fault, verify};
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{Fixture, raise};

const EVENTS: i64 = 40;

#[test]
fn a_change_of_any_column_of_any_row_is_named() {
    gantry_testkit::clause("6.6.2.2.c");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let f = runtime.block_on(async {
        let f = Fixture::new().await;
        for n in 0..EVENTS {
            f.log.append(raise(n % 7, None, 1)).await.unwrap();
        }
        f
    });
    let changes = [
        "data = '{\"by\":99}'",
        "actor = 'user:somebody-else'",
        "kind = 'counter.lowered'",
        "kind_version = 2",
        "stream = 'counter-other'",
        "version = version + 1000",
        "at = at + interval '1 microsecond'",
        "tenant = gen_random_uuid()",
        "from_addr = '10.0.0.1'",
        "trace = 'x'",
        "command_id = 'y'",
        "event_id = gen_random_uuid()",
    ];
    let mut runner = TestRunner::new(Config { cases: 30, max_shrink_iters: 0, ..Config::default() });
    runner
        .run(&(1..=EVENTS, 0..changes.len()), |(position, change)| {
            runtime.block_on(async {
                let admin = &f.log.db().admin;
                let mut tx = admin.begin().await.unwrap();
                let sql = format!(
                    "create table kept as select * from events where position = {position}; update events set {} where position = {position}",
                    changes[change]
                );
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
                let faults = verify(&f.log).await.unwrap().faults;
                let sql = format!("delete from events where position = {position}; insert into events select * from kept; drop table kept");
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(admin).await.unwrap();
                assert!(matches!(faults[..], [Fault::Changed { position: p, .. }] if p == position), "{}: {faults:?}", changes[change]);
            });
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        assert!(verify(&f.log).await.unwrap().faults.is_empty(), "put back, all is well");
        sqlx::raw_sql("delete from events where position = 12").execute(&f.log.db().admin).await.unwrap();
        assert_eq!(verify(&f.log).await.unwrap().faults, [Fault::Missing { position: 12 }]);
        let sql = sqlx::AssertSqlSafe(format!("delete from events where position >= {}", EVENTS - 1));
        sqlx::raw_sql(sql).execute(&f.log.db().admin).await.unwrap();
        let faults = verify(&f.log).await.unwrap().faults;
        assert_eq!(faults.last(), Some(&Fault::Head { head: EVENTS, last: EVENTS - 2 }), "the newest rows are missed, too");
    });
}
