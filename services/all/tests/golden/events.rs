//! The events that services publish, as one JSON Schema for each service, and the AsyncAPI document that lists them.

use gantry_contract::{
    ProjectionEvent, billing, branding, catalog, certificate, cicd, cluster, factor, identity, monitoring, policy, registry, scheduler, upstream,
};
use serde_json::{Map, Value, json};

use crate::compare::compare;

fn schema<T: schemars::JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

fn services() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("billing", vec![schema::<billing::QuotaEvent>(), schema::<billing::InvoiceEvent>(), schema::<billing::PricePlanEvent>()]),
        ("catalog", vec![schema::<catalog::ServiceInstanceEvent>()]),
        ("cicd", vec![schema::<cicd::SourceEvent>(), schema::<cicd::RunEvent>()]),
        (
            "identity",
            vec![
                schema::<identity::UserEvent>(),
                schema::<identity::OrgEvent>(),
                schema::<identity::BindingEvent>(),
                schema::<identity::RoleEvent>(),
                schema::<identity::TeamEvent>(),
                schema::<identity::MembershipEvent>(),
                schema::<identity::RobotEvent>(),
                schema::<identity::ClientEvent>(),
                schema::<factor::FactorEvent>(),
                schema::<policy::SecurityPolicyEvent>(),
                schema::<branding::BrandingEvent>(),
                schema::<certificate::CertificateEvent>(),
                schema::<certificate::AuthorityEvent>(),
                schema::<upstream::UpstreamEvent>(),
                schema::<upstream::LinkEvent>(),
            ],
        ),
        ("monitoring", vec![schema::<monitoring::AlertRuleEvent>()]),
        ("registry", vec![schema::<registry::RepositoryEvent>(), schema::<registry::settings::SettingsEvent>()]),
        (
            "scheduler",
            vec![
                schema::<scheduler::AppEvent>(),
                schema::<scheduler::InstanceEvent>(),
                schema::<scheduler::NodeEvent>(),
                schema::<scheduler::PlacementEvent>(),
                schema::<scheduler::PoolEvent>(),
                schema::<cluster::ClusterEvent>(),
                schema::<gantry_contract::kept::ConfigEvent>(),
            ],
        ),
    ]
}

fn print(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON prints") + "\n"
}

/// The wire names in a schema of an adjacently tagged enum, with what the event says under each.
fn kinds(schema: &Value) -> Vec<(String, Value)> {
    let variants = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    variants.iter().filter_map(|v| Some((v["properties"]["kind"]["const"].as_str()?.to_owned(), v["properties"]["data"].clone()))).collect()
}

/// One definition of each name: two types of a service that are called the same must be the same.
fn define(definitions: &mut Map<String, Value>, name: &str, value: Value) {
    if let Some(there) = definitions.get(name) {
        assert_eq!(*there, value, "two different types are called {name}");
    } else {
        definitions.insert(name.to_owned(), value);
    }
}

/// A schema of `{kind, data}` for any event of the service. What messages carry, the data alone, is defined under the kind.
fn document(service: &str, schemas: Vec<Value>) -> Value {
    let (mut all, mut definitions) = (Vec::new(), Map::new());
    for mut schema in schemas {
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            define(&mut definitions, name, definition.clone());
        }
        for (kind, data) in kinds(&schema) {
            define(&mut definitions, &kind, data);
        }
        for variant in schema["oneOf"].as_array_mut().expect("an enum of events") {
            let data = format!("#/$defs/{}", variant["properties"]["kind"]["const"].as_str().expect("tagged by its kind"));
            variant["properties"]["data"] = json!({ "$ref": data });
        }
        let title = schema["title"].as_str().expect("an enum has a name");
        define(&mut definitions, title, json!({ "description": schema["description"], "oneOf": schema["oneOf"] }));
        all.push(json!({ "$ref": format!("#/$defs/{title}") }));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Events of {service}"),
        "description": format!(
            "`kind` is what follows `gantry.{service}.` in the header ce-type, `data` is the message's body, whose schema by itself is `#/$defs/<kind>`."
        ),
        "oneOf": all,
        "$defs": definitions,
    })
}

/// What every service writes, and what it alone does.
fn published() -> impl Iterator<Item = (&'static str, Vec<Value>)> {
    services().into_iter().map(|(service, mut own)| {
        own.push(schema::<ProjectionEvent>());
        (service, own)
    })
}

/// Every enum of events that the contract has, by its source text: one that is missing in the list above would be published all the same.
#[test]
fn no_enum_of_events_is_forgotten() {
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../libs/contract/src")];
    let mut written = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source is text");
            written.extend(text.lines().filter_map(|line| Some(line.strip_prefix("impl EventData for ")?.trim_end_matches(" {").to_owned())));
        }
    }
    let listed: Vec<Value> = services().into_iter().flat_map(|(_, schemas)| schemas).map(|schema| schema["title"].clone()).collect();
    assert!(written.len() > 25, "the sources are read: {written:?}");
    let missing: Vec<&String> = written.iter().filter(|name| !listed.contains(&json!(name))).collect();
    assert!(missing.is_empty(), "published, and in no schema: {missing:?}");
}

#[test]
fn golden_event_schemas_are_what_the_services_write() {
    for (service, schemas) in published() {
        compare(&format!("events/{service}.json"), &print(&document(service, schemas)));
    }
}

/// What `gantry_bus` puts beside an event: CloudEvents 1.0 in binary mode, all values as text.
fn headers() -> Value {
    let always = [
        ("Nats-Msg-Id", "The event's id."),
        ("ce-specversion", "1.0"),
        ("ce-id", "The event's id."),
        ("ce-source", "`/gantry/<service>`"),
        ("ce-type", "`gantry.<service>.<kind>`"),
        ("ce-subject", "The event's stream: `<aggregate>-<id>`."),
        ("ce-time", "When it was written (RFC 3339)."),
        ("content-type", "application/json"),
        ("ce-gantryposition", "Its place in its service's log: 1, 2, 3, ... without gaps."),
        ("ce-gantryversion", "Its place in its stream: 1, 2, 3, ... without gaps."),
        ("ce-gantrykindversion", "The version of its kind."),
        ("ce-gantryactor", "Who did it: `user:<uuid>`, `service:<name>`, `system`, ..."),
    ];
    let sometimes = [
        ("ce-gantrytenant", "The organisation's id."),
        ("ce-gantryfrom", "The caller's address."),
        ("ce-gantrycommand", "The idempotency key."),
        ("ce-traceparent", "The trace it was written in (W3C)."),
    ];
    let properties: Map<String, Value> =
        always.iter().chain(&sometimes).map(|(name, text)| ((*name).to_owned(), json!({ "type": "string", "description": text }))).collect();
    let required: Vec<&str> = always.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

#[test]
fn golden_asyncapi_lists_every_event() {
    let mut channels = Map::new();
    let mut operations = Map::new();
    for (service, schemas) in published() {
        for (kind, _) in schemas.iter().flat_map(kinds) {
            let id = format!("{service}.{kind}");
            channels.insert(
                id.clone(),
                json!({
                    "address": format!("gantry.{service}.{kind}.{{tenant}}"),
                    "parameters": { "tenant": { "description": "The organisation's id, or `-` for events of no organisation." } },
                    "messages": {
                        "event": {
                            "contentType": "application/json",
                            "headers": { "$ref": "#/components/schemas/headers" },
                            "payload": { "$ref": format!("events/{service}.json#/$defs/{kind}") },
                        },
                    },
                }),
            );
            operations.insert(id.clone(), json!({ "action": "send", "channel": { "$ref": format!("#/channels/{id}") } }));
        }
    }
    assert!(channels.len() > 30, "the wire names are found in the schemas");
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Gantry events",
            "version": "1",
            "description": "What Gantry publishes: CloudEvents 1.0 in binary mode on NATS JetStream; `ce-gantryposition` is the event's place in its service's log. \
                            The first word of every address is the installation's `platform.prefix`, `gantry` by default.",
        },
        "channels": channels,
        "operations": operations,
        "components": { "schemas": { "headers": headers() } },
    });
    compare("asyncapi.json", &print(&document));
}
