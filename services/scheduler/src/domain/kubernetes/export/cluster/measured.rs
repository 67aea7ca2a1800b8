//! What autoscalers measure beside pods. An application's routes are objects under names of the platform's own, so a metric of an
//! Ingress or HTTPRoute that its document names is one of the object that stands for it.

use serde_json::{Value, json};

use crate::domain::model::Model;

/// Metrics of routes are those of the route that leads to what is scaled: to a service of the name that the document says, or
/// else to the first of its services. What leads nowhere here keeps its name: it is an object of others.
pub(super) fn name_routes(out: &mut [Value], model: &Model) {
    let routes: Vec<Route> = out.iter().filter_map(Route::of).collect();
    for autoscaler in out.iter_mut().filter(|o| o["kind"] == "HorizontalPodAutoscaler") {
        let scaled = autoscaler["spec"]["scaleTargetRef"]["name"].as_str().unwrap_or_default().to_owned();
        let serves = |route: &&Route| model.services.iter().any(|s| s.name.as_str() == route.behind && s.workload.as_str() == scaled);
        for metric in autoscaler["spec"]["metrics"].as_array_mut().into_iter().flatten() {
            let Some(described) = metric.pointer_mut("/object/describedObject") else { continue };
            let Some(name) = described["name"].as_str().filter(|_| described["kind"] == "Ingress" || described["kind"] == "HTTPRoute") else { continue };
            let of: Vec<&Route> = routes.iter().filter(serves).collect();
            let Some(route) = of.iter().find(|r| r.name == name || r.behind == name).or(of.first()) else { continue };
            *described = json!({ "apiVersion": route.api, "kind": route.kind, "name": route.name });
        }
    }
}

/// An object that leads to a service.
struct Route {
    api: Value,
    kind: Value,
    name: String,
    behind: String,
}

impl Route {
    fn of(object: &Value) -> Option<Self> {
        let rule = &object["spec"]["rules"][0];
        let behind = match object["kind"].as_str()? {
            "Ingress" => &rule["http"]["paths"][0]["backend"]["service"]["name"],
            "HTTPRoute" => &rule["backendRefs"][0]["name"],
            _ => return None,
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self { api: object["apiVersion"].clone(), kind: object["kind"].clone(), name: text(&object["metadata"]["name"])?, behind: text(behind)? })
    }
}
