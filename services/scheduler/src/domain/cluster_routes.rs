//! What a cluster's gateway says of a route that joins it. A route that is refused is an object like every other: it is there as
//! wanted, and nothing comes through it.

use serde_json::Value;

/// Why a gateway does not take an HTTPRoute or cannot send to what is behind it, by its conditions `Accepted` and `ResolvedRefs`
/// (gateway-api.sigs.k8s.io/reference/spec, RouteParentStatus). What is said of an older state of the route counts for nothing.
pub fn refused(route: &Value) -> Option<String> {
    let generation = route["metadata"]["generation"].as_u64().unwrap_or(0);
    let parents = route["status"]["parents"].as_array().into_iter().flatten();
    let said = parents.flat_map(|parent| parent["conditions"].as_array().into_iter().flatten().map(move |condition| (parent, condition)));
    let (parent, condition) = said
        .filter(|(_, c)| c["observedGeneration"].as_u64().is_none_or(|of| of >= generation))
        .find(|(_, c)| (c["type"] == "Accepted" || c["type"] == "ResolvedRefs") && c["status"] == "False")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let gateway = [text(&parent["parentRef"]["namespace"]), text(&parent["parentRef"]["name"])].join("/");
    let (name, reason) = (text(&route["metadata"]["name"]), text(&condition["reason"]));
    Some(format!("the gateway {} does not serve HTTPRoute/{name}: {reason}: {}", gateway.trim_start_matches('/'), text(&condition["message"])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_that_its_gateway_refuses_is_told_with_the_reason() {
        let route = |generation: u64, kind: &str, status: &str| {
            json!({"metadata": {"name": "shop-web-0-0", "generation": 2}, "status": {"parents": [{
                "parentRef": {"namespace": "infra", "name": "public"},
                "conditions": [{"type": kind, "status": status, "reason": "NotAllowedByListeners", "message": "no listener takes it", "observedGeneration": generation}],
            }]}})
        };
        let told = refused(&route(2, "Accepted", "False")).unwrap();
        assert_eq!(told, "the gateway infra/public does not serve HTTPRoute/shop-web-0-0: NotAllowedByListeners: no listener takes it");
        assert!(refused(&route(2, "ResolvedRefs", "False")).is_some());
        assert_eq!((refused(&route(1, "Accepted", "False")), refused(&route(2, "Accepted", "True"))), (None, None));
        assert_eq!(refused(&json!({"metadata": {}})), None, "nobody has looked at it yet");
    }
}
