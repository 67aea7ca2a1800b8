//! What this server can do and what its resources are made of: ServiceProviderConfig, ResourceTypes, Schemas (RFC 7643
//! sections 5 to 7).

use gantry_kernel::Name;
use serde_json::{Value, json};

use super::{LIST, bulk};
use crate::app::scim::{MOST_ON_A_PAGE, ScimError, groups, users};

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
    vec![one("User", users::SCHEMA, "A member of the organisation"), one("Group", groups::SCHEMA, "A team of the organisation")]
}

fn schemas(base: &str) -> Vec<Value> {
    let attribute = |name: &str, kind: &str, mutability: &str, more: Value| {
        let mut one = json!({
            "name": name, "type": kind, "multiValued": false, "required": false, "caseExact": false, "mutability": mutability,
            "returned": "default", "uniqueness": "none",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            one[key] = value.clone();
        }
        one
    };
    let text = |name: &str, more: Value| attribute(name, "string", "readWrite", more);
    let reference = |parts: Vec<Value>| json!({ "multiValued": true, "subAttributes": parts });
    let schema = |id: &str, name: &str, attributes: Vec<Value>| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"], "id": id, "name": name, "attributes": attributes,
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{id}") },
        })
    };
    let user = vec![
        text("userName", json!({ "required": true, "uniqueness": "server" })),
        text("displayName", json!({})),
        attribute(
            "name",
            "complex",
            "readWrite",
            json!({ "subAttributes": [text("formatted", json!({})), text("givenName", json!({ "returned": "never" })), text("familyName", json!({ "returned": "never" }))] }),
        ),
        attribute(
            "emails",
            "complex",
            "readWrite",
            reference(vec![text("value", json!({ "uniqueness": "server" })), text("type", json!({})), attribute("primary", "boolean", "readWrite", json!({}))]),
        ),
        attribute("active", "boolean", "readWrite", json!({})),
        text("password", json!({ "mutability": "writeOnly", "returned": "never" })),
        attribute("groups", "complex", "readOnly", reference(vec![text("value", json!({})), text("display", json!({})), text("type", json!({}))])),
    ];
    let group = vec![
        text("displayName", json!({ "required": true })),
        attribute(
            "members",
            "complex",
            "readWrite",
            reference(vec![text("value", json!({ "caseExact": true })), text("type", json!({ "canonicalValues": ["User", "Group"] }))]),
        ),
    ];
    vec![schema(users::SCHEMA, "User", user), schema(groups::SCHEMA, "Group", group)]
}
