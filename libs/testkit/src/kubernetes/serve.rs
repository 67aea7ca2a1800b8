//! The HTTP side.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};

use super::store::{Key, Request, Store, status};
use super::{ApiServer, inside, metrics};

type Pairs = BTreeMap<String, String>;

pub fn router(server: ApiServer) -> Router {
    Router::new().fallback(answer).with_state(server)
}

pub fn told(code: u16, body: &Value) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        Value::String(text) => (code, text.clone()).into_response(),
        body => (code, [("content-type", "application/json")], body.to_string()).into_response(),
    }
}

async fn answer(
    State(server): State<ApiServer>,
    method: Method,
    uri: Uri,
    Query(query): Query<Pairs>,
    headers: HeaderMap,
    upgrade: inside::Upgrade,
    body: Bytes,
) -> Response {
    let whole = uri.to_string();
    let response = {
        let mut store = server.lock();
        store.requests.push(Request { method: method.to_string(), path: whole.clone() });
        if let Some(at) = store.faults.iter().position(|f| f.method == method.as_str() && whole.contains(f.path)) {
            let fault = store.faults.remove(at);
            let mut response = (StatusCode::from_u16(fault.status).expect("a status"), fault.body).into_response();
            if let Some(after) = fault.retry_after {
                response.headers_mut().insert("retry-after", after.to_string().parse().expect("a number"));
            }
            return response;
        }
        let token = headers.get("authorization").and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
        if token.is_none_or(|t| !store.tokens.contains(t)) {
            return told(401, &status(401, "Unauthorized"));
        }
        if let Some(asked) = inside::asked(uri.path()) {
            drop(store);
            return inside::open(&server, asked, uri.query().unwrap_or_default(), upgrade);
        }
        route(&mut store, &method, uri.path(), &query, &headers, &body)
    };
    match response {
        Some((code, value)) => {
            if method != Method::GET {
                server.touched();
            }
            told(code, &value)
        }
        None => watch(&server, uri.path(), &query),
    }
}

/// Plural, namespace and name of a path.
fn place(path: &str) -> Option<(String, Option<String>, Option<String>, Option<String>)> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = match parts.first()? {
        &"api" => parts.get(2..)?,
        &"apis" => parts.get(3..)?,
        _ => return None,
    };
    let own = |text: &str| Some(text.to_owned());
    match rest {
        ["namespaces"] => Some(("namespaces".into(), None, None, None)),
        ["namespaces", name] => Some(("namespaces".into(), None, own(name), None)),
        ["namespaces", namespace, plural] => Some(((*plural).into(), own(namespace), None, None)),
        ["namespaces", namespace, plural, name] => Some(((*plural).into(), own(namespace), own(name), None)),
        ["namespaces", namespace, plural, name, sub] => Some(((*plural).into(), own(namespace), own(name), own(sub))),
        [plural] => Some(((*plural).into(), None, None, None)),
        [plural, name] => Some(((*plural).into(), None, own(name), None)),
        _ => None,
    }
}

/// `None`: a watch.
fn route(store: &mut Store, method: &Method, path: &str, query: &Pairs, headers: &HeaderMap, body: &Bytes) -> Option<(u16, Value)> {
    if let Some(found) = discovery(store, path) {
        return Some((200, found));
    }
    if let Some(answer) = metrics::answer(store, path) {
        return Some(answer);
    }
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    if path.ends_with("/selfsubjectaccessreviews") {
        let of = &sent["spec"]["resourceAttributes"];
        let mut asked = format!("{} {}", of["verb"].as_str().unwrap_or_default(), of["resource"].as_str().unwrap_or_default());
        if let Some(part) = of["subresource"].as_str().filter(|p| !p.is_empty()) {
            asked.push('/');
            asked.push_str(part);
        }
        return Some((201, json!({ "status": { "allowed": !store.denied.contains(&asked) } })));
    }
    let Some((plural, namespace, name, sub)) = place(path) else { return Some((404, status(404, "the server could not find the requested resource"))) };
    let key = |name: &str| Key { plural: plural.clone(), namespace: namespace.clone().unwrap_or_default(), name: name.to_owned() };
    let missing = |name: &str| (404, status(404, &format!("{plural} \"{name}\" not found")));
    Some(match (method.as_str(), &name, &sub) {
        ("GET", None, _) if query.get("watch").is_some_and(|w| w == "true" || w == "1") => return None,
        ("GET", None, _) => list(store, &plural, namespace.as_deref(), query),
        ("GET", Some(name), Some(sub)) if sub == "log" => match store.objects.get(&key(name)) {
            Some(pod) => (200, pod.value["log"].clone()),
            None => missing(name),
        },
        ("GET", Some(name), None) => store.objects.get(&key(name)).map_or_else(|| missing(name), |o| (200, o.value.clone())),
        ("PATCH", Some(name), None) => {
            let kind = headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
            let Some(manager) = query.get("fieldManager").filter(|_| kind == "application/apply-patch+yaml") else {
                return Some((415, status(415, "only server-side apply is known here, with a field manager")));
            };
            if sent["metadata"]["name"] != name.as_str() || !sent["metadata"]["managedFields"].is_null() || sent["apiVersion"].is_null() {
                return Some((400, status(400, "metadata.name must be the path's, managedFields must be nil, apiVersion must be set")));
            }
            let force = query.get("force").is_some_and(|f| f == "true");
            match store.apply(&key(name), &sent, manager, force) {
                Ok(value) => (200, value),
                Err(refused) => refused,
            }
        }
        ("POST", None, None) => {
            let mut object = sent.clone();
            object["metadata"]["namespace"] = namespace.clone().unwrap_or_default().into();
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if store.objects.contains_key(&key(&name)) {
                return Some((409, status(409, &format!("{plural} \"{name}\" already exists"))));
            }
            (201, store.put(&plural, object, query.get("fieldManager").map_or("client", String::as_str)))
        }
        ("PUT", Some(name), None) => match store.objects.get(&key(name)).map(|o| o.value["metadata"]["resourceVersion"].clone()) {
            None => missing(name),
            Some(version) if version != sent["metadata"]["resourceVersion"] => (409, status(409, "the object has been modified")),
            Some(_) => {
                store.update(&key(name), query.get("fieldManager").map_or("client", String::as_str), |o| *o = sent.clone());
                (200, store.objects[&key(name)].value.clone())
            }
        },
        ("DELETE", Some(name), None) => match store.objects.get(&key(name)) {
            None => missing(name),
            Some(there) if sent["preconditions"]["uid"].as_str().is_some_and(|uid| there.value["metadata"]["uid"] != uid) => {
                (409, status(409, "the UID in the precondition does not match"))
            }
            Some(_) => {
                if sent["propagationPolicy"] == "Orphan" {
                    store.orphan(&key(name));
                } else {
                    store.delete(&key(name));
                }
                (200, json!({ "kind": "Status", "status": "Success" }))
            }
        },
        _ => (405, status(405, "not here")),
    })
}

fn discovery(store: &Store, path: &str) -> Option<Value> {
    let group = |name: &str, version: &str| json!({ "name": name, "versions": [{ "groupVersion": format!("{name}/{version}"), "version": version }] });
    match path {
        "/readyz" => Some("ok".into()),
        "/version" => Some(json!({ "major": "1", "minor": store.minor.to_string(), "gitVersion": format!("v1.{}.0", store.minor), "platform": "linux/amd64" })),
        "/apis" => {
            let mut groups = vec![group("apps", "v1"), group("autoscaling", "v2"), group("policy", "v1")];
            if store.snapshots {
                groups.push(group("snapshot.storage.k8s.io", "v1"));
            }
            if store.gateway {
                groups.push(group("gateway.networking.k8s.io", "v1"));
            }
            if store.metrics {
                groups.push(group("metrics.k8s.io", "v1beta1"));
            }
            Some(json!({ "kind": "APIGroupList", "groups": groups }))
        }
        "/apis/gateway.networking.k8s.io/v1" if store.gateway => Some(json!({ "resources": [{ "name": "httproutes", "kind": "HTTPRoute" }] })),
        "/apis/storage.k8s.io/v1/storageclasses" => {
            Some(json!({ "items": [{ "metadata": { "name": "std", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } } }] }))
        }
        _ => None,
    }
}

/// `involvedObject.kind=Job,type=Warning`
fn of_fields(object: &Value, query: &Pairs) -> bool {
    let at = |path: &str| path.split('.').fold(object, |value, field| &value[field]);
    let Some(selector) = query.get("fieldSelector") else { return true };
    selector.split(',').all(|part| part.split_once('=').is_some_and(|(path, value)| *at(path) == value))
}

fn selected(object: &Value, query: &Pairs) -> bool {
    if !of_fields(object, query) {
        return false;
    }
    let Some(selector) = query.get("labelSelector") else { return true };
    selector.split(',').all(|part| match (part.split_once("!="), part.split_once('=')) {
        // Those without the label, too.
        (Some((key, value)), _) => object["metadata"]["labels"][key] != value,
        (None, Some((key, value))) => object["metadata"]["labels"][key] == value,
        (None, None) => object["metadata"]["labels"].get(part).is_some(),
    })
}

fn list(store: &Store, plural: &str, namespace: Option<&str>, query: &Pairs) -> (u16, Value) {
    let within = |key: &Key| key.plural == plural && namespace.is_none_or(|n| n == key.namespace);
    let all: Vec<&Value> = store.objects.iter().filter(|(k, o)| within(k) && selected(&o.value, query)).map(|(_, o)| &o.value).collect();
    let limit: usize = query.get("limit").and_then(|l| l.parse().ok()).filter(|l| *l > 0).unwrap_or(usize::MAX);
    let from: usize = query.get("continue").and_then(|c| c.parse().ok()).unwrap_or(0);
    // Items do not say what they are: the list does.
    let item = |object: &Value| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        object
    };
    let page: Vec<Value> = all.iter().skip(from).take(limit).copied().map(item).collect();
    let next = if from + page.len() < all.len() { (from + page.len()).to_string() } else { String::new() };
    (200, json!({ "kind": "List", "metadata": { "resourceVersion": store.version.to_string(), "continue": next }, "items": page }))
}

/// Lines until somebody cuts the connection.
fn watch(server: &ApiServer, path: &str, query: &Pairs) -> Response {
    let Some((plural, ..)) = place(path) else { return told(404, &status(404, "no such resource")) };
    let from: u64 = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
    let (broken, version, oldest) = {
        let store = server.lock();
        (store.broken, store.version, store.oldest)
    };
    if from < oldest {
        return told(410, &status(410, "too old resource version"));
    }
    let state = (server.clone(), server.changed.subscribe(), from, query.clone(), plural, version.max(from));
    let lines = stream::unfold(state, move |(server, mut changed, at, query, plural, marked)| async move {
        loop {
            changed.mark_unchanged();
            let (mut lines, mut last, ended) = {
                let store = server.lock();
                let mut lines = String::new();
                let mut last = at;
                for change in store.history.iter().filter(|c| c.version > at) {
                    last = change.version;
                    if change.plural == plural && selected(&change.object, &query) {
                        lines.push_str(&format!("{}\n", json!({ "type": change.kind, "object": change.object })));
                    }
                }
                (lines, last.max(at), store.broken != broken)
            };
            if ended {
                return None;
            }
            if lines.is_empty() && last > marked && server.lock().bookmarks {
                lines = format!("{}\n", json!({ "type": "BOOKMARK", "object": { "kind": "Any", "metadata": { "resourceVersion": last.to_string() } } }));
            }
            if !lines.is_empty() {
                last = last.max(at);
                return Some((Ok::<_, std::io::Error>(Bytes::from(lines)), (server, changed, last, query, plural, last)));
            }
            if changed.changed().await.is_err() {
                return None;
            }
        }
    });
    Response::new(Body::from_stream(lines))
}
