//! A running instance moves from one node to another.

use serde_json::json;

use crate::bed::{Bed, LONG};
use crate::containerd::BUSYBOX;
use crate::shop::APP;

/// Answers with what it has counted to, which is nowhere but in its memory; it would take five seconds to be back at fifty.
const COUNTER: &str = "mkdir -p /www; echo 0 > /www/index.html; n=0; (while sleep 0.1; do n=$$((n+1)); echo $$n > /www/new; mv /www/new /www/index.html; done) & exec httpd -f -p 8080 -h /www";

/// What a node's balancer is answered; 0: nothing.
async fn count(bed: &Bed, node: &str) -> u64 {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(std::time::Duration::from_secs(30)).build().unwrap();
    let answer = async { client.get(bed.node(node).url()).header("host", "shop.test").send().await?.error_for_status()?.text().await }.await;
    answer.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_instance_goes_on_at_another_node_with_what_it_has_in_memory() {
    let Some(bed) = Bed::new(2).await else { return };
    let resources = json!({"reservations": {"cpus": "0.05", "memory": "16M"}});
    let web = json!({
        "image": BUSYBOX, "command": ["-c", COUNTER], "stop_grace_period": "2s", "deploy": {"replicas": 1, "resources": resources},
        "x-gantry": {"routes": [{"host": "shop.test", "path": "/", "port": 8080}], "ready": {"http": "/", "port": 8080, "period": "300ms"}}
    });
    bed.deploy(APP, &json!({"services": {"web": web}})).await;
    let runs = async || bed.state(APP).await == "running" && bed.agrees(APP).await && bed.instances(APP).await.len() == 1;
    bed.until("it runs", LONG, runs).await;
    let before = bed.instances(APP).await.remove(0);
    let to = bed.others(&before.node).remove(0);
    bed.until("it has counted", LONG, async || count(&bed, &before.node).await >= 50).await;

    let path = format!("{}/{APP}/instances/{}/migrate", bed.apps(), before.id);
    let counted = count(&bed, &before.node).await;
    let (status, moved) = bed.post(&path, json!({"node": to})).await;
    if gantry_servers::oci::criu().is_none() {
        // It notices nothing of what cannot be done.
        assert_eq!((status, &moved["code"]), (409, &json!("scheduler.cannot_migrate")), "{moved}");
        assert_eq!(bed.instances(APP).await.into_iter().map(|i| (i.id, i.restarts)).collect::<Vec<_>>(), [(before.id.clone(), 0)]);
        bed.until("it counts on", LONG, async || count(&bed, &before.node).await > counted).await;
        eprintln!("skipped: no instance was moved: CRIU is not on this machine ({})", moved["detail"]);
        return bed.finish(APP).await;
    }
    gantry_testkit::clause("6.3.3.x");
    assert_eq!((status, &moved["node"]), (200, &json!(to)), "{moved}");
    eprintln!("{} bytes went over, it stood still for {} ms", moved["carried_bytes"], moved["stood_still_millis"]);
    // Through the balancers of both nodes, and long before one that was started anew could be there.
    for node in bed.names() {
        bed.until("it is reached, and goes on counting", LONG, async || count(&bed, &node).await >= counted).await;
        assert!(count(&bed, &node).await < counted + 600, "a minute has not passed");
    }
    let there = async || {
        let all = bed.instances(APP).await;
        all.len() == 1 && all[0].node == to && all[0].available && all[0].restarts == 0 && bed.agrees(APP).await
    };
    bed.until("it is there, and nowhere else", LONG, there).await;
    assert_eq!(json!(bed.instances(APP).await[0].id), moved["instance"]);

    // And back.
    let path = format!("{}/{APP}/instances/{}/migrate", bed.apps(), moved["instance"].as_str().unwrap());
    let counted = count(&bed, &to).await;
    let (status, back) = bed.post(&path, json!({"node": before.node})).await;
    assert_eq!((status, &back["node"]), (200, &json!(before.node)), "{back}");
    bed.until("it goes on counting", LONG, async || count(&bed, &before.node).await >= counted).await;
    bed.until("nothing else is left", LONG, async || bed.instances(APP).await.len() == 1 && bed.agrees(APP).await).await;
    bed.finish(APP).await;
}
