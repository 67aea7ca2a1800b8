//! The audit trail, logs, metrics and events over gRPC.

use gantry_client::monitoring::audit_client::AuditClient;
use gantry_client::monitoring::events_client::EventsClient;
use gantry_client::monitoring::logs_client::LogsClient;
use gantry_client::monitoring::{ExportAuditRequest, ExportLogsRequest, ReadLogsRequest, SearchAuditRequest, StreamEventsRequest};
use gantry_contract::scheduler::AppEvent;
use gantry_host::Service;
use gantry_kernel::Uuid;
use gantry_monitoring::{Monitoring, OF_REST};
use gantry_testkit::agreement::{Apart, disagreements};
use gantry_testkit::clause;
use gantry_testkit::refusals::Stranger::{Nothing, Own, Refused};
use gantry_testkit::refusals::{Callers, Line, faults};
use gantry_testkit::rpc::{by, gateway};
use serde_json::json;
use tonic::Code;

use crate::place::{LONG, Place};

#[test]
fn every_operation_of_rest_has_its_rpc_with_the_same_fields() {
    let document = serde_json::to_value(Monitoring::openapi()).expect("JSON");
    let faults = disagreements(&document, OF_REST, &Apart { files: true, ..Apart::default() });
    assert!(faults.is_empty(), "{}", faults.into_iter().collect::<Vec<_>>().join("\n"));
}

fn table() -> Vec<Line> {
    let app = json!({ "org": "acme", "project": "shop", "space": "test", "app": "web" });
    let text = json!({ "org": "acme", "project": "shop", "space": "test", "app": "web", "format": "text" });
    let span = json!({ "query": "up", "start": "0", "end": "1", "step": "1s" });
    let place = json!({ "org": "acme", "project": "shop", "space": "test" });
    let rule = json!({ "org": "acme", "project": "shop", "space": "test", "name": "hot" });
    let set =
        json!({ "org": "acme", "project": "shop", "space": "test", "name": "hot", "app": "web", "figure": "cpu", "threshold": 0.8, "severity": "critical" });
    vec![
        ("Alerts.PutAlertRule", set, Refused),
        ("Alerts.GetAlertRule", rule.clone(), Refused),
        ("Alerts.ListAlertRules", place.clone(), Refused),
        ("Alerts.ListAlerts", place, Refused),
        ("Alerts.DeleteAlertRule", rule, Refused),
        // Whoever administers an organisation sees its own part.
        ("Audit.SearchAudit", json!({}), Own),
        ("Audit.ExportAudit", json!({ "format": "csv" }), Own),
        ("Audit.VerifyAudit", json!({}), Refused),
        ("Logs.ReadLogs", app.clone(), Refused),
        ("Logs.ExportLogs", text, Refused),
        ("Logs.FollowLogs", app.clone(), Refused),
        ("Metrics.GetAppMetrics", app, Refused),
        ("Metrics.GetNodeMetrics", json!({ "node": "n1" }), Nothing),
        ("Metrics.QueryMetrics", json!({ "query": "up" }), Refused),
        ("Metrics.QueryMetricsRange", span, Refused),
        ("Events.StreamEvents", json!({ "after": 0 }), Own),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_nobody_and_strangers_and_lets_its_administrator_through() {
    let place = Place::open(|_| {}).await;
    place.happened(place.app, AppEvent::ReleaseFailed { app: place.app, revision: 1, reason: "image not found".into() }).await;
    place.print(&place.batch(Uuid::now_v7(), 0, &[(place.host.env.now(), "a line to follow")])).await;
    let callers = Callers { channel: gateway(&place.world, &place.host), stranger: &place.stranger, administrator: &place.root };
    let wrong = faults(&callers, OF_REST, &table()).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_searched_exported_and_proven_over_grpc_by_those_who_may() {
    clause("6.6.2.1.a");
    clause("6.6.2.1.b");
    let place = Place::open(|_| {}).await;
    place.happened(place.app, AppEvent::ReleaseFailed { app: place.app, revision: 1, reason: "image not found".into() }).await;
    let mut audit = AuditClient::new(gateway(&place.world, &place.host));
    let failed = SearchAuditRequest { result: Some("failed".into()), ..Default::default() };
    let seen = place.world.until("it is in", LONG, || {
        let (mut audit, request) = (audit.clone(), by(&place.admin, failed.clone()));
        async move { audit.search_audit(request).await.is_ok_and(|page| page.get_ref().items.len() == 1) }
    });
    seen.await;
    let record = audit.search_audit(by(&place.admin, failed.clone())).await.expect("a page").into_inner().items.remove(0);
    assert_eq!((record.reason.as_str(), record.kind.as_str()), ("image not found", "app.release-failed"));
    assert!(record.content.is_some() && record.at.is_some(), "{record:?}");
    assert_eq!(audit.search_audit(failed.clone()).await.expect_err("nobody").code(), Code::Unauthenticated);
    assert_eq!(audit.search_audit(by(&place.reader, failed.clone())).await.expect_err("no administrator").code(), Code::PermissionDenied);
    let theirs = audit.search_audit(by(&place.stranger, failed)).await.expect("their own part").into_inner();
    assert!(theirs.items.is_empty(), "nothing of another organisation");

    let all = ExportAuditRequest { format: "csv".into(), kind: Some("app.*".into()), ..Default::default() };
    let mut file = audit.export_audit(by(&place.admin, all)).await.expect("a file").into_inner();
    let mut text = String::new();
    while let Some(piece) = file.message().await.expect("whole") {
        text += std::str::from_utf8(&piece.data).expect("text");
    }
    assert!(text.contains("app.release-failed"), "{text}");
    let proof = audit.verify_audit(by(&place.root, ())).await.expect("a proof").into_inner();
    assert!(proof.whole && proof.records > 0, "{proof:?}");
    assert_eq!(audit.verify_audit(by(&place.admin, ())).await.expect_err("the platform's").code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_exported_and_followed_and_events_come_over_grpc() {
    let place = Place::open(|_| {}).await;
    let (now, instance) = (place.host.env.now(), Uuid::now_v7());
    place.print(&place.batch(instance, 0, &[(now, "one")])).await;
    let channel = gateway(&place.world, &place.host);
    let mut logs = LogsClient::new(channel.clone());
    let ask = ReadLogsRequest { org: "acme".into(), project: "shop".into(), space: "test".into(), app: "web".into(), ..Default::default() };
    let read = || {
        let (mut logs, request) = (logs.clone(), by(&place.reader, ask.clone()));
        async move { logs.read_logs(request).await.is_ok_and(|page| page.get_ref().items.len() == 1) }
    };
    place.world.until("the line is in", LONG, read).await;
    let mut followed = logs.follow_logs(by(&place.reader, ask)).await.expect("a stream").into_inner();
    assert_eq!(followed.message().await.expect("it goes on").expect("a line").text, "one");
    place.print(&place.batch(instance, 10, &[(now, "two")])).await;
    let line = tokio::time::timeout(gantry_testkit::patience(LONG), followed.message()).await.expect("it is told").expect("it goes on").expect("a line");
    assert_eq!((line.text.as_str(), line.stream.as_str(), line.instance), ("two", "stdout", instance.to_string()));

    let ask = ExportLogsRequest {
        org: "acme".into(),
        project: "shop".into(),
        space: "test".into(),
        app: "web".into(),
        format: Some("text".into()),
        ..Default::default()
    };
    let mut file = logs.export_logs(by(&place.reader, ask)).await.expect("a file").into_inner();
    let mut text = String::new();
    while let Some(piece) = file.message().await.expect("whole") {
        text += std::str::from_utf8(&piece.data).expect("text");
    }
    assert_eq!(text.lines().count(), 2, "{text}");

    let from_the_first = StreamEventsRequest { after: Some(0) };
    let mut events = EventsClient::new(channel).stream_events(by(&place.admin, from_the_first)).await.expect("a stream").into_inner();
    let created = async { while events.message().await.expect("it goes on").expect("an event").kind != "app.created" {} };
    tokio::time::timeout(gantry_testkit::patience(LONG), created).await.expect("what has happened is told");
}
