//! Leases end with whoever asked for them, also when nobody waited for the answer.

use std::time::Duration;

use gantry_es_pg::Lease;
use tokio::time::Instant;

use crate::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_nobody_waits_for_any_more_is_free() {
    let f = Fixture::new().await;
    let other = f.again().await;
    let (pool, others) = (&f.log.db().pool, &other.log.db().pool);
    for polls in 0..12 {
        let mut asked = Box::pin(Lease::try_acquire(pool, "work"));
        for _ in 0..polls % 6 {
            if futures::poll!(&mut asked).is_ready() {
                break;
            }
            // What was sent by then has been carried out.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(asked);
        let start = Instant::now();
        let lease = loop {
            if let Some(lease) = Lease::try_acquire(others, "work").await.unwrap() {
                break lease;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "given up after {polls} polls, and held still");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(Lease::try_acquire(pool, "work").await.unwrap().is_none(), "one holds it at a time");
        lease.release().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_gives_up_a_client_that_fell_silent() {
    let f = Fixture::new().await;
    let db = f.log.db();
    for pool in [&db.pool, &db.admin] {
        // Of its own accord it would ask after two hours, and until then whatever the client had locked would stay so.
        let idle: String = sqlx::query_scalar("show tcp_keepalives_idle").fetch_one(pool).await.unwrap();
        assert_eq!(idle, "15");
    }
    let idle: String = sqlx::query_scalar("show idle_in_transaction_session_timeout").fetch_one(&db.pool).await.unwrap();
    assert_eq!(idle, "5min");
}
