//! What a real HAProxy does with single requests: which rule they go by, which certificate is shown for which host, and with whom they stay.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_agent::node::Node;
use gantry_contract::proto::scheduler as wire;
use gantry_host::Pki;
use gantry_kernel::Env;

use crate::stage::{Stage, service, web};

/// Answers with its text at once in some places, and below `/cgi-bin/slow` after two seconds.
fn server(n: u8, text: &str) -> wire::WantedInstance {
    let slow = format!("printf '#!/bin/sh\\nsleep 2\\necho Content-Type: text/plain\\necho\\nprintf {text}\\n' > /www/cgi-bin/slow");
    let places = format!("for f in index.html x api/x api/v1/x; do printf {text} > /www/$f; done");
    let script = format!("mkdir -p /www/cgi-bin /www/api/v1; {places}; {slow}; chmod +x /www/cgi-bin/slow; exec httpd -f -p 8080 -h /www");
    wire::WantedInstance { args: vec!["-c".into(), script], ..web(n, text) }
}

fn named(name: &str, behind: &[u8], rules: Vec<wire::RouteRule>) -> wire::WantedService {
    let mut out = service(behind);
    (out.service_id, out.name, out.listen_port, out.routes, out.rules) = (format!("svc-{name}"), name.into(), 0, Vec::new(), rules);
    out.backends.iter_mut().for_each(|b| b.weight = 100);
    out
}

fn rule(host: &str, path_kind: &str, path: &str) -> wire::RouteRule {
    wire::RouteRule { host: host.into(), path_kind: path_kind.into(), path: path.into(), ..Default::default() }
}

fn services(pki: &Pki) -> Vec<wire::WantedService> {
    let beta = wire::RouteValue { name: "X-Beta".into(), value: "yes".into(), pattern: false };
    let weighed = |weight| wire::RouteRule { weight: Some(weight), ..rule("split.test", "prefix", "/") };
    let certificate = |host: &str| {
        let leaf = pki.site(host, Env::system().now(), time::Duration::days(1)).unwrap();
        wire::RouteCertificate { host: host.into(), chain: leaf.chain_pem.into(), key: leaf.key_pem.into(), plain_http: false }
    };
    let broken = wire::RouteCertificate { host: "broken.test".into(), chain: b"no".to_vec(), key: b"no".to_vec(), plain_http: false };
    let of_one = vec![
        rule("shop.test", "prefix", "/"),
        rule("shop.test", "prefix", "/api"),
        rule("*.shop.test", "pattern", "/ap[i]/"),
        weighed(80),
        rule("safe.test", "prefix", "/"),
        wire::RouteRule { timeout_ms: 300, ..rule("shop.test", "prefix", "/cgi-bin") },
    ];
    let of_two = vec![
        rule("shop.test", "exact", "/x"),
        wire::RouteRule { headers: vec![beta], ..rule("shop.test", "prefix", "/api") },
        rule("shop.test", "prefix", "/api/v1"),
        wire::RouteRule { rewrite: "/".into(), ..rule("shop.test", "prefix", "/moved") },
        weighed(20),
        rule("sound.test", "prefix", "/"),
        rule("broken.test", "prefix", "/"),
    ];
    vec![
        wire::WantedService { certificates: vec![certificate("safe.test")], ..named("one", &[1], of_one) },
        wire::WantedService { certificates: vec![broken, certificate("sound.test")], ..named("two", &[2], of_two) },
        wire::WantedService { sticky_seconds: 300, ..named("stay", &[1, 2], vec![rule("stay.test", "prefix", "/")]) },
    ]
}

struct Clients<'a> {
    stage: &'a Stage,
    http: reqwest::Client,
}

impl Clients<'_> {
    async fn ask(&self, host: &str, path: &str, header: Option<(&str, &str)>) -> reqwest::Response {
        let mut request = self.http.get(format!("{}{path}", self.stage.route_url())).header("host", host);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    }

    async fn text(&self, host: &str, path: &str) -> String {
        self.ask(host, path, None).await.text().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_by_the_rule_that_fits_best_over_https_too_and_stay_where_they_were() {
    let Some(stage) = Stage::new().await else { return };
    for clause in ["6.3.3.e", "6.3.3.p", "6.3.3.t"] {
        gantry_testkit::clause(clause);
    }
    let node = stage.agent().await;
    let authority = tempfile::tempdir().unwrap();
    let pki = Pki::open(authority.path()).unwrap();
    let services = services(&pki);
    stage.want(&node, [server(1, "one"), server(2, "two")], services.clone());
    let behind = |id: &str| node.shared.layout.borrow().in_rotation().get(id).map_or(0, |instances| instances.len());
    let all = || services.iter().all(|s| behind(&s.service_id) == s.backends.len());
    stage.until("all services have their instances", all).await;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).pool_max_idle_per_host(0).redirect(reqwest::redirect::Policy::none());
    let clients = Clients { stage: &stage, http: http.build().unwrap() };
    matched(&clients).await;
    shared(&clients).await;
    stayed(&clients).await;
    secure(&clients, &pki, &node).await;
    stage.finish(node).await;
}

async fn matched(clients: &Clients<'_>) {
    for (path, who) in [("", "one"), ("x", "two"), ("api/x", "one"), ("api/v1/x", "two"), ("moved/x", "two"), ("moved", "two")] {
        assert_eq!(clients.text("shop.test", path).await, who, "/{path}");
    }
    assert_eq!(clients.ask("shop.test", "api/x", Some(("x-beta", "yes"))).await.text().await.unwrap(), "two");
    assert_eq!(clients.ask("shop.test", "api/x", Some(("x-beta", "no"))).await.text().await.unwrap(), "one");
    assert_eq!(clients.text("eu.shop.test:80", "api/x").await, "one", "a name below, by a pattern");
    assert_eq!(clients.ask("eu.shop.test", "x", None).await.status(), 404);
    assert_eq!(clients.ask("shop.test", "cgi-bin/slow", None).await.status(), 504, "its time is over");
}

async fn shared(clients: &Clients<'_>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..100 {
        *seen.entry(clients.text("split.test", "").await).or_default() += 1;
    }
    // Twenty of a hundred; that chance brings less than four or more than 45 happens once in a million runs.
    assert!((4..=45).contains(&seen["two"]) && seen["one"] + seen["two"] == 100, "{seen:?}");
}

async fn stayed(clients: &Clients<'_>) {
    let first = clients.ask("stay.test", "", None).await;
    let given = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(given.starts_with("gantry-") && given.contains("HttpOnly") && !given.contains("10."), "{given}");
    let cookie = given.split(';').next().unwrap();
    let who = first.text().await.unwrap();
    for _ in 0..8 {
        assert_eq!(clients.ask("stay.test", "", Some(("cookie", cookie))).await.text().await.unwrap(), who);
    }
    let mut others = BTreeMap::new();
    for _ in 0..8 {
        *others.entry(clients.text("stay.test", "").await).or_insert(0) += 1;
    }
    assert_eq!(others.len(), 2, "whoever has no cookie takes turns: {others:?}");
}

async fn secure(clients: &Clients<'_>, pki: &Pki, node: &Node) {
    let port = clients.stage.https_port;
    let mut builder = reqwest::Client::builder().timeout(Duration::from_secs(60)).https_only(true);
    builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pki.ca_pem.as_bytes()).unwrap());
    for host in ["safe.test", "sound.test", "broken.test"] {
        builder = builder.resolve(host, ([127, 0, 0, 1], port).into());
    }
    let https = builder.build().unwrap();
    for (host, who) in [("safe.test", "one"), ("sound.test", "two")] {
        let answer = https.get(format!("https://{host}:{port}/")).send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200), "{host}");
        assert_eq!(answer.text().await.unwrap(), who);
    }
    let led = clients.ask("safe.test", "x?y=1", None).await;
    assert_eq!((led.status().as_u16(), led.headers()["location"].to_str().unwrap()), (308, format!("https://safe.test:{port}/x?y=1").as_str()));
    // A certificate that is none keeps nobody's configuration from being loaded.
    assert!(https.get(format!("https://broken.test:{port}/")).send().await.is_err());
    assert_eq!(clients.text("broken.test", "").await, "two");
    // Keys go with their routes.
    let files = || std::fs::read_dir(clients.stage.home.join("haproxy/certificates")).unwrap().count();
    assert_eq!(files(), 2);
    clients.stage.want(node, [server(1, "one"), server(2, "two")], [named("one", &[1], vec![rule("safe.test", "prefix", "/")])]);
    clients.stage.until("no key is left", || files() == 0).await;
}
