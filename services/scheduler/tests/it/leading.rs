//! One process decides at a time, and one that does not any more stops at once.

use gantry_contract::proto::scheduler::agent_message::Message;
use gantry_contract::proto::scheduler::agents_client::AgentsClient;
use gantry_contract::proto::scheduler::{AgentMessage, Hello};
use gantry_es_pg::Lease;
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place};

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_loses_its_lease_in_the_middle_of_a_round_finds_no_more_places() {
    let place = Place::new().await;
    let deploy = async |name: &str, cpu_millis: u32, priority: u32| {
        let workload = format!("{{image: acme/shop/web:1, requests: {{cpu_millis: {cpu_millis}}}, priority: {priority}}}");
        let document = format!("apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: shop}}\nspec:\n  workloads:\n    web: {workload}\n");
        let (status, answer) = place.post(&place.apps(), json!({"name": name, "format": "gantry", "document": document, "reason": "test"})).await;
        assert_eq!(status, 201, "{answer:#}");
    };
    // As many as are looked at at once, of which one finds a place, and one that comes after them.
    for n in 0..15 {
        deploy(&format!("large-{n}"), 5000, 100).await;
    }
    deploy("first", 100, 100).await;
    deploy("second", 100, 0).await;
    // Their priorities are known once they were looked at.
    for name in (0..15).map(|n| format!("large-{n}")).chain(["first", "second"].map(str::to_owned)) {
        let path = format!("{}/{name}/why", place.apps());
        let waits = async || place.get(&path).await.1["waiting"].as_array().is_some_and(|all| !all.is_empty());
        place.world.until("it was looked at", LONG, || async { waits().await }).await;
    }

    let db = place.host.db();
    let owner = db.admin_orm();
    let count = async |sql: &str| {
        let row = owner.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap().unwrap();
        row.try_get::<i64>("", "n").unwrap()
    };
    let held = owner.begin().await.unwrap();
    held.execute_unprepared("lock table decisions in share mode").await.unwrap();
    let agent = Agent::join(&place, "n1", 1000).await;
    let waits = format!("select count(*) as n from pg_locks where not granted and relation = '{}.decisions'::regclass", db.schema);
    place.world.until("the first has a place, and why is not written yet", LONG, || async { count(&waits).await > 0 }).await;
    let key = format!("hashtextextended('{}reconciler', 0)", db.schema);
    let of_lease = format!("locktype = 'advisory' and objsubid = 1 and granted and ((classid::bigint << 32) | objid::bigint) = {key}");
    let ended = count(&format!("select count(pg_terminate_backend(pid)) as n from pg_locks where {of_lease}")).await;
    assert_eq!(ended, 1);
    let other = tokio::time::timeout(LONG, Lease::acquire(&db.pool, "reconciler", &place.host.cancel)).await.expect("it is free").unwrap();
    held.rollback().await.unwrap();

    let attach = async || {
        let message = AgentMessage { message: Some(Message::Hello(Hello { node: "n9".into(), facts: None })) };
        AgentsClient::new(place.channel("agent")).attach(tokio_stream::iter([message])).await.map(drop)
    };
    let refuses = async || attach().await.is_err_and(|refused| refused.code() == tonic::Code::Unavailable);
    place.world.until("it does not decide any more", LONG, || async { refuses().await }).await;
    assert_eq!((place.instances("first").await.len(), place.instances("second").await.len()), (1, 0));
    other.release().await;
    agent.attach(&place, "n1", 1000).await;
    place.reaches("first", "running", 1).await;
    place.reaches("second", "running", 1).await;
}
