//! Quotas, usage, prices and invoices over gRPC, as programs with a person's token use them.

use gantry_billing::{Billing, Config, OF_REST};
use gantry_client::billing as api;
use gantry_client::billing::price_plans_client::PricePlansClient;
use gantry_client::billing::quota_settings_client::QuotaSettingsClient;
use gantry_client::billing::usage_reports_client::UsageReportsClient;
use gantry_host::Service;
use gantry_testkit::agreement::{Apart, disagreements};
use gantry_testkit::refusals::Stranger::{Nothing, Own, Refused};
use gantry_testkit::refusals::{Callers, Line, faults};
use gantry_testkit::rpc::{by, gateway};
use serde_json::json;
use tonic::Code;

use crate::shop::Shop;

#[test]
fn every_operation_of_rest_has_its_rpc_with_the_same_fields() {
    let document = serde_json::to_value(Billing::openapi()).expect("JSON");
    let faults = disagreements(&document, OF_REST, &Apart::default());
    assert!(faults.is_empty(), "{}", faults.into_iter().collect::<Vec<_>>().join("\n"));
}

/// In an order in which an administrator can make all the calls one after another.
fn table() -> Vec<Line> {
    let acme = json!({ "org": "acme" });
    let shop = json!({ "org": "acme", "project": "shop" });
    let month = json!({ "org": "acme", "period": "2020-01" });
    let nobody = "00000000-0000-4000-8000-000000000000";
    vec![
        ("QuotaSettings.GetOrgQuota", acme.clone(), Refused),
        ("QuotaSettings.SetOrgQuota", json!({ "org": "acme", "limits": { "cpu_millis": 1000 } }), Refused),
        ("QuotaSettings.GetProjectQuota", shop.clone(), Refused),
        ("QuotaSettings.SetProjectQuota", json!({ "org": "acme", "project": "shop", "limits": {} }), Refused),
        ("QuotaSettings.GetUserQuota", json!({ "user": nobody }), Refused),
        ("QuotaSettings.SetUserQuota", json!({ "user": nobody, "limits": {} }), Refused),
        ("UsageReports.GetOrgUsage", acme.clone(), Refused),
        ("UsageReports.GetProjectUsage", shop, Refused),
        ("Invoices.ListInvoices", acme.clone(), Refused),
        ("Invoices.GetCurrentInvoice", acme.clone(), Refused),
        ("Invoices.GetInvoice", month.clone(), Nothing),
        ("Invoices.VoidInvoice", json!({ "org": "acme", "period": "2020-01", "reason": "wrong" }), Refused),
        ("PricePlans.ListPricePlans", json!({}), Own),
        ("PricePlans.PublishPricePlan", json!({ "name": "cheap", "currency": "EUR", "prices": {} }), Refused),
        ("PricePlans.GetOrgPricePlan", acme, Refused),
        ("PricePlans.AssignPricePlan", json!({ "org": "acme", "plan": "default" }), Refused),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_nobody_and_strangers_and_lets_its_administrator_through() {
    let shop = Shop::open(Config::default()).await;
    let callers = Callers { channel: gateway(&shop.world, &shop.host), stranger: &shop.stranger, administrator: &shop.root };
    let wrong = faults(&callers, OF_REST, &table()).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_usage_read_and_prices_published_over_grpc() {
    let shop = Shop::open(Config::default()).await;
    let channel = gateway(&shop.world, &shop.host);
    let mut quotas = QuotaSettingsClient::new(channel.clone());
    let limits = api::QuotaLimits { cpu_millis: Some(1000), ..Default::default() };
    let set = api::SetOrgQuotaRequest { org: "acme".into(), limits: Some(limits) };
    let refused = quotas.set_org_quota(by(&shop.admin, set.clone())).await.expect_err("nobody raises their own limits");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let quota = quotas.set_org_quota(by(&shop.root, set.clone())).await.expect("it is set").into_inner();
    let limits = quota.limits.expect("limits");
    assert_eq!((quota.source.as_str(), limits.cpu_millis, limits.memory_bytes), ("set", Some(1000), None));
    let mut stale = by(&shop.root, set);
    stale.metadata_mut().insert("if-match", "\"99\"".parse().expect("a header"));
    assert_eq!(quotas.set_org_quota(stale).await.expect_err("somebody else was faster").code(), Code::Aborted);

    let reserved = shop.quotas_as("scheduler").reserve(shop.ask("app:web", 400)).await;
    reserved.expect("there is room");
    let quota = quotas.get_org_quota(by(&shop.admin, api::GetOrgQuotaRequest { org: "acme".into() })).await.expect("it is read").into_inner();
    assert_eq!(quota.used.map(|u| (u.cpu_millis, u.containers)), Some((400, 1)));

    let (from, to) = (Some("2026-01-01T00:00:00Z".into()), Some("2026-02-01T00:00:00Z".into()));
    let ask = api::GetOrgUsageRequest { org: "acme".into(), from, to };
    let usage = UsageReportsClient::new(channel.clone()).get_org_usage(by(&shop.admin, ask)).await.expect("a report").into_inner();
    assert_eq!(usage.from.expect("a time").seconds, 1_767_225_600);

    let mut plans = PricePlansClient::new(channel);
    let prices = [("cpu_core_hours".to_owned(), "0.02".to_owned())].into();
    let plan = api::PublishPricePlanRequest { name: "cheap".into(), currency: "EUR".into(), prices };
    let published = plans.publish_price_plan(by(&shop.root, plan)).await.expect("it is published").into_inner();
    assert_eq!(published.prices["cpu_core_hours"], "0.02");
    plans.assign_price_plan(by(&shop.root, api::AssignPricePlanRequest { org: "acme".into(), plan: "cheap".into() })).await.expect("it is assigned");
    let theirs = plans.get_org_price_plan(by(&shop.admin, api::GetOrgPricePlanRequest { org: "acme".into() })).await.expect("a plan").into_inner();
    assert_eq!((theirs.name.as_str(), theirs.currency.as_str()), ("cheap", "EUR"));
}
