//! Live migration, with nodes that freeze and go on as agents do.

use gantry_contract::scheduler::InstanceEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, StreamWrite};
use gantry_kernel::{AppId, InstanceId, Name, Uuid};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::place::{LONG, Place, config, web};

/// An application with one instance on one of two nodes: where it is, where it is not, and both agents in this order.
async fn two_nodes() -> (Place, Value, [(String, Agent); 2]) {
    let place = Place::new().await;
    let one = Agent::join(&place, "n1", 4000).await;
    let two = Agent::join(&place, "n2", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let instance = instances(&place).await.remove(0);
    let (one, two) = (("n1".to_owned(), one), ("n2".to_owned(), two));
    let both = if instance["node"] == "n1" { [one, two] } else { [two, one] };
    (place, instance, both)
}

async fn instances(place: &Place) -> Vec<Value> {
    let (status, list) = place.get(&format!("{}/web/instances", place.apps())).await;
    assert_eq!(status, 200, "{list}");
    list["items"].as_array().unwrap().clone()
}

fn at(place: &Place) -> String {
    format!("{}/web/instances/web-web-0/migrate", place.apps())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_goes_on_elsewhere_and_is_given_up_when_it_runs_there() {
    let (place, before, [(_, source), (elsewhere, target)]) = two_nodes().await;
    gantry_testkit::clause("6.3.3.x");
    let (status, moved) = place.post(&at(&place), json!({ "node": elsewhere })).await;
    assert_eq!((status, &moved["node"], &moved["carried_bytes"]), (200, &json!(elsewhere), &json!(12)), "{moved}");
    assert_ne!(moved["instance"], before["id"]);
    let only = async || {
        let all = instances(&place).await;
        all.len() == 1 && all[0]["id"] == moved["instance"] && all[0]["node"] == json!(elsewhere) && all[0]["state"] == "running"
    };
    place.world.until("the one before is gone", LONG, only).await;
    let told = |agent: &Agent| agent.opened().into_iter().map(|o| (o.kind, o.instance_id)).collect::<Vec<_>>();
    assert_eq!(told(&source), [("checkpoint-give".to_owned(), before["id"].as_str().unwrap().to_owned())]);
    assert_eq!(told(&target), [("checkpoint-take".to_owned(), moved["instance"].as_str().unwrap().to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_on_there_runs_on_where_it_was() {
    let (place, before, [(_, source), (elsewhere, target)]) = two_nodes().await;
    gantry_testkit::clause("6.3.3.x");
    let image = source.node.lock().unwrap().wanted.instances[0].image.clone();
    target.node.lock().unwrap().broken.insert(image);
    let fails = async {
        let wanted = || target.node.lock().unwrap().wanted.instances.first().map(|i| i.instance_id.clone());
        place.world.until("it is wanted there", LONG, async || wanted().is_some()).await;
        target.unwell.lock().unwrap().extend(wanted());
    };
    let body = json!({ "node": elsewhere });
    let path = at(&place);
    let ((status, problem), ()) = tokio::join!(place.post(&path, body), fails);
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.migration_failed")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("runs on where it was"), "{problem}");
    let same = async || {
        let all = instances(&place).await;
        all.len() == 1 && all[0]["id"] == before["id"] && all[0]["state"] == "running" && all[0]["displaced"].is_null()
    };
    place.world.until("it is as it was", LONG, same).await;
    assert!(source.running().contains(&before["id"].as_str().unwrap().to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_refuses_is_said_and_nothing_is_written_down() {
    let (place, before, [_, (elsewhere, target)]) = two_nodes().await;
    target.node.lock().unwrap().silent = true;
    let head = place.host.log().head();
    let (status, problem) = place.post(&at(&place), json!({ "node": elsewhere })).await;
    assert_eq!((status, &problem["code"]), (503, &json!("scheduler.node_away")), "{problem}");
    assert_eq!(place.post(&at(&place), json!({ "node": "nowhere" })).await.0, 404);
    assert_eq!(place.post(&at(&place), json!({ "node": "No Name" })).await.0, 400);
    let written = place.host.log().read(head, 100).await.unwrap();
    assert!(!written.iter().any(|e| e.kind.as_str() == "instance.placed" || e.kind.as_str() == "instance.displaced"), "{written:?}");
    assert_eq!(instances(&place).await[0]["id"], before["id"]);
}

/// The one instance is as it was before it was to go on elsewhere.
async fn is_as_it_was(place: &Place, before: &Value) -> bool {
    let all = instances(place).await;
    all.len() == 1 && all[0]["id"] == before["id"] && all[0]["state"] == "running" && all[0]["displaced"].is_null()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_ends_when_the_node_that_it_goes_to_is_lost() {
    let (place, before, [(_, source), (elsewhere, target)]) = two_nodes().await;
    gantry_testkit::clause("6.3.3.x");
    let image = source.node.lock().unwrap().wanted.instances[0].image.clone();
    target.node.lock().unwrap().broken.insert(image);
    let dies = async {
        place.world.until("it is wanted there", LONG, async || !target.node.lock().unwrap().wanted.instances.is_empty()).await;
        target.die();
    };
    // As programs ask, with a key of their own for the request.
    let url = format!("{}{}", place.host.url_of("scheduler").unwrap(), at(&place));
    let asked = place.world.http.post(url).bearer_auth(&place.token).header("idempotency-key", "move-1").json(&json!({ "node": elsewhere })).send();
    let (answer, ()) = tokio::join!(tokio::time::timeout(LONG * 3, asked), dies);
    let answer = answer.expect("long before the two minutes in which it may go on").unwrap();
    let (status, problem) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.migration_failed")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("was lost"), "{problem}");
    place.world.until("it is as it was", LONG, async || is_as_it_was(&place, &before).await).await;
    assert!(source.running().contains(&before["id"].as_str().unwrap().to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_a_killed_scheduler_left_is_given_up_by_the_next() {
    let (place, before, [(here, source), (elsewhere, target)]) = two_nodes().await;
    gantry_testkit::clause("6.3.3.x");
    let image = source.node.lock().unwrap().wanted.instances[0].image.clone();
    target.node.lock().unwrap().broken.insert(image);
    // What is there when it is killed at this moment.
    let app: AppId = place.app("web").await["id"].as_str().unwrap().parse().unwrap();
    let (from, successor): (InstanceId, InstanceId) = (before["id"].as_str().unwrap().parse().unwrap(), InstanceId(Uuid::from_u128(7)));
    let marked = format!("insert into displacements (instance, successor, at) values ('{from}', '{successor}', now())");
    place.host.db().orm.execute_unprepared(&marked).await.unwrap();
    let placed = InstanceEvent::Placed {
        instance: successor,
        app,
        org: place.space.org().id,
        project: place.space.project.id,
        space: place.space.id,
        workload: Name::parse("web").unwrap(),
        index: 0,
        revision: 1,
        node: Name::parse(&elsewhere).unwrap(),
        cpu_millis: 100,
        memory_bytes: 64 << 20,
        storage_bytes: 0,
    };
    let leaves = InstanceEvent::Displaced { instance: from, app, node: Name::parse(&here).unwrap(), reason: "it goes on, as it is".into() };
    let write = |id: InstanceId, event: InstanceEvent| StreamWrite { stream: StreamId::of::<InstanceEvent>(id), expected: None, events: vec![event.encode()] };
    let writes = vec![write(successor, placed), write(from, leaves)];
    let appended = place.host.log().append(Append { writes, claims: Vec::new(), meta: Meta::system() }).await.unwrap();
    place.host.settled(appended.position).await;
    assert!(!is_as_it_was(&place, &before).await);

    let place = place.restarted(config()).await;
    source.attach(&place, &here, 4000).await;
    target.attach(&place, &elsewhere, 4000).await;
    place.world.until("it runs on where it stood", LONG, async || is_as_it_was(&place, &before).await).await;
}
