//! Merges the services' OpenAPI documents into one. Pure: JSON in, JSON out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// One service's document, or `None` when the service did not answer.
pub struct Part<'a> {
    pub service: &'a str,
    pub document: Option<&'a Value>,
}

/// A schema two services describe differently is kept once per service, under `<service>.<name>`; references follow.
pub fn merge(version: &str, server: &str, parts: &[Part<'_>]) -> Value {
    let mut paths = Map::new();
    let mut components: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = Vec::new();
    let mut missing = Vec::new();
    for part in parts {
        let Some(document) = part.document else {
            missing.push(json!(part.service));
            continue;
        };
        tags.push(json!({ "name": part.service, "description": document["info"]["description"].as_str().unwrap_or("") }));
        let mut document = document.clone();
        for (from, to) in clashes(&document, &components, part.service) {
            rewrite(&mut document, &from, &to);
        }
        add_components(&document, &mut components, part.service);
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            let entry = paths.entry(path.clone()).or_insert_with(|| json!({}));
            for (method, operation) in item.as_object().into_iter().flatten() {
                entry[method] = tagged(operation, part.service);
            }
        }
    }
    let mut whole = json!({
        "openapi": "3.1.0",
        "info": { "title": "Gantry", "version": version, "description": "Every public REST endpoint of the suite." },
        "servers": [{ "url": server }],
        "tags": tags,
        "paths": paths,
        "components": components,
    });
    whole["components"]["securitySchemes"]["bearer"] = json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" });
    whole["security"] = json!([{ "bearer": [] }]);
    if !missing.is_empty() {
        whole["x-gantry-missing"] = Value::Array(missing);
    }
    whole
}

/// References that would name another service's component: old and new reference.
fn clashes(document: &Value, known: &BTreeMap<String, Map<String, Value>>, service: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (kind, items) in document["components"].as_object().into_iter().flatten() {
        for (name, item) in items.as_object().into_iter().flatten() {
            if known.get(kind).and_then(|known| known.get(name)).is_some_and(|other| other != item) {
                out.push((format!("#/components/{kind}/{name}"), format!("#/components/{kind}/{service}.{name}")));
            }
        }
    }
    out
}

fn rewrite(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if key == "$ref" && inner == from {
                    *inner = json!(to);
                } else {
                    rewrite(inner, from, to);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| rewrite(inner, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn add_components(document: &Value, known: &mut BTreeMap<String, Map<String, Value>>, service: &str) {
    for (kind, items) in document["components"].as_object().into_iter().flatten() {
        let room = known.entry(kind.clone()).or_default();
        for (name, item) in items.as_object().into_iter().flatten() {
            match room.get(name) {
                Some(other) if other == item => {}
                Some(_) => {
                    room.insert(format!("{service}.{name}"), item.clone());
                }
                None => {
                    room.insert(name.clone(), item.clone());
                }
            }
        }
    }
}

fn tagged(operation: &Value, service: &str) -> Value {
    let mut operation = operation.clone();
    if operation.is_object() {
        operation["tags"] = json!([service]);
        if let Some(id) = operation["operationId"].as_str() {
            operation["operationId"] = json!(format!("{service}.{id}"));
        }
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str, schema: Value) -> Value {
        json!({
            "openapi": "3.1.0", "info": { "title": "x", "version": "1" },
            "paths": { path: { "get": { "operationId": "list", "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Item" } } } } } } } },
            "components": { "schemas": { "Item": schema } },
        })
    }

    #[test]
    fn schemas_that_differ_keep_their_own_meaning() {
        let (a, b) = (document("/a", json!({ "type": "string" })), document("/b", json!({ "type": "integer" })));
        let whole = merge("1", "https://x", &[Part { service: "one", document: Some(&a) }, Part { service: "two", document: Some(&b) }]);
        let reference = |path: &str| whole["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].clone();
        assert_eq!(reference("/a"), "#/components/schemas/Item");
        assert_eq!(reference("/b"), "#/components/schemas/two.Item");
        assert_eq!(whole["components"]["schemas"]["two.Item"]["type"], "integer");
        assert_eq!(whole["paths"]["/b"]["get"]["operationId"], "two.list");
    }

    #[test]
    fn equal_schemas_are_kept_once_and_an_absent_service_is_named() {
        let a = document("/a", json!({ "type": "string" }));
        let b = document("/b", json!({ "type": "string" }));
        let parts = [Part { service: "one", document: Some(&a) }, Part { service: "two", document: Some(&b) }, Part { service: "three", document: None }];
        let whole = merge("1", "https://x", &parts);
        assert_eq!(whole["components"]["schemas"].as_object().map(Map::len), Some(1));
        assert_eq!(whole["x-gantry-missing"], json!(["three"]));
        assert_eq!(whole["tags"].as_array().map(Vec::len), Some(2));
    }
}
