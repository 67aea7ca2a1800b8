//! Ingress, HTTPRoute and Gateway: which requests go to which service.

use std::collections::BTreeMap;

use super::objects::Object;
use crate::domain::document::duration_ms;
use crate::domain::fields::{At, Fields};
use crate::domain::model::{Model, PathKind, Protocol, Route, ValueMatch};

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
    for at in spec.list("tls") {
        let t = at.fields();
        let (secret, hosts) = (t.text("secretName"), t.texts("hosts"));
        if secret.is_empty() {
            at.unsupported("without `secretName` there is no certificate, so requests come over plain HTTP");
        } else if hosts.is_empty() {
            tls_of_others = secret;
        } else {
            tls.extend(hosts.into_iter().map(|host| (host, secret.clone())));
        }
    }
    let standard = Route { rewrite, ..Route::new("", "/") };
    for key in ["defaultBackend", "backend"] {
        if let Some(at) = spec.take(key) {
            backend(&at, Route { tls_secret: tls_of_others.clone(), ..standard.clone() }, model);
        }
    }
    for at in spec.list("rules") {
        let rule = at.fields();
        let host = rule.text("host");
        let Some(http) = rule.below("http") else { continue };
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
            let route = Route { host: host.clone(), path, path_kind, tls_secret, ..standard.clone() };
            match p.take("backend") {
                Some(at) => backend(&at, route, model),
                None => at.wrong("needs `backend`"),
            }
        }
    }
}

/// That of the host itself, or of all names in its domain.
fn secret_for<'a>(tls: &'a BTreeMap<String, String>, host: &str) -> Option<&'a String> {
    let of_all = || tls.get(&format!("*.{}", host.split_once('.')?.1));
    tls.get(host).or_else(of_all)
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
    object.note("the nodes' own balancer serves all routes");
    let Some(spec) = object.spec() else { return };
    spec.skip(&["gatewayClassName", "addresses", "infrastructure"]);
    for at in spec.list("listeners") {
        let l = at.fields();
        l.skip(&["name", "port", "hostname", "allowedRoutes"]);
        if let Some(at) = l.take("protocol")
            && !matches!(at.text().as_str(), "HTTP")
        {
            at.unsupported(format!("{} is not served yet: routes are plain HTTP", at.text()));
        }
        if let Some(at) = l.take("tls") {
            at.unsupported("routes serve plain HTTP yet");
        }
    }
}

pub fn http_route(object: &Object<'_>, model: &mut Model) {
    super::objects::note_annotations(object);
    let Some(spec) = object.spec() else { return };
    spec.skip(&["parentRefs"]);
    let mut hosts = spec.texts("hostnames");
    if hosts.is_empty() {
        hosts.push(String::new());
    }
    for at in spec.list("rules") {
        let rule = at.fields();
        rule.skip(&["name"]);
        let mut standard = Route::new("", "/");
        filters(&rule, &mut standard);
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
        let backends = rule.list("backendRefs");
        let several = backends.len() > 1;
        for at in &backends {
            let b = at.fields();
            b.skip(&["group", "kind", "namespace"]);
            b.unsupported(&["filters"], "filters are those of the whole rule");
            let (name, port) = (b.text("name"), b.text("port"));
            let weight = b.number("weight", 1_000_000);
            for host in &hosts {
                for route in &routes {
                    let weight = if several { Some(weight.unwrap_or(1)) } else { weight.filter(|w| *w != 1) };
                    lead(at, &name, &port, Route { host: host.clone(), weight, ..route.clone() }, model);
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

fn filters(rule: &Fields<'_>, route: &mut Route) {
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
                        path.skip(&["type"]);
                        route.rewrite = if path.has("replaceFullPath") { path.text("replaceFullPath") } else { path.text("replacePrefixMatch") };
                        path.skip(&["replaceFullPath", "replacePrefixMatch"]);
                    }
                }
            }
            other => {
                drop(f.rest());
                at.unsupported(format!("the filter {other} is not known"));
            }
        }
    }
}
