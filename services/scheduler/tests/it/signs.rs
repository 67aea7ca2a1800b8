//! Signs of an intrusion: what a space wants to be watched reaches the nodes, and what they find is recorded once.

use gantry_contract::proto::scheduler::Sign;
use gantry_kernel::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::place::{LONG, Place, web};

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_find_is_recorded_once_and_spaces_say_what_follows() {
    gantry_testkit::clause("7.4.1.f");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let signs = async || place.get(&format!("{}/web/signs", place.apps())).await.1["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(signs().await, Vec::<Value>::new());
    assert!(agent.node.lock().unwrap().wanted.instances[0].guard.is_none());

    let sign = |detail: &str| Sign { container: "main".into(), kind: "program".into(), detail: detail.into(), action: "report".into() };
    agent.node.lock().unwrap().signs = vec![sign("/tmp/x runs")];
    place.world.until("it is recorded", LONG, || async { signs().await.len() == 1 }).await;
    // Said again with each report, and with a further one.
    agent.node.lock().unwrap().signs.push(sign("/tmp/y runs"));
    place.world.until("the second is recorded", LONG, || async { signs().await.len() >= 2 }).await;
    let all = signs().await;
    let details: Vec<&str> = all.iter().map(|s| s["detail"].as_str().unwrap()).collect();
    assert_eq!(details, ["/tmp/y runs", "/tmp/x runs"]);
    assert_eq!(
        (&all[0]["node"], &all[0]["container"], &all[0]["sign"], &all[0]["action"]),
        (&json!("n1"), &json!("main"), &json!("program"), &json!("report"))
    );

    // Of all applications of the space, with a choice among them.
    let of_space =
        async |query: &str| place.get(&format!("{}{query}", place.apps().replace("/apps", "/signs"))).await.1["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(of_space("").await, all);
    assert_eq!(all[0]["app"], "web");
    assert_eq!(of_space("?app=web&sign=program&node=n1").await, all);
    for none in ["?app=other", "?sign=connection", "?node=n2"] {
        assert_eq!(of_space(none).await, Vec::<Value>::new(), "{none}");
    }

    // Somebody looks into one and says what it was.
    let open = async || of_space("?open=true").await.iter().map(|s| s["detail"].clone()).collect::<Vec<_>>();
    assert_eq!(open().await, ["/tmp/y runs", "/tmp/x runs"]);
    let number = all[1]["number"].as_u64().unwrap();
    let acknowledge = async |number: u64, reason: &str| {
        let path = format!("{}/{number}/acknowledge", place.apps().replace("/apps", "/signs"));
        place.post(&path, json!({ "reason": reason })).await
    };
    assert_eq!(acknowledge(number, "  ").await.0, 400, "why has to be said");
    assert_eq!(acknowledge(number + 1_000, "our plugin").await.0, 404);
    let head = place.host.log().head();
    let (status, done) = acknowledge(number, "our plugin").await;
    assert_eq!((status, &done["number"], &done["detail"]), (200, &json!(number), &json!("/tmp/x runs")), "{done}");
    let by = &done["acknowledged"];
    assert_eq!((&by["by"], &by["reason"], by["at"].is_string()), (&json!(place.subject), &json!("our plugin"), true), "{done}");
    assert_eq!(open().await, ["/tmp/y runs"]);
    assert_eq!(signs().await.iter().filter(|s| s["acknowledged"] == *by).count(), 1, "it stays in the list");
    let (status, problem) = acknowledge(number, "somebody else's").await;
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.sign_acknowledged")), "{problem}");
    let said = place.host.log().read(head, 100).await.unwrap().into_iter().find(|e| e.kind == "instance.sign-acknowledged").unwrap();
    assert_eq!((said.meta.actor, said.meta.tenant), (place.subject.clone(), Some(place.space.org().id)));
    // Told anew by the node it is the same sign; another one is open.
    agent.node.lock().unwrap().signs.push(sign("/tmp/z runs"));
    place.world.until("the third is recorded", LONG, || async { signs().await.len() == 3 }).await;
    assert_eq!(open().await, ["/tmp/z runs", "/tmp/y runs"]);

    // Who may not see the application sees none of it.
    let stranger = place.world.token(place.world.user(), "eve");
    let path = format!("{}/web/signs", place.apps());
    assert_eq!(place.world.call(&place.host, Method::GET, &path, Some(&stranger), None).await.0, 404);

    let owner = place.world.user();
    place.world.identity.grant(&format!("user:{owner}"), Role::Admin, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let owner = place.world.token(owner, "own");
    let rules = place.apps().replace("/apps", "/placement");
    let set = async |body: Value| place.world.call(&place.host, Method::PUT, &rules, Some(&owner), Some(&body)).await;
    let guard = json!({"action": "quarantine", "closed": true, "egress": [{"network": "192.0.2.0/24", "port": 443}], "programs": ["/opt/"]});
    let (status, body) = set(json!({ "guard": guard })).await;
    assert_eq!((status, &body["guard"]), (200, &guard), "{body}");
    let told = || agent.node.lock().unwrap().wanted.instances.iter().find_map(|i| i.guard.clone()).unwrap_or_default();
    place.world.until("the node is told", LONG, || async { told().action == "quarantine" }).await;
    let now = told();
    assert_eq!((now.closed, now.egress.len(), now.egress[0].port, now.programs), (true, 1, 443, vec!["/opt/".to_owned()]));
    let (status, body) = set(json!({"guard": {"closed": true, "egress": [{"network": "example.org"}]}})).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.to_string().contains("guard.egress[0].network"), "{body}");
}
