//! From samples and reservations to bills.

use std::time::Duration;

use gantry_billing::Config;
use gantry_testkit::clause;
use serde_json::{Value, json};

use crate::shop::Shop;

const LONG: Duration = Duration::from_secs(20);

fn decimal(value: &Value) -> rust_decimal::Decimal {
    value.as_str().expect("decimals are texts").parse().expect("a decimal")
}

fn adds_up(invoice: &Value) -> bool {
    let sum: rust_decimal::Decimal = invoice["lines"].as_array().expect("lines").iter().map(|l| decimal(&l["amount"])).sum();
    sum == decimal(&invoice["total"])
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_so_far_is_on_the_open_bill_and_its_lines_add_up() {
    clause("6.5.4.2");
    let shop = Shop::open(Config::default()).await;
    let (_, plans) = shop.get("/api/v1/price-plans", &shop.stranger).await;
    assert_eq!(plans["items"].as_array().map(Vec::len), Some(2), "{plans}");
    let now = shop.host.env.now();
    shop.publish(&shop.sample("cpu_core_seconds", 36_000.0, now)).await;
    shop.publish(&shop.sample("memory_gib_seconds", 7_200.0, now)).await;
    shop.publish(&shop.sample("unpriced_things", 7.0, now)).await;
    let path = "/api/v1/orgs/acme/invoices/current";
    let lines = || async { shop.get(path, &shop.admin).await.1["lines"].as_array().map_or(0, Vec::len) };
    // At the first minute of a month the samples may belong to the month before.
    shop.world.until("both lines are there", LONG, || async { lines().await == 2 }).await;
    let (_, bill) = shop.get(path, &shop.admin).await;
    assert_eq!((bill["state"].as_str(), bill["total"].as_str(), bill["currency"].as_str()), (Some("open"), Some("2.10"), Some("CNY")), "{bill}");
    assert!(adds_up(&bill));
    assert_eq!(shop.get(path, &shop.stranger).await.0, 404);

    let cheaper = json!({"name": "default", "currency": "CNY", "prices": {"cpu_core_hours": "0.005"}});
    assert_eq!(shop.put("/api/v1/price-plans", &shop.admin, cheaper.clone()).await.0, 403);
    assert_eq!(shop.put("/api/v1/price-plans", &shop.root, cheaper).await.0, 200);
    let (_, bill) = shop.get(path, &shop.admin).await;
    assert_eq!(bill["total"], "0.05", "{bill}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_billed_by_time_pays_for_what_it_reserved() {
    clause("6.5.4.2");
    let shop = Shop::open(Config::default()).await;
    shop.quotas_as("scheduler").reserve(shop.ask("app:1", 4_000)).await.expect("it fits");
    // As if it had been reserved ten minutes ago (within this month: a span is cut at its first instant).
    sqlx::query("update reservation_spans set from_at = from_at - interval '10 minutes'").execute(&shop.host.db().pool).await.expect("moved");
    let (status, plan) = shop.put("/api/v1/orgs/acme/price-plan", &shop.root, json!({"plan": "reserved"})).await;
    assert_eq!((status, plan["name"].as_str()), (200, Some("reserved")));
    let (_, bill) = shop.get("/api/v1/orgs/acme/invoices/current", &shop.admin).await;
    let cpu = bill["lines"].as_array().expect("lines").iter().find(|l| l["meter"] == "reserved_cpu_core_hours").expect("a line").clone();
    let hours = decimal(&cpu["quantity"]);
    assert!(hours > "0.66".parse().expect("a decimal") && hours < "0.80".parse().expect("a decimal"), "4 cores for 10 minutes: {hours}");
    assert!(adds_up(&bill), "{bill}");
    assert_eq!(shop.put("/api/v1/orgs/acme/price-plan", &shop.root, json!({"plan": "nope"})).await.0, 409);
    assert_eq!(shop.put("/api/v1/orgs/acme/price-plan", &shop.admin, json!({"plan": "reserved"})).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_is_over_is_billed_once_and_a_voided_bill_again() {
    let shop = Shop::open(Config::default()).await;
    let now = shop.host.env.now();
    let past = gantry_billing::domain::period::Period::of(now - time::Duration::days(62));
    let at = past.start() + time::Duration::hours(5);
    shop.publish(&shop.sample("cpu_core_seconds", 36_000.0, at)).await;
    let path = format!("/api/v1/orgs/acme/invoices/{past}");
    let counted = || async { sqlx::query_scalar::<_, i64>("select count(*) from usage_hours").fetch_one(&shop.host.db().pool).await.expect("read") == 1 };
    shop.world.until("the sample is in", LONG, counted).await;
    assert_eq!(shop.get(&path, &shop.admin).await.0, 404);
    // A second replica finds it due at its start, for the first one looks only every quarter of an hour.
    gantry_billing::flows::issue::round(&gantry_billing::App::of(&shop.host, Config::default()), time::Duration::hours(24)).await;
    gantry_billing::flows::issue::round(&gantry_billing::App::of(&shop.host, Config::default()), time::Duration::hours(24)).await;
    let (status, bill) = shop.get(&path, &shop.admin).await;
    assert_eq!((status, bill["state"].as_str(), bill["total"].as_str()), (200, Some("issued"), Some("2.00")), "{bill}");
    assert!(adds_up(&bill));
    let (_, list) = shop.get("/api/v1/orgs/acme/invoices", &shop.admin).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));

    // Late: that month is closed, so it is billed in the open one.
    shop.publish(&shop.sample("cpu_core_seconds", 3_600.0, at)).await;
    let total = || async { shop.get("/api/v1/orgs/acme/invoices/current", &shop.admin).await.1["total"] == "0.20" };
    shop.world.until("the late sample is on the open bill", LONG, total).await;
    assert_eq!(shop.get(&path, &shop.admin).await.1["total"], "2.00");

    let void = format!("{path}/void");
    let post = |token: String, body: Value| {
        let (shop, void) = (&shop, &void);
        async move { shop.world.call(&shop.host, reqwest::Method::POST, void, Some(&token), Some(&body)).await.0 }
    };
    assert_eq!(post(shop.admin.clone(), json!({"reason": "x"})).await, 403);
    assert_eq!(post(shop.root.clone(), json!({"reason": ""})).await, 400);
    assert_eq!(post(shop.root.clone(), json!({"reason": "wrong price"})).await, 200);
    assert_eq!(shop.get(&path, &shop.admin).await.1["state"], "voided");
    gantry_billing::flows::issue::round(&gantry_billing::App::of(&shop.host, Config::default()), time::Duration::hours(24)).await;
    assert_eq!(shop.get(&path, &shop.admin).await.1["state"], "issued");
}
