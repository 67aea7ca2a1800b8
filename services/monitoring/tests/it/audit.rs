//! The trail: what comes in, who sees what, search, export, proof, live events.

use std::time::Duration;

use gantry_contract::audit::AuditFact;
use gantry_contract::scheduler::{AppEvent, InstanceEvent};
use gantry_kernel::{InstanceId, Uuid};
use gantry_testkit::clause;
use serde_json::{Value, json};

use crate::place::{LONG, Place, events_until};

fn revised(place: &Place) -> AppEvent {
    let model = json!({"workloads": [{"name": "web", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}]});
    AppEvent::Revised { app: place.app, revision: 1, format: "compose".into(), model, images: vec!["web@sha256:1".into()], reason: "=cmd|' /C calc'!A0".into() }
}

async fn seen(place: &Place, query: &str, token: &str) -> Vec<Value> {
    let (status, page) = place.get(&format!("/api/v1/audit?{query}"), token).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_a_record_of_who_what_when_with_what_result_and_no_secret() {
    clause("6.6.2.1.a");
    clause("6.6.2.1.b");
    let place = Place::open(|_| {}).await;
    place.happened(place.app, revised(&place)).await;
    place.happened(place.app, AppEvent::ReleaseFailed { app: place.app, revision: 1, reason: "image not found".into() }).await;
    place.world.until("both are in", LONG, || async { seen(&place, "kind=app.release-failed", &place.admin).await.len() == 1 }).await;

    let failed = seen(&place, "result=failed", &place.admin).await;
    assert_eq!(failed.len(), 2, "the end, and what it ended");
    let record = &failed[0];
    assert_eq!((record["reason"].as_str(), record["result"].as_str(), record["name"].as_str()), (Some("image not found"), Some("failed"), Some("web")));
    assert_eq!(record["actor"], format!("user:{}", place.admin_id));
    assert_eq!(record["object"], format!("app:{}", place.app));
    assert_eq!((record["from"].as_str(), record["space"].as_str()), (Some("10.1.2.3"), Some(place.space.id.to_string().as_str())));

    let revisions = seen(&place, "kind=app.*&q=DB_PASSWORD", &place.admin).await;
    assert_eq!(revisions.len(), 1, "found by its content");
    assert!(!revisions[0].to_string().contains("hunter2"));
    assert!(seen(&place, "q=hunter2", &place.admin).await.is_empty());
    assert!(seen(&place, &format!("actor=user:{}", Uuid::now_v7()), &place.admin).await.is_empty());
    assert_eq!(seen(&place, &format!("object=app:{}&from=1h", place.app), &place.admin).await.len(), 3);

    let first = place.get("/api/v1/audit?kind=app.*&limit=2", &place.admin).await.1;
    let next = first["next"].as_str().expect("a second page").to_owned();
    let second = place.get(&format!("/api/v1/audit?kind=app.*&limit=2&cursor={next}"), &place.admin).await.1;
    assert_eq!((second["items"][0]["kind"].as_str(), second["next"].as_str()), (Some("app.created"), None));

    // What was asked for is running until its end is heard of, and then has the end's outcome.
    assert_eq!((revisions[0]["state"].as_str(), revisions[0]["result"].as_str()), (Some("ended"), Some("failed")), "{}", revisions[0]);
    assert!(revisions[0]["ended_at"].is_string());
    place.happened(place.app, AppEvent::ReleaseStarted { app: place.app, revision: 2, from: Some(1), strategy: "rolling".into() }).await;
    place.world.until("the release began", LONG, || async { !seen(&place, "kind=app.release-started", &place.admin).await.is_empty() }).await;
    let running = &seen(&place, "kind=app.release-started", &place.admin).await[0];
    assert_eq!((running["state"].as_str(), &running["ended_at"]), (Some("running"), &Value::Null), "{running}");

    let csv = place.open_stream("/api/v1/audit?format=csv&kind=app.*", &place.admin, None).await.text().await.expect("text");
    assert_eq!(csv.lines().count(), 5, "{csv}");
    let lines = place.open_stream("/api/v1/audit?format=jsonl&kind=app.*", &place.admin, None).await.text().await.expect("text");
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((lines.len(), lines[3]["kind"].as_str()), (4, Some("app.created")));
    assert!(csv.contains("'=cmd|"), "formulas are text: {csv}");
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_their_own_part_and_others_nothing() {
    let place = Place::open(|_| {}).await;
    let org = place.space.project.org.id;
    let fact = |org, reason: &str| AuditFact {
        id: Uuid::now_v7(),
        at: place.host.env.now(),
        service: "identity".into(),
        actor: "anonymous".into(),
        action: "session.refused".into(),
        object: "user:x\0y".into(),
        org,
        result: "denied".into(),
        reason: reason.into(),
        from: "192.0.2.7".into(),
        trace_id: None,
        before: Some(json!({"secret_key": "hunter2", "name": "old"})),
        after: Some(json!({"name": "new"})),
    };
    let (own, nobodys) = (fact(Some(org), "wrong password"), fact(None, "no such user"));
    for fact in [&own, &own, &nobodys] {
        place.put(gantry_bus::streams::AUDIT, "identity", serde_json::to_vec(fact).expect("JSON")).await;
    }
    place.put(gantry_bus::streams::AUDIT, "identity", b"{".to_vec()).await;
    place.world.until("the facts are in", LONG, || async { seen(&place, "result=denied&q=no such user", &place.root).await.len() == 1 }).await;
    assert_eq!(seen(&place, "result=denied&kind=session.refused", &place.root).await.len(), 2);
    assert_eq!(seen(&place, "result=denied&kind=session.refused", &place.admin).await.len(), 1);
    let told = &seen(&place, "result=denied&kind=session.refused", &place.admin).await[0];
    assert_eq!((told["content"].clone(), told["before"].clone()), (json!({"name": "new"}), json!({"secret_key": "***", "name": "old"})));
    assert_eq!(seen(&place, "q=\"old\"", &place.root).await.len(), 2, "found by what it was");
    for record in seen(&place, "limit=500", &place.stranger).await {
        assert_ne!(record["org"], org.to_string(), "{record}");
    }
    assert!(seen(&place, "org=acme", &place.stranger).await.is_empty());
    assert_eq!(place.get("/api/v1/audit", &place.reader).await.0, 403);
    for bad in ["result=bad", "limit=0", "cursor=x", "colour=red", "from=never"] {
        assert_eq!(place.get(&format!("/api/v1/audit?{bad}"), &place.admin).await.0, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_or_removed_record_is_found_and_the_service_itself_cannot_change_one() {
    let place = Place::open(|_| {}).await;
    let proof = || async { place.get("/api/v1/audit/verify", &place.root).await.1 };
    assert_eq!(proof().await["whole"], true, "{}", proof().await);
    assert_eq!(place.get("/api/v1/audit/verify", &place.admin).await.0, 403);
    let (pool, owner) = (&place.host.db().pool, &place.host.db().admin);
    for sql in ["update audit set reason = 'x'", "delete from audit", "truncate audit"] {
        let refused = sqlx::query(sql).execute(pool).await.expect_err("append-only");
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
    sqlx::query("update audit set reason = 'x' where seq = 3").execute(owner).await.expect("the owner can");
    assert_eq!(proof().await["first_bad"], 3);
    sqlx::query("update audit set reason = '' where seq = 3").execute(owner).await.expect("the owner can");
    assert_eq!(proof().await["whole"], true);
    sqlx::query("delete from audit where seq = (select max(seq) from audit)").execute(owner).await.expect("the owner can");
    assert_eq!(proof().await["whole"], false, "a cut end is found");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_events_come_to_those_who_may_see_them_and_go_on_after_a_break() {
    let place = Place::open(|_| {}).await;
    let mut mine = place.open_stream("/api/v1/events", &place.reader, None).await;
    let mut theirs = place.open_stream("/api/v1/events", &place.stranger, None).await;
    place.happened(place.app, AppEvent::Stopped { app: place.app }).await;
    let got = events_until(&mut mine, |e| !e.is_empty()).await;
    assert_eq!((got[0].1["kind"].as_str(), got[0].1["from"].as_str()), (Some("app.stopped"), None));
    drop(mine);
    place.happened(place.app, AppEvent::Started { app: place.app }).await;
    let mut again = place.open_stream("/api/v1/events", &place.reader, Some(&got[0].0)).await;
    let got = events_until(&mut again, |e| !e.is_empty()).await;
    assert_eq!(got[0].1["kind"], "app.started");
    let leaked = tokio::time::timeout(Duration::from_millis(500), events_until(&mut theirs, |e| !e.is_empty())).await;
    assert!(leaked.is_err(), "another tenant's events: {leaked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_container_is_told_as_it_happens_with_why_and_is_kept() {
    clause("6.6.1.2.d");
    let place = Place::open(|_| {}).await;
    let (instance, app) = (InstanceId(Uuid::now_v7()), place.app);
    let mut mine = place.open_stream("/api/v1/events", &place.reader, None).await;
    let mut theirs = place.open_stream("/api/v1/events", &place.stranger, None).await;
    let placed = InstanceEvent::Placed {
        instance,
        app,
        org: place.space.project.org.id,
        project: place.space.project.id,
        space: place.space.id,
        workload: crate::place::name("web"),
        index: 0,
        revision: 1,
        node: crate::place::name("n1"),
        cpu_millis: 100,
        memory_bytes: 1 << 20,
        storage_bytes: 0,
    };
    let story = [
        placed,
        InstanceEvent::Running { instance, app, address: "10.0.0.7".into() },
        InstanceEvent::Unhealthy { instance, app, reason: "GET /healthy answered 500".into() },
        InstanceEvent::Restarted { instance, app, restarts: 1, exit_code: 137, reason: "out of memory".into() },
        InstanceEvent::Stopped { instance, app, exit_code: 1, reason: "it crashed".into() },
    ];
    for event in story {
        place.happened(instance, event).await;
    }
    let got = events_until(&mut mine, |events| events.len() >= 5).await;
    let told: Vec<(&str, &str)> = got.iter().map(|(_, e)| (e["kind"].as_str().unwrap_or_default(), e["reason"].as_str().unwrap_or_default())).collect();
    let wanted = [
        ("instance.placed", ""),
        ("instance.running", ""),
        ("instance.unhealthy", "GET /healthy answered 500"),
        ("instance.restarted", "out of memory"),
        ("instance.stopped", "it crashed"),
    ];
    assert_eq!(told, wanted);
    let leaked = tokio::time::timeout(Duration::from_millis(500), events_until(&mut theirs, |events| !events.is_empty())).await;
    assert!(leaked.is_err(), "another tenant's containers: {leaked:?}");

    let kept = seen(&place, &format!("object=instance:{instance}"), &place.admin).await;
    assert_eq!(kept.len(), 5, "{kept:#?}");
    assert_eq!((kept[0]["kind"].as_str(), kept[0]["result"].as_str()), (Some("instance.stopped"), Some("failed")));
    assert!(kept.iter().all(|e| e["space"] == place.space.id.to_string()), "each is of its application's space: {kept:#?}");
    assert_eq!(kept[4]["content"]["node"], "n1", "{}", kept[4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_on_record_with_what_it_was_before() {
    clause("6.6.2.1.a");
    let place = Place::open(|_| {}).await;
    let scaled = |replicas, from| AppEvent::Scaled { app: place.app, workload: crate::place::name("web"), replicas, from };
    place.happened(place.app, revised(&place)).await;
    let again = json!({"workloads": [{"name": "web", "env": [{"name": "DB_PASSWORD", "value": "other"}], "replicas": 2}]});
    let second =
        AppEvent::Revised { app: place.app, revision: 2, format: "compose".into(), model: again, images: vec!["web@sha256:2".into()], reason: "more".into() };
    place.happened(place.app, second).await;
    place.happened(place.app, scaled(3, 2)).await;
    place.happened(place.app, scaled(4, 3)).await;
    place.happened(place.app, AppEvent::Deleted { app: place.app }).await;
    place.world.until("all are in", LONG, || async { !seen(&place, "kind=app.deleted", &place.admin).await.is_empty() }).await;

    let revisions = seen(&place, "kind=app.revised", &place.admin).await;
    let (second, first) = (&revisions[0], &revisions[1]);
    assert_eq!(first["before"], Value::Null);
    assert_eq!(second["before"]["images"], json!(["web@sha256:1"]));
    assert_eq!(second["content"]["images"], json!(["web@sha256:2"]));
    assert_eq!(second["before"].get("format"), None, "only what has changed");
    assert!(!second.to_string().contains("hunter2") && !second.to_string().contains("other"), "{second}");
    assert_eq!(seen(&place, "kind=app.scaled", &place.admin).await[0]["before"], json!({"replicas": 3, "from": 2}));
    let gone = &seen(&place, "kind=app.deleted", &place.admin).await[0];
    assert_eq!((gone["before"]["name"].as_str(), gone["before"]["replicas"].as_u64()), (Some("web"), Some(4)), "{gone}");
    let proof = place.get("/api/v1/audit/verify", &place.root).await.1;
    assert_eq!(proof["whole"], true, "{proof}");
    sqlx::query("update audit set before = null where kind = 'app.deleted'").execute(&place.host.db().admin).await.expect("the owner can");
    assert_eq!(place.get("/api/v1/audit/verify", &place.root).await.1["whole"], false, "what it was is under the chain, too");
}
