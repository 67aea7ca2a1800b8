//! What this server can do and what its resources are made of: ServiceProviderConfig, ResourceTypes, Schemas (RFC 7643
//! sections 5 to 7).

use gantry_kernel::Name;
use serde_json::{Value, json};

use super::{LIST, bulk};
use crate::app::scim::{MOST_ON_A_PAGE, ScimError, groups, users};
use crate::domain::scim::kept::{ADDRESS, COMPANY, ENTERPRISE, MANAGER, NAMES, PHONE, TEXTS};

/// `None`: not one of these.
pub fn fixed(issuer: &str, org: &Name, kind: &str, id: &str) -> Option<Result<Value, ScimError>> {
    let base = format!("{issuer}/scim/v2/orgs/{org}");
    let found = match kind {
        "ServiceProviderConfig" => return Some(Ok(config(&base))),
        "ResourceTypes" => types(&base),
        "Schemas" => schemas(&base),
        _ => return None,
    };
    if id.is_empty() {
        return Some(Ok(json!({ "schemas": [LIST], "totalResults": found.len(), "startIndex": 1, "itemsPerPage": found.len(), "Resources": found })));
    }
    let hit = found.into_iter().find(|one| one["id"].as_str() == Some(id));
    Some(hit.ok_or_else(|| ScimError::missing("resource", id)))
}

fn config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": true, "maxOperations": bulk::MOST, "maxPayloadSize": 1 << 20 },
        "filter": { "supported": true, "maxResults": MOST_ON_A_PAGE },
        "changePassword": { "supported": true },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Provisioning token", "primary": true,
            "description": "A token of the organisation: POST /api/v1/orgs/{org}/scim-tokens",
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    })
}

fn types(base: &str) -> Vec<Value> {
    let one = |name: &str, schema: &str, description: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"], "id": name, "name": name, "endpoint": format!("/{name}s"),
            "description": description, "schema": schema,
            "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}") },
        })
    };
    let mut user = one("User", users::SCHEMA, "A member of the organisation");
    user["schemaExtensions"] = json!([{ "schema": ENTERPRISE, "required": false }]);
    vec![user, one("Group", groups::SCHEMA, "A team of the organisation")]
}

fn schemas(base: &str) -> Vec<Value> {
    let schema = |id: &str, name: &str, attributes: Vec<Value>| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"], "id": id, "name": name, "description": name, "attributes": attributes,
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{id}") },
        })
    };
    vec![schema(users::SCHEMA, "User", user()), schema(groups::SCHEMA, "Group", group()), schema(ENTERPRISE, "Enterprise User", company())]
}

/// `more`: what differs from an attribute of one value that is optional and not unique (RFC 7643 section 7).
fn attribute(name: &str, kind: &str, mutability: &str, description: &str, more: Value) -> Value {
    let mut one = json!({
        "name": name, "type": kind, "multiValued": false, "description": description, "required": false, "caseExact": false,
        "mutability": mutability, "returned": "default", "uniqueness": "none",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        one[key] = value.clone();
    }
    one
}

fn text(name: &str, description: &str) -> Value {
    attribute(name, "string", "readWrite", description, Value::Null)
}

fn texts(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| text(name, "Kept as the directory says it")).collect()
}

/// Elements with these parts.
fn many(name: &str, mutability: &str, description: &str, parts: Vec<Value>) -> Value {
    attribute(name, "complex", mutability, description, json!({ "multiValued": true, "subAttributes": parts }))
}

/// Where a resource is found.
fn reference(kinds: &[&str]) -> Value {
    attribute("$ref", "reference", "readOnly", "Its address", json!({ "caseExact": true, "referenceTypes": kinds }))
}

fn user() -> Vec<Value> {
    let primary = || attribute("primary", "boolean", "readWrite", "Of several the one that counts", Value::Null);
    let unique = json!({ "required": true, "uniqueness": "server" });
    let formatted = text("formatted", "The display name, if the directory says nothing else");
    let name = [vec![formatted], texts(&NAMES)].concat();
    let email = vec![attribute("value", "string", "readWrite", "The address", json!({ "uniqueness": "server" })), text("type", "`work`"), primary()];
    let secret = json!({ "returned": "never", "caseExact": true });
    let team = |name: &str, description: &str| attribute(name, "string", "readOnly", description, Value::Null);
    let teams = vec![team("value", "The id of the group"), team("display", "Its name here"), team("type", "`direct`"), reference(&["Group"])];
    let own = vec![
        attribute("userName", "string", "readWrite", "What the directory calls the person", unique),
        text("displayName", "The name that people are shown"),
        attribute("name", "complex", "readWrite", "The parts of the name", json!({ "subAttributes": name })),
        many("emails", "readWrite", "One address is kept", email),
        attribute("active", "boolean", "readWrite", "Whether the person may sign in", Value::Null),
        attribute("password", "string", "writeOnly", "The password to sign in with", secret),
        many("groups", "readOnly", "The teams of the person", teams),
        many("phoneNumbers", "readWrite", "Kept as the directory says it", [texts(&PHONE), vec![primary()]].concat()),
        many("addresses", "readWrite", "Kept as the directory says it", [texts(&ADDRESS), vec![primary()]].concat()),
    ];
    [own, texts(&TEXTS)].concat()
}

fn group() -> Vec<Value> {
    let part = |name: &str, description: &str, more: Value| attribute(name, "string", "immutable", description, more);
    let members = vec![
        part("value", "The id of a user or of a group", json!({ "caseExact": true })),
        part("type", "What it is", json!({ "canonicalValues": ["User", "Group"] })),
        attribute("display", "string", "readOnly", "The name of a group", Value::Null),
        reference(&["User", "Group"]),
    ];
    let shown = attribute("displayName", "string", "readWrite", "The name that people are shown", json!({ "required": true, "uniqueness": "server" }));
    vec![shown, many("members", "readWrite", "Who is in the team, and the teams below it", members)]
}

fn company() -> Vec<Value> {
    let manager = attribute("manager", "complex", "readWrite", "Kept as the directory says it", json!({ "subAttributes": texts(&MANAGER) }));
    [texts(&COMPANY), vec![manager]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_that_is_kept_stands_in_the_schemas_with_all_that_a_client_asks_of_it() {
        let all = schemas("https://id.example/scim/v2/orgs/acme");
        assert_eq!(all.iter().map(|s| s["id"].as_str().unwrap()).collect::<Vec<_>>(), [users::SCHEMA, groups::SCHEMA, ENTERPRISE]);
        let names = |schema: &Value| schema["attributes"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert!(TEXTS.iter().all(|kept| names(&all[0]).iter().any(|name| name == kept)));
        assert!(COMPANY.iter().all(|kept| names(&all[2]).iter().any(|name| name == kept)));
        let attributes = all.iter().flat_map(|s| s["attributes"].as_array().unwrap());
        for one in attributes.flat_map(|a| std::iter::once(a).chain(a["subAttributes"].as_array().into_iter().flatten())) {
            for part in ["type", "multiValued", "description", "required", "mutability", "returned", "uniqueness"] {
                assert!(!one[part].is_null(), "{part}: {one}");
            }
        }
        assert_eq!(types("x")[0]["schemaExtensions"][0]["schema"], ENTERPRISE);
    }
}
