//! The events that services publish, as JSON Schemas, and the AsyncAPI document that lists them.

use gantry_contract::{billing, branding, catalog, certificate, cicd, cluster, factor, identity, monitoring, policy, registry, scheduler, upstream};
use serde_json::{Value, json};

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

/// The wire names in a schema of an adjacently tagged enum.
fn kinds(schema: &Value) -> Vec<String> {
    let variants = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    variants.iter().filter_map(|v| v["properties"]["kind"]["const"].as_str().map(str::to_owned)).collect()
}

#[test]
fn golden_event_schemas_are_what_the_services_write() {
    for (service, schemas) in services() {
        compare(&format!("events/{service}.json"), &print(&json!(schemas)));
    }
}

#[test]
fn golden_asyncapi_lists_every_event() {
    let mut channels = serde_json::Map::new();
    let mut operations = serde_json::Map::new();
    for (service, schemas) in services() {
        for kind in schemas.iter().flat_map(kinds) {
            let id = format!("{service}.{kind}");
            channels.insert(
                id.clone(),
                json!({
                    "address": format!("gantry.{service}.{kind}.{{tenant}}"),
                    "parameters": { "tenant": { "description": "The organisation's id, or `-` for events of no organisation." } },
                    "messages": { "event": { "contentType": "application/json", "payload": { "$ref": format!("events/{service}.json") } } },
                }),
            );
            operations.insert(id.clone(), json!({ "action": "receive", "channel": { "$ref": format!("#/channels/{id}") } }));
        }
    }
    assert!(channels.len() > 30, "the wire names are found in the schemas");
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Gantry events",
            "version": "1",
            "description": "CloudEvents 1.0 in binary mode on NATS JetStream; `ce-gantryposition` is the event's place in its service's log.",
        },
        "channels": channels,
        "operations": operations,
    });
    compare("asyncapi.json", &print(&document));
}
