//! What a real HAProxy does with a service: which instance it chooses, who may connect and how much, and how it is reached from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_agent::domain::balance::Slot;
use gantry_agent::domain::haproxy::{Traffic, traffic};
use gantry_agent::node::Node;
use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, service, web};

/// Answers with its text at once, and below `/cgi-bin/slow` after two seconds.
fn server(n: u8, text: &str) -> wire::WantedInstance {
    let slow = format!("printf '#!/bin/sh\\nsleep 2\\necho Content-Type: text/plain\\necho\\nprintf {text}\\n' > /www/cgi-bin/slow");
    let script = format!("mkdir -p /www/cgi-bin; printf {text} > /www/index.html; {slow}; chmod +x /www/cgi-bin/slow; exec httpd -f -p 8080 -h /www");
    let limits = wire::Resources { cpu_millis: 300, ..Default::default() };
    wire::WantedInstance { args: vec!["-c".into(), script], limits: Some(limits), ..web(n, text) }
}

/// A service of both instances at `<name>.test`.
fn named(name: &str, change: impl FnOnce(&mut wire::WantedService)) -> wire::WantedService {
    let mut out = service(&[1, 2]);
    (out.service_id, out.name, out.listen_port) = (format!("svc-{name}"), name.into(), 0);
    // As the scheduler gives it: one is too little to take parts of.
    out.backends.iter_mut().for_each(|b| b.weight = 100);
    out.routes = vec![wire::RouteMatch { host: format!("{name}.test"), path_prefix: "/".into() }];
    change(&mut out);
    out
}

fn with_access(name: &str, access: wire::ServiceAccess) -> wire::WantedService {
    named(name, |s| s.access = Some(access))
}

struct Clients<'a> {
    stage: &'a Stage,
    http: reqwest::Client,
}

impl Clients<'_> {
    async fn ask(&self, name: &str, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.stage.route_url())).header("host", format!("{name}.test")).send().await.unwrap()
    }

    /// How often each text is answered.
    async fn counted(&self, name: &str, requests: usize) -> BTreeMap<String, usize> {
        let mut out = BTreeMap::new();
        for _ in 0..requests {
            let answer = self.ask(name, "").await;
            assert_eq!(answer.status(), 200);
            *out.entry(answer.text().await.unwrap()).or_default() += 1;
        }
        out
    }

    async fn status(&self, name: &str) -> u16 {
        self.ask(name, "").await.status().as_u16()
    }
}

async fn totals(node: &Node, name: &str) -> Traffic {
    let backend = node.shared.layout.borrow().services[&format!("svc-{name}")].shape.name.clone();
    traffic(&node.haproxy.statistics().await.unwrap()).remove(&backend).unwrap()
}

async fn one_is_under_way(node: &Node, name: &str) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while totals(node, name).await.sessions == 0 {
        assert!(std::time::Instant::now() < end, "no request is under way");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_spread_as_asked_and_strangers_and_floods_are_kept_out() {
    let Some(stage) = Stage::new().await else { return };
    for clause in ["6.3.2.m", "6.3.3.e", "6.3.3.p", "6.3.3.t", "6.3.3.u", "6.3.3.w", "7.4.1.d"] {
        gantry_testkit::clause(clause);
    }
    let node = stage.agent().await;
    let by = |balance: &str| named(balance, |s| s.balance = balance.into());
    let networks = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let access = wire::ServiceAccess::default;
    let services = [
        by("roundrobin"),
        by("random"),
        by("leastconn"),
        by("source"),
        by("resources"),
        with_access("denied", wire::ServiceAccess { deny: networks(&["127.0.0.0/8"]), ..access() }),
        with_access("strange", wire::ServiceAccess { allow: networks(&["192.0.2.0/24", "2001:db8::/32"]), ..access() }),
        with_access("friend", wire::ServiceAccess { allow: networks(&["192.0.2.0/24", "127.0.0.1"]), ..access() }),
        with_access("counted", wire::ServiceAccess { requests_per_second: 1, ..access() }),
        with_access("single", wire::ServiceAccess { concurrent: 1, ..access() }),
        // The stage gives it a port of its own.
        named("raw", |s| {
            (s.protocol, s.listen_port, s.routes) = ("tcp".into(), 1, vec![]);
            s.access = Some(wire::ServiceAccess { deny: vec!["127.0.0.1".into()], ..Default::default() });
        }),
    ];
    stage.want(&node, [server(1, "one"), server(2, "two")], services.clone());
    let all = || node.shared.layout.borrow().in_rotation().values().filter(|r| r.len() == 2).count() == services.len();
    stage.until("all services have both", all).await;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).pool_max_idle_per_host(0).build().unwrap();
    let clients = Clients { stage: &stage, http };

    strategies(&clients, &node).await;
    by_use(&clients, &node).await;
    lists(&clients, &node).await;
    limits(&clients, &node).await;
    outside(&clients, &node).await;
    stage.finish(node).await;
}

async fn strategies(clients: &Clients<'_>, node: &Node) {
    let both = BTreeSet::from(["one", "two"].map(str::to_owned));
    let turns = clients.counted("roundrobin", 20).await;
    assert!(turns.len() == 2 && turns.values().all(|n| (9..=11).contains(n)), "{turns:?}");
    // That chance names one of them forty times in a row happens once in 10^11 runs.
    assert_eq!(clients.counted("random", 40).await.into_keys().collect::<BTreeSet<_>>(), both);
    assert_eq!(clients.counted("source", 20).await.len(), 1, "one client stays with one instance");
    // One has a request that takes its time: whoever comes meanwhile is sent to the other.
    let (slow, others) = tokio::join!(async { clients.ask("leastconn", "cgi-bin/slow").await.text().await.unwrap() }, async {
        one_is_under_way(node, "leastconn").await;
        clients.counted("leastconn", 10).await
    });
    assert!(both.contains(&slow) && others.len() == 1 && !others.contains_key(&slow), "{slow} is busy: {others:?}");
}

/// One that has little of its processor left gets little of the requests.
async fn by_use(clients: &Clients<'_>, node: &Node) {
    let equal = clients.counted("resources", 20).await;
    assert!(equal.values().all(|n| (8..=12).contains(n)), "{equal:?}");
    let first = node.shared.pods.borrow().iter().find(|p| p.instance == id(1)).and_then(|p| p.container.as_ref()).unwrap().id.clone();
    let run = async |script: &str| {
        let command = ["sh", "-c", script].map(str::to_owned);
        clients.stage.containerd.cri().await.exec_sync(&first, &command, Duration::from_secs(60)).await.unwrap();
    };
    run("timeout 120 yes >/dev/null 2>&1 </dev/null & echo $! >/tmp/burning").await;
    let weights = || {
        let layout = node.shared.layout.borrow();
        let serving = |slot: &Slot| if let Slot::Serving { instance, server } = slot { Some((*instance, server.weight)) } else { None };
        layout.services["svc-resources"].slots.iter().filter_map(serving).collect::<BTreeMap<_, _>>()
    };
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while weights()[&id(1)] > 30 || weights()[&id(2)] < 100 {
        assert!(std::time::Instant::now() < end, "the balancer does not know: {:?} {:?}", weights(), node.shared.pressed.borrow());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let now = clients.counted("resources", 44).await;
    assert!(now["two"] >= 30, "{now:?}");
    run("kill $(cat /tmp/burning)").await;
    clients.stage.until("it has its share again", || weights()[&id(1)] == 100).await;
}

async fn lists(clients: &Clients<'_>, node: &Node) {
    let answer = clients.ask("denied", "").await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (403, "this address may not use the service\n"));
    assert_eq!((clients.status("strange").await, clients.status("friend").await), (403, 200));
    assert!(totals(node, "denied").await.denied == 1 && totals(node, "friend").await.denied == 0);
    // Of a TCP service the connection is closed before anything is said.
    assert!(clients.http.get(clients.stage.port_url()).send().await.is_err());
    assert_eq!(totals(node, "raw").await.denied, 1);
    // From inside of the space it goes on: what was said is about the outside.
    let inside = node.shared.layout.borrow().services["svc-denied"].shape.binds.iter().next().cloned().unwrap();
    assert_eq!(clients.http.get(format!("http://{inside}/")).send().await.unwrap().status(), 200);
}

async fn limits(clients: &Clients<'_>, node: &Node) {
    // One in a second is ten in ten seconds.
    let mut seen = Vec::new();
    for _ in 0..14 {
        seen.push(clients.ask("counted", "").await);
    }
    let statuses: Vec<u16> = seen.iter().map(|a| a.status().as_u16()).collect();
    assert_eq!(statuses, [[200; 10].as_slice(), &[429; 4]].concat());
    assert_eq!(seen[13].headers()["retry-after"], "10");
    assert_eq!(totals(node, "counted").await.denied, 4);
    // Of two at once the second has to come again.
    let (slow, second) = tokio::join!(clients.ask("single", "cgi-bin/slow"), async {
        one_is_under_way(node, "single").await;
        clients.status("single").await
    });
    assert_eq!((slow.status().as_u16(), second), (200, 429));
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while clients.status("single").await != 200 {
        assert!(std::time::Instant::now() < end, "an answered request still counts");
    }
    // Nobody else has noticed.
    assert_eq!(clients.status("roundrobin").await, 200);
}

/// A host and a path on the port that all share, and a port of its own; nothing else of the instances is reached so.
async fn outside(clients: &Clients<'_>, node: &Node) {
    let stage = clients.stage;
    let published =
        wire::WantedService { routes: vec![wire::RouteMatch { host: "shop.test".into(), path_prefix: "/".into() }], listen_port: 1, ..named("shop", |_| {}) };
    // The port was another service's.
    stage.want(node, [server(1, "one"), server(2, "two")], []);
    stage.until("the others are gone", || node.shared.layout.borrow().services.is_empty()).await;
    stage.want(node, [server(1, "one"), server(2, "two")], [published]);
    stage.until("it is published", || node.shared.layout.borrow().in_rotation().get("svc-shop").is_some_and(|r| r.len() == 2)).await;
    stage.until("its port is open", || node.shared.layout.borrow().services["svc-shop"].shape.binds.len() == 2).await;
    assert_eq!((clients.status("shop").await, clients.status("other").await), (200, 404));
    assert!(["one", "two"].contains(&clients.http.get(stage.port_url()).send().await.unwrap().text().await.unwrap().as_str()));
    assert_eq!(node.shared.layout.borrow().in_rotation()["svc-shop"], BTreeSet::from([id(1), id(2)]));
}
