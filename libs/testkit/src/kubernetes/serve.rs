//! The HTTP side.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::rights::{self, Rights};
use super::store::{Key, Request, Store, status};
use super::{ApiServer, inside, metrics, pods};

type Pairs = BTreeMap<String, String>;

/// Bookmarks of one watch come at most so often. (A real server sends one a minute.)
const BETWEEN: Duration = Duration::from_millis(50);

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
    let (response, warning) = {
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
        let rights = token.and_then(|t| store.rights.get(t)).cloned();
        if let Some(rights) = &rights
            && let Some(missing) = rights::needed(&store, &method, uri.path(), &query).iter().find(|right| !rights.contains(*right))
        {
            return told(403, &status(403, &rights::refusal(missing)));
        }
        if let Some(asked) = inside::asked(uri.path()) {
            drop(store);
            return inside::open(&server, asked, uri.query().unwrap_or_default(), upgrade);
        }
        let warning = store.warning.clone().filter(|_| query.contains_key("force"));
        (route(&mut store, rights.as_deref(), &method, uri.path(), &query, &headers, &body), warning)
    };
    match response {
        Some((code, value)) => {
            if method != Method::GET {
                server.touched();
            }
            let mut response = told(code, &value);
            if let Some(text) = warning {
                response.headers_mut().insert("warning", format!("299 - \"{text}\"").parse().expect("a header"));
            }
            response
        }
        None => watch(&server, uri.path(), &query),
    }
}

/// Plural, namespace and name of a path.
pub fn place(path: &str) -> Option<(String, Option<String>, Option<String>, Option<String>)> {
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
fn route(store: &mut Store, rights: Option<&Rights>, method: &Method, path: &str, query: &Pairs, headers: &HeaderMap, body: &Bytes) -> Option<(u16, Value)> {
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
        let (verb, resource) = asked.split_once(' ').unwrap_or_default();
        let right = [of["group"].as_str().unwrap_or_default(), resource, verb].map(str::to_owned);
        let allowed = !store.denied.contains(&asked) && rights.is_none_or(|rights| rights.contains(&right));
        return Some((201, json!({ "status": { "allowed": allowed } })));
    }
    let Some((plural, namespace, name, sub)) = place(path) else { return Some((404, status(404, "the server could not find the requested resource"))) };
    let key = |name: &str| Key { plural: plural.clone(), namespace: namespace.clone().unwrap_or_default(), name: name.to_owned() };
    let manager = query.get("fieldManager").map_or("client", String::as_str);
    let missing = |name: &str| (404, status(404, &format!("{plural} \"{name}\" not found")));
    Some(match (method.as_str(), &name, &sub) {
        ("GET", None, _) if query.get("watch").is_some_and(|w| w == "true" || w == "1") => return None,
        ("GET", None, _) => list(store, path, &plural, namespace.as_deref(), query),
        ("GET", Some(name), Some(sub)) if sub == "log" => match store.objects.get(&key(name)) {
            Some(pod) => (200, pod.value["log"].clone()),
            None => missing(name),
        },
        ("GET", Some(name), None) => store.objects.get(&key(name)).map_or_else(|| missing(name), |o| (200, o.value.clone())),
        ("PATCH", Some(name), None) if pods::is_merge(headers) => patched(store, &key(name), headers, manager, &sent).unwrap_or_else(|| missing(name)),
        ("PATCH", Some(name), None) => {
            let kind = headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
            let Some(manager) = query.get("fieldManager").filter(|_| kind == "application/apply-patch+yaml") else {
                return Some((415, status(415, "only server-side apply is known here, with a field manager")));
            };
            if sent["metadata"]["name"] != name.as_str() || !sent["metadata"]["managedFields"].is_null() || sent["apiVersion"].is_null() {
                return Some((400, status(400, "metadata.name must be the path's, managedFields must be nil, apiVersion must be set")));
            }
            let timed = |rule: &Value| rule.get("timeouts").is_some();
            if plural == "httproutes" && !store.route_timeouts && sent["spec"]["rules"].as_array().is_some_and(|rules| rules.iter().any(timed)) {
                // As a server says it of a definition whose schema lacks the field.
                return Some((500, status(500, "failed to create typed patch object: .spec.rules[0].timeouts: field not declared in schema")));
            }
            let force = query.get("force").is_some_and(|f| f == "true");
            match store.apply(&key(name), &sent, manager, force) {
                Ok(value) => (200, value),
                Err(refused) => refused,
            }
        }
        ("PATCH", Some(name), Some(sub)) if sub == "status" => patched(store, &key(name), headers, manager, &sent).unwrap_or_else(|| missing(name)),
        ("POST", Some(name), Some(sub)) if plural == "pods" && sub == "binding" => pods::bind(store, &key(name), &sent),
        ("POST", Some(name), Some(sub)) if plural == "pods" && sub == "eviction" => pods::evict(store, &key(name)),
        ("POST", Some(name), Some(sub)) if plural == "serviceaccounts" && sub == "token" => match store.objects.contains_key(&key(name)) {
            true => {
                let namespace = namespace.clone().unwrap_or_default();
                let (token, rights) = (format!("{namespace}.{name}.{}", store.version), rights::bound(store, &namespace, name));
                store.tokens.insert(token.clone());
                store.rights.insert(token.clone(), std::sync::Arc::new(rights));
                (201, json!({ "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "status": { "token": token } }))
            }
            false => missing(name),
        },
        ("POST", None, None) => {
            let mut object = sent.clone();
            object["metadata"]["namespace"] = namespace.clone().unwrap_or_default().into();
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if store.objects.contains_key(&key(&name)) {
                return Some((409, status(409, &format!("{plural} \"{name}\" already exists"))));
            }
            (201, store.put(&plural, object, manager))
        }
        ("PUT", Some(name), None) => match store.objects.get(&key(name)).map(|o| o.value["metadata"]["resourceVersion"].clone()) {
            None => missing(name),
            Some(version) if version != sent["metadata"]["resourceVersion"] => (409, status(409, "the object has been modified")),
            Some(_) => {
                store.update(&key(name), manager, |o| *o = sent.clone());
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

/// A merge patch, of the whole or of the status. `None`: there is no such object.
fn patched(store: &mut Store, key: &Key, headers: &HeaderMap, manager: &str, sent: &Value) -> Option<(u16, Value)> {
    if !pods::is_merge(headers) {
        return Some((415, status(415, "only merge patches are known here")));
    }
    let there = store.objects.get(key)?;
    // A patch may name the version that it is of.
    let version = &sent["metadata"]["resourceVersion"];
    if !version.is_null() && *version != there.value["metadata"]["resourceVersion"] {
        return Some((409, status(409, "the object has been modified")));
    }
    store.update(key, manager, |o| pods::merge(o, sent));
    if let Some(named) = sent["metadata"]["managedFields"].as_array() {
        store.let_go(key, named);
    }
    store.objects.get(key).map(|o| (200, o.value.clone()))
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
        "/openapi/v3/apis/gateway.networking.k8s.io/v1" if store.gateway => {
            let mut rule = json!({ "matches": {}, "filters": {}, "backendRefs": {} });
            if store.route_timeouts {
                rule["timeouts"] = json!({ "type": "object" });
            }
            let spec = json!({ "properties": { "rules": { "type": "array", "items": { "properties": rule } } } });
            let kind = json!([{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "version": "v1" }]);
            let route = json!({ "properties": { "spec": spec }, "x-kubernetes-group-version-kind": kind });
            Some(json!({ "openapi": "3.0.0", "components": { "schemas": { "io.k8s.networking.gateway.v1.HTTPRoute": route } } }))
        }
        "/apis/gateway.networking.k8s.io/v1" if store.gateway => Some(json!({ "resources": [{ "name": "httproutes", "kind": "HTTPRoute" }] })),
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
    // An empty one selects everything.
    let Some(selector) = query.get("labelSelector").filter(|s| !s.is_empty()) else { return true };
    selector.split(',').all(|part| match (part.split_once("!="), part.split_once('=')) {
        // Those without the label, too.
        (Some((key, value)), _) => object["metadata"]["labels"][key] != value,
        (None, Some((key, value))) => object["metadata"]["labels"][key] == value,
        (None, None) => object["metadata"]["labels"].get(part).is_some(),
    })
}

/// `/apis/apps/v1/...` is `apps/v1`.
fn api_version(path: &str) -> String {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["apis", group, version, ..] => format!("{group}/{version}"),
        [_, version, ..] => version.to_owned(),
        _ => String::new(),
    }
}

/// What typed clients have to be told of lists and bookmarks: the kinds that a scheduler reads.
fn kind_of(plural: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 18] = [
        ("nodes", "Node"),
        ("pods", "Pod"),
        ("namespaces", "Namespace"),
        ("services", "Service"),
        ("replicationcontrollers", "ReplicationController"),
        ("replicasets", "ReplicaSet"),
        ("statefulsets", "StatefulSet"),
        ("persistentvolumes", "PersistentVolume"),
        ("persistentvolumeclaims", "PersistentVolumeClaim"),
        ("poddisruptionbudgets", "PodDisruptionBudget"),
        ("storageclasses", "StorageClass"),
        ("csinodes", "CSINode"),
        ("csidrivers", "CSIDriver"),
        ("csistoragecapacities", "CSIStorageCapacity"),
        ("volumeattachments", "VolumeAttachment"),
        ("resourceclaims", "ResourceClaim"),
        ("resourceslices", "ResourceSlice"),
        ("deviceclasses", "DeviceClass"),
    ];
    KINDS.iter().find(|(of, _)| *of == plural).map(|(_, kind)| *kind)
}

fn list(store: &Store, path: &str, plural: &str, namespace: Option<&str>, query: &Pairs) -> (u16, Value) {
    // One that is always there, and belongs to nobody.
    let class = json!({ "metadata": { "name": "std", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } }, "provisioner": "std" });
    let built_in = Some(&class).filter(|_| plural == "storageclasses");
    let all: Vec<&Value> = store.of(plural, namespace).filter(|(_, o)| selected(&o.value, query)).map(|(_, o)| &o.value).chain(built_in).collect();
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
    let kind = kind_of(plural).map_or_else(|| "List".to_owned(), |kind| format!("{kind}List"));
    let metadata = json!({ "resourceVersion": store.version.to_string(), "continue": next });
    (200, json!({ "apiVersion": api_version(path), "kind": kind, "metadata": metadata, "items": page }))
}

fn bookmark(kind: &str, api: &str, version: u64) -> Value {
    json!({ "type": "BOOKMARK", "object": { "kind": kind, "apiVersion": api, "metadata": { "resourceVersion": version.to_string() } } })
}

/// What a watch with `sendInitialEvents` begins with: all that there is, and a bookmark that says so.
fn initial(store: &Store, path: &str, plural: &str, namespace: Option<&str>, query: &Pairs) -> String {
    let mut lines = String::new();
    for (_, object) in store.of(plural, namespace).filter(|(_, o)| selected(&o.value, query)) {
        lines.push_str(&format!("{}\n", json!({ "type": "ADDED", "object": object.value })));
    }
    let mut end = bookmark(kind_of(plural).unwrap_or("Any"), &api_version(path), store.version);
    end["object"]["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    lines.push_str(&format!("{end}\n"));
    lines
}

/// Lines until somebody cuts the connection.
fn watch(server: &ApiServer, path: &str, query: &Pairs) -> Response {
    let Some((plural, namespace, ..)) = place(path) else { return told(404, &status(404, "no such resource")) };
    let from: u64 = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
    let (broken, version, oldest) = {
        let store = server.lock();
        (store.broken, store.version, store.oldest)
    };
    if from < oldest {
        return told(410, &status(410, "too old resource version"));
    }
    let (first, from) = if query.get("sendInitialEvents").is_some_and(|s| s == "true") {
        let store = server.lock();
        (Some(initial(&store, path, &plural, namespace.as_deref(), query)), store.version)
    } else {
        (None, from)
    };
    let names = (kind_of(&plural).unwrap_or("Any"), api_version(path));
    let within = move |object: &Value| namespace.as_ref().is_none_or(|n| object["metadata"]["namespace"] == n.as_str());
    let asked = std::sync::Arc::new((query.clone(), plural, within));
    let state = (server.clone(), server.changed.subscribe(), from, version.max(from), Instant::now());
    let lines = stream::unfold(state, move |(server, mut changed, mut at, mut marked, mut said)| {
        let (asked, (kind, api)) = (asked.clone(), names.clone());
        async move {
            let (query, plural, within) = &*asked;
            loop {
                changed.mark_unchanged();
                let (mut lines, ended, bookmarks) = {
                    let store = server.lock();
                    let mut lines = String::new();
                    for change in store.since(at) {
                        at = change.version.max(at);
                        if change.plural == *plural && within(&change.object) && selected(&change.object, query) {
                            lines.push_str(&format!("{}\n", json!({ "type": change.kind, "object": change.object })));
                        }
                    }
                    (lines, store.broken != broken, store.bookmarks)
                };
                if ended {
                    return None;
                }
                let owed = lines.is_empty() && at > marked && bookmarks;
                if owed && said.elapsed() >= BETWEEN {
                    lines = format!("{}\n", bookmark(kind, &api, at));
                }
                if !lines.is_empty() {
                    (marked, said) = (at, Instant::now());
                    return Some((Ok::<_, std::io::Error>(Bytes::from(lines)), (server, changed, at, marked, said)));
                }
                let more = changed.changed();
                let gone = if owed { tokio::time::timeout(BETWEEN, more).await.is_ok_and(|r| r.is_err()) } else { more.await.is_err() };
                if gone {
                    return None;
                }
            }
        }
    });
    let first = stream::iter(first.map(|lines| Ok::<_, std::io::Error>(Bytes::from(lines))));
    Response::new(Body::from_stream(first.chain(lines)))
}
