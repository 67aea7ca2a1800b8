//! Samples from the stream: once each, whatever is repeated or restarted.

use std::time::Duration;

use gantry_billing::Config;
use gantry_kernel::{OrgId, Uuid};

use crate::shop::Shop;

const LONG: Duration = Duration::from_secs(20);

impl Shop {
    async fn counted(&self) -> i64 {
        sqlx::query_scalar("select count(*) from usage_samples").fetch_one(&self.host.db().pool).await.expect("read")
    }

    async fn refused(&self) -> i64 {
        sqlx::query_scalar("select count(*) from usage_refused").fetch_one(&self.host.db().pool).await.expect("read")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_published_three_times_counts_once() {
    let shop = Shop::open(Config::default()).await;
    let now = shop.host.env.now();
    let sample = shop.sample("cpu_core_seconds", 1800.0, now);
    for _ in 0..3 {
        shop.publish(&sample).await;
    }
    shop.publish(&shop.sample("cpu_core_seconds", 1800.0, now)).await;
    shop.world.until("both samples are in", LONG, || async { shop.counted().await == 2 }).await;
    let from = (now - time::Duration::hours(2)).format(&time::format_description::well_known::Rfc3339).expect("formatted");
    let path = format!("/api/v1/orgs/acme/usage?from={from}");
    // The repetitions may still be under way; they must not add anything.
    shop.publish(&sample).await;
    let marker = shop.sample("requests", 1.0, now);
    shop.publish(&marker).await;
    shop.world.until("the marker is in", LONG, || async { shop.counted().await == 3 }).await;
    let (status, usage) = shop.get(&path, &shop.admin).await;
    assert_eq!(status, 200, "{usage}");
    let line = usage["items"].as_array().expect("a list").iter().find(|l| l["meter"] == "cpu_core_hours").expect("a line").clone();
    assert_eq!((line["quantity"].as_str(), line["project_name"].as_str(), line["holder_name"].as_str()), (Some("1"), Some("shop"), Some("web")));
    assert_eq!(shop.get(&path, &shop.stranger).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_sample_is_kept_beside_and_stops_nothing() {
    let shop = Shop::open(Config::default()).await;
    let now = shop.host.env.now();
    shop.publish_raw(&shop.org.id.to_string(), b"not json \0".to_vec()).await;
    shop.publish(&shop.sample("cpu_core_seconds", -5.0, now)).await;
    shop.publish(&shop.sample("cpu_core_seconds", 5.0, now + time::Duration::hours(3))).await;
    // A sample that claims another tenant than its subject.
    let mut foreign = shop.sample("cpu_core_seconds", 5.0, now);
    foreign.org = OrgId(Uuid::now_v7());
    shop.publish_raw(&shop.org.id.to_string(), serde_json::to_vec(&foreign).expect("JSON")).await;
    shop.publish(&shop.sample("cpu_core_seconds", 5.0, now)).await;
    shop.world.until("the good one is in", LONG, || async { shop.counted().await == 1 }).await;
    assert_eq!(shop.refused().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_cannot_be_changed_by_the_service_itself() {
    let shop = Shop::open(Config::default()).await;
    shop.publish(&shop.sample("cpu_core_seconds", 5.0, shop.host.env.now())).await;
    shop.world.until("it is in", LONG, || async { shop.counted().await == 1 }).await;
    for sql in ["update usage_samples set amount = 0", "delete from usage_samples"] {
        let refused = sqlx::query(sql).execute(&shop.host.db().pool).await.expect_err("append-only");
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
}
