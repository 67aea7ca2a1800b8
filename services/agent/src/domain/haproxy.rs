//! The text of HAProxy's configuration for a layout, and the reading of its statistics.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::balance::{Access, Layer7, Layout, Service, Slot};
use super::matching::{Rules, Valued};
use super::secure;

/// Where things are on this node.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub stats_socket: String,
    /// Folder of the map files, and of the list of certificates.
    pub maps: String,
    /// `ip:port` of the shared HTTP port; empty: it is somebody else's.
    pub http_listen: String,
    /// `ip:port` of the shared HTTPS port; empty: it is somebody else's, or nothing is served there.
    pub https_listen: String,
    /// The port under which people reach it.
    pub https_port: u16,
}

/// Lines for `exact.map` and `prefix.map`.
pub fn maps(layout: &Layout) -> (String, String) {
    Rules::of(layout).maps()
}

/// The whole configuration. Servers are written as they stand, so that a reload starts where the old process was.
pub fn config(layout: &Layout, places: &Places) -> String {
    let rules = Rules::of(layout);
    let mut text = head(layout, &rules, places);
    for service in layout.services.values() {
        frontends(&mut text, service);
        backend(&mut text, service, rules.are_limited());
    }
    text
}

/// What is sent and not received within 3 s has found nobody. A server to which two connections in a row were not made is
/// left out until one is; to look, one is made each second then, and each 10 s otherwise. What it still answers goes on.
const SERVERS: &str = "tcp-ut 3s check inter 10s fastinter 1s downinter 1s rise 1 fall 2 observe layer4 error-limit 2 on-error mark-down";

/// Requests with a header of a release go to the revision that is tried, as long as somebody is there.
fn by_header(rule: &super::balance::HeaderRule) -> String {
    let super::balance::HeaderRule { name, value, to } = rule;
    let header = Valued { name: name.clone(), value: value.clone(), pattern: false };
    format!("{{ {} }} {{ nbsrv({to}) gt 0 }}", super::matching::by_header(&header))
}

/// The line by which a frontend listens.
pub fn bind(address: &str) -> String {
    format!("  bind {address}\n")
}

fn head(layout: &Layout, all: &Rules<'_>, places: &Places) -> String {
    let Places { stats_socket, maps, http_listen, https_listen, .. } = places;
    let mut shared = if http_listen.is_empty() { String::new() } else { bind(http_listen) };
    if !https_listen.is_empty() {
        shared.push_str(&secure::bind(https_listen, maps));
    }
    let secure = secure::leading(layout, places);
    let mut rules = String::new();
    for shape in layout.services.values().map(|s| &s.shape).filter(|s| !s.routes.is_empty() || !s.layer7.rules.is_empty()) {
        for rule in &shape.headers {
            let _ = writeln!(rules, "  http-request set-var(txn.to) str({}) if {{ var(txn.to) -m str {} }} {}", rule.to, shape.name, by_header(rule));
        }
    }
    let (finding, following) = (all.finding(maps), all.following());
    // Connections are bounded by the file descriptors the machine allows.
    // A node that is cut off does not close its connections: the kernel's probes find the ones that wait for an answer.
    // Processes of before a reload go on with connections that last (WebSockets, databases): each new service of anybody is a reload. They
    // are bounded in time and number, since each takes memory.
    // An idle connection is closed with its next answer, never in between: a client must not see a reload.
    // A request is tried often enough to find the one server of eight that is left: each of the others is left out only after its second
    // refusal, and where all of them refuse at once, requests beside this one may take the turns of the one that answers.
    format!(
        "# Written by the Gantry agent; changes are lost.
global
  fd-hard-limit 65536
  stats socket {stats_socket} mode 600 level admin expose-fd listeners
  stats timeout 1m
  hard-stop-after 30m
  mworker-max-reloads 16
defaults
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  timeout queue 5s
  timeout tunnel 1h
  timeout check 1s
  option srvtcpka
  srvtcpka-idle 3s
  srvtcpka-intvl 1s
  srvtcpka-cnt 3
  retries 16
  option redispatch 1
  option dontlognull
  option splice-auto
frontend gantry_http
  mode http
{shared}  option idle-close-on-response
  option forwardfor
  http-request set-header X-Forwarded-Host %[req.hdr(host)] if !{{ req.hdr(x-forwarded-host) -m found }}
  http-request set-var(txn.host) req.hdr(host),field(1,:),lower
  http-request set-var(txn.path) path
{secure}{finding}{following}{rules}  http-request return status 404 content-type text/plain lf-string \"no application answers at this address\\n\" if !{{ var(txn.to) -m found }}
  use_backend %[var(txn.to)]
"
    )
}

fn frontends(text: &mut String, service: &Service) {
    if service.shape.binds.is_empty() {
        return;
    }
    let name = &service.shape.name;
    let mode = if service.shape.http { "http" } else { "tcp" };
    let _ = writeln!(text, "frontend {name}_in\n  mode {mode}");
    text.extend(service.shape.binds.iter().map(|address| bind(address)));
    let Access { inside, from, .. } = &service.shape.access;
    if !inside.is_empty() && !from.is_empty() {
        let _ = writeln!(text, "  tcp-request connection reject if {{ dst {inside} }} !{{ src {} }}", from.join(" "));
    }
    if service.shape.http {
        text.push_str("  option idle-close-on-response\n  option forwardfor\n");
        for rule in &service.shape.headers {
            let _ = writeln!(text, "  use_backend {} if {}", rule.to, by_header(rule));
        }
    }
    let _ = writeln!(text, "  default_backend {name}");
}

/// Counted over so many seconds, so that a page with its pictures is not taken for a flood.
const WINDOW_SECONDS: u32 = 10;

/// In the backend, which both doors lead to. Clients that were counted are forgotten after half a minute of silence; a new configuration
/// begins to count anew.
fn access(text: &mut String, access: &Access, http: bool) {
    if access.is_open() {
        return;
    }
    let inside = if access.inside.is_empty() { "always_false".to_owned() } else { format!("dst {}", access.inside) };
    let _ = writeln!(text, "  acl inside {inside}");
    // A line for each: a line has at most 64 words.
    for (name, networks) in [("allowed", &access.allow), ("refused", &access.deny)] {
        for network in networks {
            let _ = writeln!(text, "  acl {name} src {network}");
        }
    }
    let refuse = |status: u16, said: &str, retry: u32| {
        let retry = if retry == 0 { String::new() } else { format!(" hdr Retry-After {retry}") };
        if http {
            format!("http-request deny deny_status {status} content-type text/plain string \"{said}\\n\"{retry}")
        } else {
            "tcp-request content reject".to_owned()
        }
    };
    let stranger = refuse(403, "this address may not use the service", 0);
    if !access.deny.is_empty() {
        let _ = writeln!(text, "  {stranger} if refused !inside");
    }
    if !access.allow.is_empty() {
        let _ = writeln!(text, "  {stranger} unless allowed or inside");
    }
    if !access.is_counted() {
        return;
    }
    // Of HTTP each request is counted as a connection: it is one for the backend.
    let tracks = if http { "http-request" } else { "tcp-request content" };
    let _ = writeln!(text, "  stick-table type ipv6 size 50k expire 30s store conn_cur,conn_rate({WINDOW_SECONDS}s)\n  {tracks} track-sc0 src if !inside");
    if access.requests_per_second > 0 {
        let most = access.requests_per_second.saturating_mul(WINDOW_SECONDS);
        let _ = writeln!(text, "  {} if !inside {{ sc0_conn_rate gt {most} }}", refuse(429, "too many requests from this address", WINDOW_SECONDS));
    }
    if access.concurrent > 0 {
        let _ = writeln!(text, "  {} if !inside {{ sc0_conn_cur gt {} }}", refuse(429, "too many requests from this address at once", 1), access.concurrent);
    }
}

/// Behind the name of a backend: the table of who stays with whom.
const STAYING: &str = "_stay";

/// `limited`: some routes have a time limit of their own.
fn backend(text: &mut String, service: &Service, limited: bool) {
    let shape = &service.shape;
    let Layer7 { sticky_seconds, sticky_key: key, h2, .. } = &shape.layer7;
    let (sticky_seconds, spoken) = (*sticky_seconds, if shape.http && *h2 { " proto h2" } else { "" });
    let mode = if shape.http { "http" } else { "tcp" };
    if !shape.http && sticky_seconds > 0 {
        // A table of its own: a backend has one, which may count.
        let _ = writeln!(text, "backend {}{STAYING}\n  stick-table type ipv6 size 50k expire {sticky_seconds}s", shape.name);
    }
    let _ = writeln!(text, "backend {}\n  mode {mode}\n  balance {}", shape.name, shape.algorithm);
    if shape.algorithm == "source" {
        // Weights of servers can change only so, and fewer clients move when servers come and go.
        text.push_str("  hash-type consistent\n");
    }
    access(text, &shape.access, shape.http);
    if !shape.http && sticky_seconds > 0 {
        let _ = writeln!(text, "  stick on src table {}{STAYING}", shape.name);
    }
    if shape.http {
        // A server that died before it answered: ask another, if asking twice does no harm.
        text.push_str("  retry-on conn-failure empty-response\n  http-request disable-l7-retry unless METH_GET or { method HEAD } or { method OPTIONS }\n");
        if sticky_seconds > 0 {
            // By a number that tells nobody the instance's address.
            let own = shape.name.rsplit_once('_').map_or(shape.name.as_str(), |(_, hash)| hash);
            let _ = writeln!(
                text,
                "  dynamic-cookie-key {key}\n  cookie gantry-{own} insert indirect nocache dynamic httponly attr SameSite=Lax maxlife {sticky_seconds}s"
            );
        }
        if limited {
            text.push_str("  http-request set-timeout server var(txn.limit) if { var(txn.limit) -m found }\n");
        }
    }
    if !shape.hold.is_empty() {
        // Each request that was held has a connection of its own: the next one is to find the servers.
        let _ = writeln!(text, "  server hold unix@{} backup pool-max-conn 0{spoken}", shape.hold);
    }
    let _ = writeln!(text, "  default-server {SERVERS}{spoken}");
    for (index, slot) in service.slots.iter().enumerate() {
        let _ = match slot {
            // Never asked while disabled; the address is set before it is enabled.
            Slot::Free => writeln!(text, "  server s{index} 127.0.0.1:1 disabled"),
            Slot::Serving { server, .. } => writeln!(text, "  server s{index} {}:{} weight {}", server.address, server.port, server.weight),
            Slot::Draining { server, .. } => writeln!(text, "  server s{index} {}:{} weight 0", server.address, server.port),
        };
    }
}

/// Process ids of workers before the last reload, out of the master's `show proc`; nothing if the answer was cut off.
pub fn older_workers(list: &str) -> Option<Vec<u32>> {
    if !list.lines().any(|line| line.starts_with("# workers")) {
        return None;
    }
    let old = list.lines().skip_while(|line| !line.starts_with("# old workers")).skip(1).take_while(|line| !line.starts_with('#'));
    Some(old.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect())
}

/// Requests under way by (backend name, server slot), out of `show stat`. Columns are found by their names.
pub fn sessions(csv: &str) -> BTreeMap<(String, usize), u64> {
    let mut lines = csv.lines();
    let Some(header) = lines.next() else { return BTreeMap::new() };
    let names: Vec<_> = header.trim_start_matches("# ").split(',').collect();
    let column = |name: &str| names.iter().position(|n| *n == name);
    let (Some(backend), Some(server), Some(current)) = (column("pxname"), column("svname"), column("scur")) else { return BTreeMap::new() };
    let row = |line: &str| {
        let cells: Vec<_> = line.split(',').collect();
        let slot = cells.get(server)?.strip_prefix('s')?.parse().ok()?;
        Some(((cells.get(backend)?.to_string(), slot), cells.get(current)?.parse().ok()?))
    };
    lines.filter_map(row).collect()
}

/// Totals of one backend since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
    pub sessions: u64,
    /// Refused for what [`Access`] says.
    pub denied: u64,
}

/// Totals by backend name, out of `show stat`.
pub fn traffic(csv: &str) -> BTreeMap<String, Traffic> {
    let mut lines = csv.lines();
    let Some(header) = lines.next() else { return BTreeMap::new() };
    let names: Vec<_> = header.trim_start_matches("# ").split(',').collect();
    let rows: Vec<BTreeMap<&str, &str>> = lines.map(|line| names.iter().copied().zip(line.split(',')).collect()).collect();
    let number = |cells: &BTreeMap<&str, &str>, name: &str| cells.get(name).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    let of = |kind: &'static str| rows.iter().filter(move |cells| cells.get("svname") == Some(&kind));
    // What a TCP backend refuses is counted at the door alone.
    let at_door: BTreeMap<&str, u64> = of("FRONTEND").filter_map(|cells| Some((cells.get("pxname")?.strip_suffix("_in")?, number(cells, "dreq")))).collect();
    let traffic = |cells: &BTreeMap<&str, &str>| {
        let name = cells.get("pxname").copied().unwrap_or_default();
        let traffic = Traffic {
            requests: number(cells, "req_tot").max(number(cells, "stot")),
            bytes_in: number(cells, "bin"),
            bytes_out: number(cells, "bout"),
            errors: number(cells, "econ") + number(cells, "eresp") + number(cells, "hrsp_5xx"),
            sessions: number(cells, "scur"),
            denied: number(cells, "dreq").max(at_door.get(name).copied().unwrap_or(0)),
        };
        (name.to_owned(), traffic)
    };
    of("BACKEND").map(traffic).collect()
}

/// Of one server slot since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Served {
    pub requests: u64,
    /// Answers of 500 and more, and connections that were refused or broke.
    pub errors: u64,
    /// Mean of the last thousand answers, in milliseconds.
    pub response_ms: u64,
}

/// By (backend name, server slot), out of `show stat`.
pub fn served(csv: &str) -> BTreeMap<(String, usize), Served> {
    let mut lines = csv.lines();
    let Some(header) = lines.next() else { return BTreeMap::new() };
    let names: Vec<_> = header.trim_start_matches("# ").split(',').collect();
    let row = |line: &str| {
        let cells: BTreeMap<&str, &str> = names.iter().copied().zip(line.split(',')).collect();
        let number = |name: &str| cells.get(name).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let slot = cells.get("svname")?.strip_prefix('s')?.parse().ok()?;
        let errors = number("econ") + number("eresp") + number("hrsp_5xx");
        // Of TCP there are no answers, but sessions with a length.
        let response_ms = if number("rtime") > 0 { number("rtime") } else { number("ttime") };
        Some(((cells.get("pxname")?.to_string(), slot), Served { requests: number("stot"), errors, response_ms }))
    };
    lines.filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::balance::{HeaderRule, Server, Shape};
    use super::*;

    fn layout() -> Layout {
        let shape = Shape {
            name: "web_1a".into(),
            http: true,
            algorithm: "roundrobin".into(),
            binds: BTreeSet::from(["127.0.0.1:20001".into()]),
            routes: BTreeSet::from([("shop.local".into(), "/".into()), (String::new(), "/api/".into())]),
            headers: vec![HeaderRule { name: "X-Canary".into(), value: "yes".into(), to: "web-preview_2b".into() }],
            hold: "/h/1a".into(),
            access: Access::default(),
            layer7: Layer7::default(),
        };
        let server = Server { address: "10.88.0.2".into(), port: 80, weight: 10 };
        let slots = vec![Slot::Serving { instance: gantry_kernel::Uuid::nil().into(), server }, Slot::Free];
        Layout { services: BTreeMap::from([("svc".into(), Service { shape, slots })]), ..Layout::default() }
    }

    #[test]
    fn routes_become_exact_and_prefix_lines() {
        let (exact, prefix) = maps(&layout());
        assert_eq!(exact, "*/api web_1a\n");
        assert_eq!(prefix, "*/api/ web_1a\nshop.local/ web_1a\n");
    }

    #[test]
    fn servers_are_written_as_they_stand() {
        let places = Places { stats_socket: "/s".into(), maps: "/m".into(), http_listen: "127.0.0.1:7480".into(), ..Places::default() };
        let text = config(&layout(), &places);
        assert!(text.contains("server s0 10.88.0.2:80 weight 10\n  server s1 127.0.0.1:1 disabled"), "{text}");
        assert!(text.contains("  retries 16\n") && text.contains("error-limit 2 on-error mark-down"), "twice for each of eight");
        assert!(text.contains("bind 127.0.0.1:20001") && text.contains("default_backend web_1a"));
        assert!(text.contains("server hold unix@/h/1a backup pool-max-conn 0"));
        assert!(text.contains("frontend gantry_http\n  mode http\n  bind 127.0.0.1:7480\n  option"));
        // Somebody else has the shared port: all others are served.
        let text = config(&layout(), &Places { http_listen: String::new(), ..places });
        assert!(text.contains("frontend gantry_http\n  mode http\n  option") && text.contains("  bind 127.0.0.1:20001\n"), "{text}");
    }

    #[test]
    fn clients_stay_with_an_instance_by_a_cookie_or_by_their_address() {
        let places = Places { stats_socket: "/s".into(), maps: "/m".into(), ..Places::default() };
        let mut layout = layout();
        let shape = &mut layout.services.get_mut("svc").unwrap().shape;
        shape.layer7 = Layer7 { sticky_seconds: 60, sticky_key: "k3y".into(), h2: true, ..Layer7::default() };
        let text = config(&layout, &places);
        let cookie = "  dynamic-cookie-key k3y\n  cookie gantry-1a insert indirect nocache dynamic httponly attr SameSite=Lax maxlife 60s\n";
        assert!(text.contains(cookie) && !text.contains("stick on"), "{text}");
        assert!(text.contains("on-error mark-down proto h2\n") && text.contains("pool-max-conn 0 proto h2\n"), "{text}");
        layout.services.get_mut("svc").unwrap().shape.http = false;
        let text = config(&layout, &places);
        assert!(text.contains("backend web_1a_stay\n  stick-table type ipv6 size 50k expire 60s\nbackend web_1a\n"), "{text}");
        assert!(text.contains("  stick on src table web_1a_stay\n") && !text.contains("cookie") && !text.contains("proto h2"), "{text}");
    }

    #[test]
    fn a_header_leads_to_another_backend_on_both_ports() {
        let places = Places { stats_socket: "/s".into(), maps: "/m".into(), http_listen: "127.0.0.1:7480".into(), ..Places::default() };
        let text = config(&layout(), &places);
        let condition = "{ req.hdr(X-Canary) -m str -- 'yes' } { nbsrv(web-preview_2b) gt 0 }";
        assert!(text.contains(&format!("set-var(txn.to) str(web-preview_2b) if {{ var(txn.to) -m str web_1a }} {condition}\n  http-request return")), "{text}");
        assert!(text.contains(&format!("use_backend web-preview_2b if {condition}\n  default_backend web_1a")), "{text}");
    }

    #[test]
    fn no_value_of_a_header_ends_its_condition() {
        let by = |value: &str| by_header(&HeaderRule { name: "X".into(), value: value.into(), to: "b".into() });
        assert_eq!(by(""), "{ req.hdr(X) -m found } { nbsrv(b) gt 0 }");
        assert_eq!(by("v1.2 beta"), "{ req.hdr(X) -m str -- 'v1.2 beta' } { nbsrv(b) gt 0 }");
        // HAProxy refuses all of its configuration for a brace by itself, quoted or not; and it finds no value with a comma in its parts.
        for (odd, number) in [("}", "7d"), ("a,b", "612c62"), ("'", "27"), ("ü", "c3bc")] {
            assert_eq!(by(odd), format!("{{ req.fhdr(X) -m bin -- {number} }} {{ nbsrv(b) gt 0 }}"));
        }
    }

    #[test]
    fn an_answer_that_was_cut_off_does_not_say_that_there_are_no_older_workers() {
        let whole = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n8939            master          1 [failed: 0]   0d00h00m03s     2.6.12\n\
                     # workers\n9205            worker          0               0d00h00m01s     2.6.12\n\
                     # old workers\n8942            worker          1               0d00h00m03s     2.6.12\n# programs\n\n";
        assert_eq!(older_workers(whole), Some(vec![8942]));
        assert_eq!(older_workers("#<PID> <type>\n1 master\n# workers\n2 worker\n# programs\n"), Some(vec![]));
        assert_eq!((older_workers(""), older_workers("#<PID> <type>\n1 master\n")), (None, None));
    }

    #[test]
    fn who_may_connect_and_how_much_stands_in_the_backend() {
        let places = Places { stats_socket: "/s".into(), maps: "/m".into(), http_listen: "127.0.0.1:7480".into(), ..Places::default() };
        let access = Access {
            allow: vec!["192.0.2.0/24".into(), "2001:db8::/32".into()],
            deny: vec!["192.0.2.7".into()],
            requests_per_second: 5,
            concurrent: 3,
            inside: "10.100.0.0/16".into(),
            from: Vec::new(),
        };
        let with = |http: bool| {
            let mut layout = layout();
            let shape = &mut layout.services.get_mut("svc").unwrap().shape;
            (shape.http, shape.access) = (http, access.clone());
            config(&layout, &places)
        };
        let text = with(true);
        assert!(
            text.contains("  acl inside dst 10.100.0.0/16\n  acl allowed src 192.0.2.0/24\n  acl allowed src 2001:db8::/32\n  acl refused src 192.0.2.7\n")
        );
        assert!(
            text.contains("may not use the service\\n\" if refused !inside\n") && text.contains("may not use the service\\n\" unless allowed or inside\n"),
            "{text}"
        );
        assert!(text.contains("http-request track-sc0 src if !inside\n"));
        assert!(
            text.contains("Retry-After 10 if !inside { sc0_conn_rate gt 50 }\n") && text.contains("Retry-After 1 if !inside { sc0_conn_cur gt 3 }\n"),
            "{text}"
        );
        let text = with(false);
        assert!(
            text.contains("  tcp-request content reject unless allowed or inside\n") && text.contains("tcp-request content track-sc0 src if !inside\n"),
            "{text}"
        );
        assert!(!config(&layout(), &places).contains("acl "));
    }

    #[test]
    fn addresses_inside_the_node_are_not_asked_from_beside_it() {
        let places = Places { stats_socket: "/s".into(), maps: "/m".into(), http_listen: "127.0.0.1:7480".into(), ..Places::default() };
        let mut layout = layout();
        let access = &mut layout.services.get_mut("svc").unwrap().shape.access;
        access.inside = "10.100.0.0/16".into();
        assert!(!config(&layout, &places).contains("reject"), "it is not known from where they are asked");
        let access = &mut layout.services.get_mut("svc").unwrap().shape.access;
        access.from = ["127.0.0.0/8", "10.88.0.0/16"].map(str::to_owned).to_vec();
        let text = config(&layout, &places);
        let door = "  bind 127.0.0.1:20001\n  tcp-request connection reject if { dst 10.100.0.0/16 } !{ src 127.0.0.0/8 10.88.0.0/16 }\n";
        assert!(text.contains(door), "{text}");
    }

    #[test]
    fn sessions_are_read_by_column_name() {
        let csv = "# pxname,svname,qcur,qmax,scur,smax\nweb_1a,s0,0,0,3,9\nweb_1a,BACKEND,0,0,4,9\ngantry_http,FRONTEND,,,4,9\n";
        assert_eq!(sessions(csv), BTreeMap::from([(("web_1a".to_owned(), 0), 3)]));
        assert_eq!(sessions(""), BTreeMap::new());
    }

    #[test]
    fn what_a_server_answered_is_read_by_slot() {
        let csv = "# pxname,svname,stot,econ,eresp,hrsp_5xx,rtime,ttime\nweb,s0,7,1,0,2,15,20\nweb,BACKEND,7,1,0,2,15,20\nraw,s3,4,0,0,,,9\n";
        let all = served(csv);
        assert_eq!(all[&("web".to_owned(), 0)], Served { requests: 7, errors: 3, response_ms: 15 });
        assert_eq!(all[&("raw".to_owned(), 3)], Served { requests: 4, errors: 0, response_ms: 9 });
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn traffic_is_read_per_backend() {
        let csv = "# pxname,svname,scur,stot,bin,bout,dreq,econ,eresp,hrsp_5xx,req_tot\nweb,BACKEND,1,7,100,200,4,1,0,2,\nweb,s0,1,7,100,200,,1,0,2,\n\
                   raw_in,FRONTEND,1,7,100,200,3,,,,\nraw,BACKEND,1,7,100,200,0,0,0,0,\n";
        let all = traffic(csv);
        assert_eq!(all["web"], Traffic { requests: 7, bytes_in: 100, bytes_out: 200, errors: 3, sessions: 1, denied: 4 });
        assert_eq!(all["raw"].denied, 3, "a TCP service's refusals are the door's");
        assert_eq!(all.len(), 2);
    }
}
