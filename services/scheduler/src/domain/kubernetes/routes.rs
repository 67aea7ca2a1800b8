//! Ingress, HTTPRoute and Gateway: which requests go to which service.

use std::collections::{BTreeMap, BTreeSet};

use super::objects::Object;
use crate::domain::document::duration_ms;
use crate::domain::fields::{At, Fields};
use crate::domain::model::{Model, PathKind, Protocol, Route, ValueMatch};
use crate::domain::yaml::Node;

const REWRITE: &str = "nginx.ingress.kubernetes.io/rewrite-target";

pub fn ingress(object: &Object<'_>, model: &mut Model) {
    let at = format!("{}.metadata.annotations", object.path);
    let mut rewrite = String::new();
    for (key, value) in &object.annotations {
        match key.as_str() {
            REWRITE => rewrite.clone_from(value),
            "kubernetes.io/ingress.class" | super::MODEL => {}
            key if key.contains("last-applied") => {}
            key => object.remarks.unsupported(&at, object.line_of(key), format!("`{key}` is for another controller")),
        }
    }
    let Some(spec) = object.spec() else { return };
    spec.note(&["ingressClassName"], "the nodes' own balancer serves all routes");
    let (mut tls, mut tls_of_others) = (BTreeMap::new(), String::new());
    let (mut certified, mut asked) = (Vec::new(), Vec::new());
    // Hosts that are to be served over HTTPS, whoever has a certificate for them.
    let (mut secured, mut all_secured) = (BTreeSet::new(), false);
    for at in spec.list("tls") {
        let t = at.fields();
        let (secret, hosts) = (t.text("secretName"), t.texts("hosts"));
        if secret.is_empty() {
            certified.extend(hosts.iter().map(|host| (host.clone(), at.clone())));
            all_secured |= hosts.is_empty();
            at.note("without `secretName` it is the certificate of whoever serves the routes: on nodes, one of the platform's own authority");
            secured.extend(hosts);
        } else if hosts.is_empty() {
            tls_of_others = secret;
        } else {
            certified.extend(hosts.iter().map(|host| (host.clone(), at.clone())));
            tls.extend(hosts.into_iter().map(|host| (host, secret.clone())));
        }
    }
    let standard = Route { rewrite, ..Route::new("", "/") };
    let mut for_others = None;
    for key in ["defaultBackend", "backend"] {
        if let Some(at) = spec.take(key) {
            backend(&at, Route { tls_secret: tls_of_others.clone(), ..standard.clone() }, model);
            for_others = Some(at);
        }
    }
    for at in spec.list("rules") {
        let rule = at.fields();
        let host = rule.text("host");
        asked.push(host.clone());
        let Some(http) = rule.below("http") else {
            let tls_secret = secret_for(&tls, &host).unwrap_or(&tls_of_others).clone();
            let tls = tls_secret.is_empty() && (all_secured || is_among(&secured, &host));
            match &for_others {
                Some(others) => backend(others, Route { host, tls_secret, tls, ..standard.clone() }, model),
                None => at.unsupported("has no `http` and there is no `defaultBackend`: its requests lead nowhere"),
            }
            continue;
        };
        for at in http.list("paths") {
            let p = at.fields();
            let path = p.take("path").map_or_else(|| "/".to_owned(), |at| at.text());
            let exact = p.take("pathType").is_some_and(|at| at.one_of(&["Exact", "Prefix", "ImplementationSpecific"]) == Some(0));
            let pattern = path.contains(['(', '*', '[', '|', '$', '^']);
            let path_kind = if exact {
                PathKind::Exact
            } else if pattern {
                PathKind::Pattern
            } else {
                PathKind::Prefix
            };
            let tls_secret = secret_for(&tls, &host).unwrap_or(&tls_of_others).clone();
            let tls = tls_secret.is_empty() && (all_secured || is_among(&secured, &host));
            let route = Route { host: host.clone(), path, path_kind, tls_secret, tls, ..standard.clone() };
            match p.take("backend") {
                Some(at) => backend(&at, route, model),
                None => at.wrong("needs `backend`"),
            }
        }
    }
    unused(&certified, &asked);
}

/// Certificates that no rule asks for.
fn unused(certified: &[(String, At<'_>)], asked: &[String]) {
    for (host, at) in certified {
        let covers = |name: &String| name == host || name.split_once('.').is_some_and(|(_, domain)| host.strip_prefix("*.") == Some(domain));
        if !asked.iter().any(covers) {
            at.note(format!("no rule has the host `{host}`: there its certificate has no effect"));
        }
    }
}

/// That of the host itself, or of all names in its domain.
fn secret_for<'a>(tls: &'a BTreeMap<String, String>, host: &str) -> Option<&'a String> {
    let of_all = || tls.get(&format!("*.{}", host.split_once('.')?.1));
    tls.get(host).or_else(of_all)
}

fn is_among(hosts: &BTreeSet<String>, host: &str) -> bool {
    hosts.contains(host) || host.split_once('.').is_some_and(|(_, domain)| hosts.contains(&format!("*.{domain}")))
}

fn backend(at: &At<'_>, route: Route, model: &mut Model) {
    let f = at.fields();
    f.unsupported(&["resource"], "a route leads to a service");
    let (name, port) = match f.below("service") {
        Some(service) => {
            let port = service.below("port").map(|p| if p.has("name") { p.text("name") } else { p.text("number") });
            (service.text("name"), port.unwrap_or_default())
        }
        // As it was before networking.k8s.io/v1.
        None => (f.text("serviceName"), f.text("servicePort")),
    };
    if !name.is_empty() {
        lead(at, &name, &port, route, model);
    }
}

/// Gives the route to the service's port.
fn lead(at: &At<'_>, name: &str, port: &str, route: Route, model: &mut Model) {
    let fits = |s: &crate::domain::model::Service| port.is_empty() || s.port_name == port || s.called_at().to_string() == port;
    let own = crate::domain::check::name_of(name);
    let found = model.services.iter().position(|s| Some(&s.name) == own.as_ref() && s.port > 0 && s.protocol != Protocol::Udp && fits(s));
    match found {
        Some(n) => {
            let service = &mut model.services[n];
            at.place(format!("services[{n}].routes[{}]", service.routes.len()));
            service.protocol = Protocol::Http;
            service.routes.push(route);
        }
        None => at.unsupported(format!("there is no service `{name}` with the port `{port}` in the document: the route is left out")),
    }
}

/// The nodes' balancer is the gateway.
pub fn gateway(object: &Object<'_>) {
    object.note(OWN);
    let Some(spec) = object.spec() else { return };
    spec.note(&["gatewayClassName", "addresses", "infrastructure"], OWN);
    for at in spec.list("listeners") {
        let l = at.fields();
        // Their hosts are those of routes that name none: see `listeners`.
        l.skip(&["name", "hostname"]);
        l.note(&["port", "allowedRoutes"], OWN);
        if let Some(at) = l.take("protocol")
            && at.text() != "HTTP"
        {
            match at.text().as_str() {
                "HTTPS" => at.note("its routes are served over HTTPS, at the platform's own port"),
                other => at.unsupported(format!("{other} is not served: routes are HTTP or HTTPS")),
            }
        }
        if let Some(at) = l.take("tls") {
            let tls = at.fields();
            match tls.take("mode").and_then(|mode| mode.one_of(&["Terminate", "Passthrough"])) {
                Some(1) => at.unsupported("requests are always decrypted by the nodes' balancer"),
                _ => at.note("its certificate is that of its routes"),
            }
            // See `listeners`.
            tls.skip(&["certificateRefs"]);
        }
    }
}

const OWN: &str = "the nodes' own balancer serves all routes, at the platform's own port";

/// What routes have of a listener.
pub struct Listener {
    name: String,
    host: String,
    secure: bool,
    /// That of its certificate.
    secret: String,
}

/// The listeners of Gateways, by these.
pub type Listeners = BTreeMap<String, Vec<Listener>>;

pub fn listeners(objects: &[Object<'_>]) -> Listeners {
    let mut out = Listeners::new();
    for object in objects.iter().filter(|o| o.is("gateway.networking.k8s.io", "Gateway")) {
        let Some(spec) = object.root.take("spec") else { continue };
        let own = |l: &Node| {
            let certificate = l.get("tls").and_then(|tls| tls.get("certificateRefs")).and_then(Node::list).and_then(|all| all.first());
            let secret = certificate.map(|c| text(c, "name")).unwrap_or_default();
            Listener { name: text(l, "name"), host: text(l, "hostname"), secure: text(l, "protocol") == "HTTPS", secret }
        };
        out.insert(object.name.clone(), spec.node.get("listeners").and_then(Node::list).unwrap_or_default().iter().map(own).collect());
    }
    out
}

fn text(node: &Node, key: &str) -> String {
    node.get(key).and_then(Node::scalar).unwrap_or_default()
}

/// Those that a route belongs to.
fn own_listeners<'a>(parents: &[At<'_>], listeners: &'a Listeners) -> Vec<&'a Listener> {
    let mut out = Vec::new();
    for parent in parents {
        let (name, section) = (text(parent.node, "name"), text(parent.node, "sectionName"));
        out.extend(listeners.get(&name).into_iter().flatten().filter(|l| section.is_empty() || l.name == section));
    }
    out
}

/// With the certificate of the listeners that take this host. Where one of them is plain, plain requests are answered, too.
fn listened(route: Route, listeners: &[&Listener]) -> Route {
    let takes = |l: &&&Listener| match l.host.strip_prefix('*') {
        Some(domain) => route.host.ends_with(domain),
        None => l.host.is_empty() || l.host == route.host,
    };
    let Some(secure) = listeners.iter().filter(takes).find(|l| l.secure) else { return route };
    let plain_http = listeners.iter().filter(takes).any(|l| !l.secure);
    Route { tls_secret: secure.secret.clone(), tls: secure.secret.is_empty(), plain_http, ..route }
}

/// Of a route that names no hosts itself: those of its listeners; none if one of these serves all.
fn inherited(listeners: &[&Listener]) -> Vec<String> {
    let mut hosts: Vec<String> = listeners.iter().map(|l| l.host.clone()).collect();
    hosts.sort();
    hosts.dedup();
    if hosts.iter().any(String::is_empty) { Vec::new() } else { hosts }
}

pub fn http_route(object: &Object<'_>, model: &mut Model, listeners: &Listeners) {
    super::objects::note_annotations(object);
    let Some(spec) = object.spec() else { return };
    let mut hosts = spec.texts("hostnames");
    let listeners = own_listeners(&spec.list("parentRefs"), listeners);
    if hosts.is_empty() {
        hosts = inherited(&listeners);
    }
    if hosts.is_empty() {
        hosts.push(String::new());
    }
    spec.note(&["parentRefs"], OWN);
    for at in spec.list("rules") {
        let rule = at.fields();
        rule.skip(&["name"]);
        let mut standard = Route::new("", "/");
        let whole_path = filters(&rule, &mut standard);
        if let Some(timeouts) = rule.below("timeouts") {
            let millis = |at: At<'_>| at.parsed(duration_ms, "a duration such as 10s").unwrap_or(0);
            standard.timeout_ms = timeouts.take("request").map(millis).unwrap_or(0);
            timeouts.unsupported(&["backendRequest"], "a route has one time limit: `request`");
        }
        rule.unsupported(&["sessionPersistence", "retry"], "is not supported");
        let mut routes: Vec<Route> = rule.list("matches").iter().map(|at| matched(at, &standard)).collect();
        if routes.is_empty() {
            routes.push(standard.clone());
        }
        if let Some(at) = whole_path.filter(|_| routes.iter().any(|r| r.path_kind != PathKind::Exact)) {
            at.unsupported("only what was matched of a path is replaced: all of it where it is matched as a whole, with the type Exact");
        }
        let backends = rule.list("backendRefs");
        if backends.is_empty() {
            at.unsupported("has no `backendRefs`: its requests lead nowhere");
        }
        let several = backends.len() > 1;
        for at in &backends {
            let b = at.fields();
            b.skip(&["group"]);
            let (kind, namespace) = (b.text("kind"), b.text("namespace"));
            if !matches!(kind.as_str(), "" | "Service") || (!namespace.is_empty() && namespace != object.namespace()) {
                at.unsupported("a route leads to a Service of the application: this part of it is left out");
                drop(b.rest());
                continue;
            }
            b.unsupported(&["filters"], "filters are those of the whole rule");
            let (name, port) = (b.text("name"), b.text("port"));
            let weight = b.number("weight", 1_000_000);
            for host in &hosts {
                for route in &routes {
                    let weight = if several { Some(weight.unwrap_or(1)) } else { weight.filter(|w| *w != 1) };
                    lead(at, &name, &port, listened(Route { host: host.clone(), weight, ..route.clone() }, &listeners), model);
                }
            }
        }
    }
}

fn matched(at: &At<'_>, standard: &Route) -> Route {
    let m = at.fields();
    let mut route = standard.clone();
    if let Some(path) = m.below("path") {
        route.path = path.take("value").map_or_else(|| "/".to_owned(), |at| at.text());
        route.path_kind = match path.take("type").and_then(|at| at.one_of(&["PathPrefix", "Exact", "RegularExpression"])) {
            Some(1) => PathKind::Exact,
            Some(2) => PathKind::Pattern,
            _ => PathKind::Prefix,
        };
    }
    route.headers = values(&m, "headers");
    route.queries = values(&m, "queryParams");
    route.method = m.text("method");
    route
}

fn values(m: &Fields<'_>, key: &str) -> Vec<ValueMatch> {
    let one = |at: At<'_>| {
        let v = at.fields();
        let pattern = v.take("type").is_some_and(|at| at.one_of(&["Exact", "RegularExpression"]) == Some(1));
        ValueMatch { name: v.text("name"), value: v.text("value"), pattern }
    };
    m.list(key).into_iter().map(one).collect()
}

/// What replaces the whole of a path, if something does.
fn filters<'a>(rule: &Fields<'a>, route: &mut Route) -> Option<At<'a>> {
    let mut whole_path = None;
    for at in rule.list("filters") {
        let f = at.fields();
        let kind = f.text("type");
        match kind.as_str() {
            "RequestHeaderModifier" => {
                if let Some(change) = f.below("requestHeaderModifier") {
                    for at in change.list("set") {
                        let header = at.fields();
                        route.set_headers.insert(header.text("name"), header.text("value"));
                    }
                    change.unsupported(&["add", "remove"], "headers are only set");
                }
            }
            "URLRewrite" => {
                if let Some(change) = f.below("urlRewrite") {
                    change.unsupported(&["hostname"], "only the path is rewritten");
                    if let Some(path) = change.below("path") {
                        whole_path = path.take("replaceFullPath");
                        route.rewrite = whole_path.as_ref().map_or_else(|| path.text("replacePrefixMatch"), At::text);
                        path.skip(&["type", "replacePrefixMatch"]);
                    }
                }
            }
            other => {
                drop(f.rest());
                at.unsupported(format!("the filter {other} is not known"));
            }
        }
    }
    whole_path
}
