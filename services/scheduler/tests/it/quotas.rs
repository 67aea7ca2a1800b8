//! What applications hold of a quota, and whoever waits for it.

use gantry_contract::proto::billing::quotas_client::QuotasClient;
use gantry_contract::proto::billing::{Amounts, ReserveRequest};
use gantry_kernel::{AppId, Uuid};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::neighbours::Limits;
use crate::place::{LONG, Place, config};

/// An application of one workload with this much of a core for each instance.
fn of(name: &str, cpu_millis: u32, queue: bool) -> Value {
    let workload = format!("{{image: acme/shop/web:1, requests: {{cpu_millis: {cpu_millis}}}}}");
    let document = format!("apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: shop}}\nspec:\n  workloads:\n    web: {workload}\n");
    json!({"name": name, "format": "gantry", "document": document, "reason": "test", "queue": queue})
}

async fn small() -> Place {
    Place::with(config(), Limits { cpu_millis: 500, ..Limits::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_has_reserved_for_nothing_is_given_back() {
    let place = small().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    // As whoever is killed between its reservation and its append leaves it.
    let never = AppId(Uuid::from_u128(9));
    let (org, project) = (place.space.org().id, place.space.project.id);
    let request = ReserveRequest {
        org_id: org.to_string(),
        project_id: project.to_string(),
        holder: format!("app:{never}"),
        total: Some(Amounts { cpu_millis: 400, ..Amounts::default() }),
        ..ReserveRequest::default()
    };
    QuotasClient::new(place.host.channel("billing").unwrap()).reserve(request).await.unwrap();
    let left = format!("insert into reserving (id, app, org, project, at) values ('{never}', '{never}', '{org}', '{project}', now() - interval '1 hour')");
    place.host.db().orm.execute_unprepared(&left).await.unwrap();
    let (status, deployed) = place.post(&place.apps(), of("web", 300, true)).await;
    assert_eq!(status, 201, "{deployed:#}");
    place.reaches("web", "running", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_refused_change_has_reserved_is_given_back() {
    let place = small().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    place.post(&place.apps(), of("first", 100, false)).await;
    place.reaches("first", "running", 1).await;
    let url = format!("{}{}/first/scale", place.host.url_of("scheduler").unwrap(), place.apps());
    let body = json!({"workload": "web", "replicas": 4});
    let refused = place.world.http.post(url).bearer_auth(&place.token).header("if-match", "\"99\"").json(&body).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 412);
    let (status, deployed) = place.post(&place.apps(), of("second", 300, true)).await;
    assert_eq!(status, 201, "{deployed:#}");
    place.reaches("second", "running", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_the_quota_longest_is_served_first() {
    let place = small().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.post(&place.apps(), of("first", 300, false)).await;
    place.reaches("first", "running", 1).await;
    let (_, large) = place.post(&place.apps(), of("large", 400, true)).await;
    assert!(large["queued"].is_string(), "{large:#}");
    // There would be room for it, and whoever came before would wait the longer.
    let (_, small) = place.post(&place.apps(), of("small", 150, true)).await;
    assert_eq!(small["queued"], "`large` of this space came first", "{small:#}");
    let waits = async || {
        let (_, why) = place.get(&format!("{}/small/why", place.apps())).await;
        why["waiting"].to_string().contains("`large` of this space came first")
    };
    place.world.until("it says whom it waits for", LONG, waits).await;
    assert_eq!(agent.running().len(), 1);
    // What can never fit is refused also behind others.
    let (status, refused) = place.post(&place.apps(), of("never", 600, true)).await;
    assert_eq!((status, &refused["code"]), (422, &json!("billing.quota_too_small")));
    place.post(&format!("{}/first/stop", place.apps()), json!({})).await;
    place.reaches("large", "running", 1).await;
    assert_eq!(place.app("small").await["state"], "pending");
    // Who is stopped waits for nothing, and nobody for it.
    place.post(&format!("{}/large/stop", place.apps()), json!({})).await;
    place.reaches("small", "running", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_quota_takes_no_room_by_another_change() {
    let place = small().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    place.post(&place.apps(), of("first", 300, false)).await;
    place.reaches("first", "running", 1).await;
    place.post(&place.apps(), of("large", 400, true)).await;
    let (_, small) = place.post(&place.apps(), of("small", 150, true)).await;
    assert_eq!(small["queued"], "`large` of this space came first", "{small:#}");
    // There would be room for it now: held by it, it would never be there for whom it waits.
    assert_eq!(place.post(&format!("{}/small/restart", place.apps()), json!({})).await.0, 200);
    let scale = async |replicas: u32| place.post(&format!("{}/small/scale", place.apps()), json!({"workload": "web", "replicas": replicas})).await;
    assert_eq!(scale(2).await.0, 200);
    let (status, refused) = scale(9).await;
    assert_eq!((status, &refused["code"]), (422, &json!("billing.quota_too_small")), "{refused}");
    place.post(&format!("{}/first/stop", place.apps()), json!({})).await;
    place.reaches("large", "running", 1).await;
    place.post(&format!("{}/large/stop", place.apps()), json!({})).await;
    place.reaches("small", "running", 1).await;
}
