//! Nodes: loss, return, cordon and drain.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::scheduler::{InstanceEvent, NodeEvent};
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, StreamWrite};
use gantry_kernel::{AppId, InstanceId, Name, Uuid};
use reqwest::Method;
use serde_json::json;

use crate::agent::{Agent, session};
use crate::place::{LONG, Place, web};

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_a_lost_node_move_and_it_gets_nothing_back_twice() {
    gantry_testkit::clause("7.1.d");
    gantry_testkit::clause("7.1.e");
    gantry_testkit::clause("7.1.g");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    assert_eq!((one.running().len(), two.running().len()), (1, 1), "spread");
    one.die();
    place.world.until("both are on the other node", LONG, || async { two.running().len() == 2 }).await;
    place.reaches("web", "running", 1).await;
    let again = Agent::join(&place, "n1", 4000).await;
    again.node.lock().unwrap().running = one.node.lock().unwrap().running.clone();
    place.world.until("the returned node stops what has moved", LONG, || async { again.running().is_empty() }).await;
    assert_eq!(two.running().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_come_up_together_are_lost_together_and_go_together() {
    gantry_testkit::clause("7.1.d");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 8000).await, Agent::join(&place, "n2", 8000).await);
    place.deploy("web", &web("1", 20)).await;
    place.reaches("web", "running", 1).await;
    assert_eq!((one.running().len(), two.running().len()), (10, 10), "spread");
    one.die();
    place.world.until("all are on the other node", LONG, || async { two.running().len() == 20 }).await;
    place.reaches("web", "running", 1).await;
    let instances = place.instances("web").await;
    let numbers: BTreeSet<u64> = instances.iter().filter_map(|i| i["index"].as_u64()).collect();
    assert_eq!((instances.len(), numbers), (20, (0..20).collect()), "each number once: {instances:#?}");
    for instance in &instances {
        let told = (&instance["node"], &instance["state"], &instance["reason"], &instance["ended_at"]);
        assert_eq!(told, (&json!("n2"), &json!("running"), &json!(""), &json!(null)));
        assert!(instance["running_at"].is_string() && instance["address"] != "", "{instance:#}");
    }
    place.post(&format!("{}/web/scale", place.apps()), json!({"workload": "web", "replicas": 2})).await;
    place.world.until("most have gone", LONG, || async { two.running().len() == 2 && place.instances("web").await.len() == 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_applications_are_looked_after_at_once_and_each_counts_what_the_others_took() {
    gantry_testkit::clause("7.1.d");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 2000).await);
    let document = "services:\n  web:\n    image: acme/shop/web:1\n    deploy: {resources: {limits: {cpus: '0.1', memory: 64M}}}\n";
    for n in 0..30 {
        assert_eq!(place.deploy(&format!("app-{n}"), document).await.0, 201);
    }
    for n in 0..30 {
        place.reaches(&format!("app-{n}"), "running", 1).await;
    }
    assert_eq!(one.running().len() + two.running().len(), 30);
    let placed = async || {
        let mut nodes = Vec::new();
        for n in 0..30 {
            let alive = place.instances(&format!("app-{n}")).await.into_iter().filter(|i| i["ended_at"].is_null());
            nodes.extend(alive.map(|i| i["node"].clone()));
        }
        nodes
    };
    // More than the other one has room for.
    one.die();
    place.world.until("nobody is left on the node that is gone", LONG, || async { !placed().await.contains(&json!("n1")) }).await;
    place.world.until("the other node is full", LONG, || async { two.running().len() == 20 }).await;
    assert_eq!(placed().await, vec![json!("n2"); 20], "each once, and nothing above what the node has");
    let again = Agent::join(&place, "n1", 4000).await;
    place.world.until("who waited has a place", LONG, || async { again.running().len() == 10 }).await;
    for n in 0..30 {
        place.reaches(&format!("app-{n}"), "running", 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_or_is_opened_gets_what_waits_and_what_is_wanted_on_each() {
    gantry_testkit::clause("7.1.d");
    let place = Place::new().await;
    let token = place.operator().await;
    let call = async |method: Method, path: &str, body: Option<serde_json::Value>| {
        let (status, answer) = place.world.call(&place.host, method, path, Some(&token), body.as_ref()).await;
        assert!(status < 300, "{path}: {answer}");
    };
    let (one, two) = (Agent::join(&place, "n1", 250).await, Agent::join(&place, "n2", 250).await);
    let resources = "resources: {limits: {cpus: '0.1', memory: 64M}}";
    let each = format!("services:\n  each:\n    image: acme/shop/web:2\n    deploy: {{mode: global, {resources}}}\n");
    place.deploy("each", &each).await;
    place.reaches("each", "running", 1).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    assert_eq!((one.running().len(), two.running().len()), (2, 2), "both nodes are full");
    one.die();
    place.reaches("web", "pending", 1).await;
    place.reaches("each", "running", 1).await;
    let again = Agent::join(&place, "n1", 250).await;
    place.world.until("the returned node has both", LONG, || async { again.running().len() == 2 }).await;
    place.reaches("web", "running", 1).await;
    let each_on_one = async || place.instances("each").await.iter().any(|i| i["node"] == "n1" && i["state"] == "running");
    place.world.until("one of them is what is wanted on each", LONG, || async { each_on_one().await }).await;
    // Whoever does not tolerate the taint leaves, and comes when it is gone.
    call(Method::PUT, "/api/v1/nodes/n1/settings", Some(json!({"taints": [{"key": "gpu", "effect": "NoExecute"}]}))).await;
    place.world.until("it leaves the tainted node", LONG, || async { !each_on_one().await }).await;
    call(Method::PUT, "/api/v1/nodes/n1/settings", Some(json!({}))).await;
    place.world.until("it is there again", LONG, || async { each_on_one().await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_told_the_way_to_the_pods_of_the_others() {
    gantry_testkit::clause("7.1.e");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let knows = |agent: &Agent, others: &[&str]| {
        let expected: BTreeMap<_, _> = others.iter().map(|n| ((*n).to_owned(), (format!("address of {n}"), format!("pods of {n}")))).collect();
        agent.node.lock().unwrap().routes == expected
    };
    place.world.until("both know the other", LONG, || async { knows(&one, &["n2"]) && knows(&two, &["n1"]) }).await;
    let three = Agent::join(&place, "n3", 4000).await;
    place.world.until("all know the third", LONG, || async { knows(&one, &["n2", "n3"]) && knows(&three, &["n1", "n2"]) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_emptied_without_a_gap_and_gets_no_new_instance() {
    let place = Place::new().await;
    let token = place.operator().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    for agent in [&one, &two] {
        agent.node.lock().unwrap().fewest = None;
    }
    let call = |path: &'static str| place.world.call(&place.host, Method::POST, path, Some(&token), None);
    let tried = || place.world.call(&place.host, Method::GET, "/api/v1/nodes/n1/drain", Some(&token), None);
    let (status, closed) = place.world.call(&place.host, Method::GET, "/api/v1/nodes/n1/cordon", Some(&token), None).await;
    assert_eq!((status, &closed["changed"], &closed["instances"], &closed["open_nodes"]), (200, &json!(true), &json!(1), &json!(1)), "{closed:#}");
    let (_, opened) = place.world.call(&place.host, Method::GET, "/api/v1/nodes/n1/uncordon", Some(&token), None).await;
    assert_eq!(opened["changed"], false, "nothing was closed by looking: {opened:#}");
    let (status, seen) = tried().await;
    assert_eq!((status, &seen["changed"], &seen["workloads"][0]["app"]), (200, &json!(true), &json!("web")), "{seen:#}");
    assert_eq!((&seen["workloads"][0]["leaving"], one.running().len()), (&seen["workloads"][0]["instances"], 1), "{seen:#}");
    assert_eq!(call("/api/v1/nodes/n1/drain").await.0, 204);
    assert_eq!(tried().await.1["changed"], false);
    place.world.until("the node is empty", LONG, || async { one.running().is_empty() && two.running().len() == 2 }).await;
    assert_eq!((one.node.lock().unwrap().fewest, two.node.lock().unwrap().fewest), (Some(2), Some(2)));
    place.post(&format!("{}/web/scale", place.apps()), json!({"workload": "web", "replicas": 3})).await;
    place.world.until("the third runs", LONG, || async { two.running().len() == 3 }).await;
    assert_eq!(call("/api/v1/nodes/n1/uncordon").await.0, 204);
    assert_eq!(call("/api/v1/nodes/nowhere/cordon").await.0, 404);
    let (_, nodes) = place.world.call(&place.host, Method::GET, "/api/v1/nodes", Some(&token), None).await;
    assert_eq!((&nodes["items"][0]["name"], &nodes["items"][0]["state"], &nodes["items"][1]["instances"]), (&json!("n1"), &json!("ready"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_gives_its_instances_away_and_comes_back_only_when_it_is_admitted() {
    gantry_testkit::clause("7.1.e");
    let place = Place::new().await;
    let token = place.operator().await;
    let call = async |method: Method, path: &str| place.world.call(&place.host, method, path, Some(&token), None).await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let (status, refused) = call(Method::DELETE, "/api/v1/nodes/n1").await;
    assert_eq!((status, &refused["code"]), (409, &json!("scheduler.node_in_use")), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("gantry node drain n1"), "{refused}");
    assert_eq!(call(Method::DELETE, "/api/v1/nodes/nowhere").await.0, 404);
    assert_eq!(call(Method::POST, "/api/v1/nodes/n1/admit").await.0, 404, "it was not removed");

    assert_eq!(call(Method::DELETE, "/api/v1/nodes/n1?force=true").await.0, 204);
    place.world.until("both are on the other node", LONG, || async { two.running().len() == 2 }).await;
    place.reaches("web", "running", 1).await;
    let told = |agent: &Agent| agent.node.lock().unwrap().rejected.clone();
    place.world.until("its agent is told to stop everything", LONG, || async { told(&one).is_some_and(|r| r.removed) }).await;
    assert_eq!(call(Method::GET, "/api/v1/nodes").await.1["items"].as_array().unwrap().len(), 1);

    one.node.lock().unwrap().rejected = None;
    one.attach(&place, "n1", 4000).await;
    place
        .world
        .until("it is refused when it comes back, with what to do", LONG, || async { told(&one).is_some_and(|r| r.reason.contains("gantry node admit n1")) })
        .await;
    assert_eq!(call(Method::POST, "/api/v1/nodes/n1/admit").await.0, 204);
    one.attach(&place, "n1", 4000).await;
    place.has_node("n1").await;

    // Drained, it goes without a word.
    assert_eq!(call(Method::POST, "/api/v1/nodes/n2/drain").await.0, 204);
    place.world.until("it is empty", LONG, || async { two.running().is_empty() && one.running().len() == 2 }).await;
    let gone = async || call(Method::DELETE, "/api/v1/nodes/n2").await.0 == 204;
    place.world.until("it is removed", LONG, gone).await;
    place.reaches("web", "running", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_ahead_holds_from_a_nodes_first_moment() {
    let place = Place::new().await;
    let token = place.operator().await;
    let call =
        async |method: Method, path: &str, body: Option<serde_json::Value>| place.world.call(&place.host, method, path, Some(&token), body.as_ref()).await;
    let settings = json!({"labels": {"disk": "ssd"}, "taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
    assert_eq!(call(Method::PUT, "/api/v1/nodes/n9/settings", Some(settings.clone())).await.0, 404);
    assert_eq!(call(Method::PUT, "/api/v1/nodes/no%20name/settings?ahead=true", Some(settings.clone())).await.0, 400);
    assert_eq!(call(Method::PUT, "/api/v1/nodes/n9/settings?ahead=true", Some(settings)).await.0, 200);
    assert_eq!(call(Method::GET, "/api/v1/nodes", None).await.1["items"], json!([]), "it has not joined yet");
    let _agent = Agent::join(&place, "n9", 4000).await;
    let (_, nodes) = call(Method::GET, "/api/v1/nodes", None).await;
    assert_eq!(
        (&nodes["items"][0]["settings"]["labels"]["disk"], &nodes["items"][0]["settings"]["taints"][0]["key"]),
        (&json!("ssd"), &json!("gpu")),
        "{nodes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_own_certificate_speaks_for_that_node_alone() {
    use gantry_contract::proto::scheduler::agent_message::Message;
    use gantry_contract::proto::scheduler::agents_client::AgentsClient;
    use gantry_contract::proto::scheduler::{AgentMessage, Hello};
    gantry_testkit::clause("7.4.3.c");
    let place = Place::new().await;
    let hello = |node: &str| {
        let message = AgentMessage { message: Some(Message::Hello(Hello { node: node.into(), facts: None })) };
        tokio_stream::iter([message])
    };
    place
        .world
        .until("the scheduler decides, and takes it", LONG, || async { AgentsClient::new(place.channel("node/n7")).attach(hello("n7")).await.is_ok() })
        .await;
    let refused = AgentsClient::new(place.channel("node/n7")).attach(hello("n8")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("n7's"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_agents_is_heard_only_from_who_may_speak_for_the_node() {
    use gantry_contract::proto::scheduler::agent_message::Message;
    use gantry_contract::proto::scheduler::agents_client::AgentsClient;
    use gantry_contract::proto::scheduler::{AgentMessage, Hello, SessionFrame};
    gantry_testkit::clause("7.4.3.c");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    agent.node.lock().unwrap().silent = true;
    let attach = async |peer: &str, node: &str| {
        let message = AgentMessage { message: Some(Message::Hello(Hello { node: node.into(), facts: None })) };
        AgentsClient::new(place.channel(peer)).attach(tokio_stream::iter([message])).await.map(drop)
    };
    let open = async |peer: &str, ticket: &str| {
        let frame = SessionFrame { ticket: ticket.into(), ..SessionFrame::default() };
        AgentsClient::new(place.channel(peer)).session(tokio_stream::iter([frame])).await.map(drop)
    };
    let denied = |answer: Result<(), tonic::Status>, why: &str| {
        let refused = answer.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
        assert!(refused.message().contains(why), "{refused}");
    };
    let processes = format!("{}/web/instances/web-web-0/processes", place.apps());
    let told = async || {
        place.world.until("the agent is told to open a session", LONG, || async { !agent.opened().is_empty() }).await;
        std::mem::take(&mut agent.node.lock().unwrap().opened).remove(0)
    };

    // Without a certificate of its own the suite's speaks for it, another node's does not, and no other service's.
    denied(attach("node/n2", "n1").await, "n2's");
    denied(attach("billing", "n1").await, "agent");
    let ((status, answer), ()) = tokio::join!(place.get(&processes), async {
        let asked = told().await;
        denied(open("node/n2", &asked.ticket).await, "n2's");
        denied(open("billing", &asked.ticket).await, "agent");
        session(AgentsClient::new(place.channel("agent")), asked).await;
    });
    assert_eq!(status, 200, "who was refused has not used the ticket up: {answer}");

    // It shows its own: from then on nobody else is heard.
    agent.attach_as(&place, "n1", 4000, "node/n1").await;
    denied(attach("agent", "n1").await, "a certificate of its own");
    denied(attach("node/n2", "n1").await, "n2's");
    let ((status, answer), ()) = tokio::join!(place.get(&processes), async {
        let asked = told().await;
        denied(open("agent", &asked.ticket).await, "a certificate of its own");
        session(AgentsClient::new(place.channel("node/n1")), asked).await;
    });
    assert_eq!(status, 200, "{answer}");
    assert_eq!(open("node/n1", "nobody's").await.unwrap_err().code(), tonic::Code::NotFound);
    attach("agent", "n3").await.expect("the suite's certificate goes on to serve nodes that have none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_not_heard_by_a_certificate_that_was_taken_back_and_one_that_was_heard_is_cut_off() {
    use std::time::Duration;

    use gantry_contract::proto::scheduler::agent_message::Message;
    use gantry_contract::proto::scheduler::agents_client::AgentsClient;
    use gantry_contract::proto::scheduler::{AgentMessage, Hello};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use crate::neighbours::node_leaf;
    gantry_testkit::clause("7.4.3.c");
    let place = Place::new().await;
    let leaf = |node: &str, seconds: i64| {
        let until = gantry_kernel::Env::system().now() + time::Duration::seconds(seconds);
        node_leaf(place.world.running.pki(), node, until)
    };
    // What it has to say goes on as long as the sender is there.
    let attach = async |node: &str, leaf: &gantry_host::Leaf| {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(AgentMessage { message: Some(Message::Hello(Hello { node: node.into(), facts: None })) }).await.unwrap();
        let answer = AgentsClient::new(place.channel_of(leaf)).attach(ReceiverStream::new(receiver)).await?;
        Ok::<_, tonic::Status>((answer.into_inner(), sender))
    };
    let good = leaf("n2", 3_600);
    place.world.until("the scheduler decides, and takes it", LONG, || async { attach("n2", &good).await.is_ok() }).await;
    let (mut goes_on, _other) = attach("n2", &good).await.unwrap();

    // Of before it joined anew, say: the name is right, and the authority's word is not out of date.
    let old = leaf("n1", -60);
    let refused = attach("n1", &old).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("gantry node join-token --node n1"), "{refused}");

    let (mut heard, _sender) = attach("n1", &leaf("n1", 8)).await.unwrap();
    let ended = async { while let Ok(Some(_)) = heard.message().await {} };
    tokio::time::timeout(Duration::from_secs(90), ended).await.expect("it is cut off");
    let still = async { while let Ok(Some(_)) = goes_on.message().await {} };
    assert!(tokio::time::timeout(Duration::from_secs(1), still).await.is_err(), "who has done nothing is heard on");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_have_a_version_of_their_own_and_are_not_set_over_somebody_elses() {
    let place = Place::new().await;
    let token = place.operator().await;
    let url = |node: &str, query: &str| format!("{}/api/v1/nodes/{node}/settings{query}", place.host.url_of("scheduler").unwrap());
    let get = async |node: &str| {
        let answer = place.world.http.get(url(node, "")).bearer_auth(&token).send().await.unwrap();
        let etag = answer.headers().get("etag").map(|v| v.to_str().unwrap().to_owned());
        (answer.status().as_u16(), etag, answer.json::<serde_json::Value>().await.unwrap())
    };
    let put = async |node: &str, query: &str, etag: &str, disk: &str| {
        let body = json!({ "labels": { "disk": disk } });
        let answer = place.world.http.put(url(node, query)).bearer_auth(&token).header("if-match", etag).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().get("etag").map(|v| v.to_str().unwrap().to_owned()))
    };
    assert_eq!(get("n1").await.0, 404);
    // Ahead of the node: "0" is for what was never set.
    assert_eq!(put("n1", "?ahead=true", "\"7\"", "hdd").await.0, 412);
    let (status, first) = put("n1", "?ahead=true", "\"0\"", "hdd").await;
    assert_eq!(status, 200);
    assert_eq!((get("n1").await.0, get("n1").await.1), (200, first.clone()));
    let _agent = Agent::join(&place, "n1", 4000).await;
    let call = async |path: &str| place.world.call(&place.host, Method::POST, path, Some(&token), None).await.0;
    assert_eq!((call("/api/v1/nodes/n1/cordon").await, call("/api/v1/nodes/n1/uncordon").await), (204, 204));
    let first = first.unwrap();
    assert_eq!(get("n1").await.1.as_ref(), Some(&first), "what else happens to the node changes nothing of its settings");
    assert_eq!(put("n1", "", "\"0\"", "ssd").await.0, 412);
    let (status, second) = put("n1", "", &first, "ssd").await;
    assert_eq!(status, 200);
    assert_ne!(second.as_ref(), Some(&first));
    assert_eq!(put("n1", "", &first, "tape").await.0, 412, "somebody was faster");
    let (_, etag, settings) = get("n1").await;
    assert_eq!((etag, &settings["labels"]["disk"]), (second, &json!("ssd")));
    assert_eq!(put("n1", "", "*", "ssd").await.0, 200, "nothing changes");
    assert_eq!(put("n1", "", "*", "ssd").await.1, get("n1").await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_scheduler_left_on_a_lost_node_is_lost_with_it() {
    gantry_testkit::clause("7.1.d");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    // What is there when it is killed at this moment: the node's loss is written, and that of its instance is not.
    let app: AppId = place.app("web").await["id"].as_str().unwrap().parse().unwrap();
    let (node, left) = (Name::parse("n9").unwrap(), InstanceId(Uuid::from_u128(7)));
    let placed = InstanceEvent::Placed {
        instance: left,
        app,
        org: place.space.org().id,
        project: place.space.project.id,
        space: place.space.id,
        workload: Name::parse("web").unwrap(),
        index: 1,
        revision: 1,
        node: node.clone(),
        cpu_millis: 100,
        memory_bytes: 64 << 20,
        storage_bytes: 0,
    };
    let known = [NodeEvent::Joined { node: node.clone(), facts: json!({}) }, NodeEvent::Lost { node: node.clone() }].map(|event| event.encode());
    let writes = vec![
        StreamWrite { stream: StreamId::of::<NodeEvent>(&node), expected: None, events: known.into() },
        StreamWrite { stream: StreamId::of::<InstanceEvent>(left), expected: None, events: vec![placed.encode()] },
    ];
    let appended = place.host.log().append(Append { writes, claims: Vec::new(), meta: Meta::system() }).await.unwrap();
    place.host.settled(appended.position).await;
    let stands = |i: &serde_json::Value| i["node"] == "n9" && i["ended_at"].is_null();
    place.world.until("nothing stands on the lost node", LONG, async || !place.instances("web").await.iter().any(stands)).await;
    place.reaches("web", "running", 1).await;
    assert_eq!(agent.running().len(), 1);
}
