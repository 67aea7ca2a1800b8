//! A stored event of every kind and version decodes for ever: `tests/events/<kind>.<version>.json`.

use std::collections::BTreeSet;

use gantry_contract::cluster::ClusterEvent;
use gantry_contract::kept::ConfigEvent;
use gantry_contract::scheduler::{AppEvent, InstanceEvent, NodeEvent, PlacementEvent, PoolEvent};
use gantry_es::EventData;
use gantry_scheduler::domain::stored;
use gantry_testkit::history::{kinds, samples};
use serde_json::Value;

fn decode(kind: &str, version: u16, data: Value) -> Result<Value, gantry_es::DecodeError> {
    let encoded = match kind.split('.').next().unwrap() {
        AppEvent::AGGREGATE => AppEvent::decode(kind, version, data)?.encode(),
        InstanceEvent::AGGREGATE => InstanceEvent::decode(kind, version, data)?.encode(),
        NodeEvent::AGGREGATE => NodeEvent::decode(kind, version, data)?.encode(),
        PlacementEvent::AGGREGATE => PlacementEvent::decode(kind, version, data)?.encode(),
        PoolEvent::AGGREGATE => PoolEvent::decode(kind, version, data)?.encode(),
        ClusterEvent::AGGREGATE => ClusterEvent::decode(kind, version, data)?.encode(),
        ConfigEvent::AGGREGATE => ConfigEvent::decode(kind, version, data)?.encode(),
        other => panic!("no aggregate {other}"),
    };
    assert_eq!(encoded.kind, kind);
    Ok(encoded.data.value())
}

#[test]
fn every_stored_event_decodes_and_every_kind_has_a_sample() {
    let seen = samples(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/events"), decode);
    let all: BTreeSet<String> = [
        kinds::<AppEvent>(),
        kinds::<InstanceEvent>(),
        kinds::<NodeEvent>(),
        kinds::<PlacementEvent>(),
        kinds::<PoolEvent>(),
        kinds::<ClusterEvent>(),
        kinds::<ConfigEvent>(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(seen, all);
}

/// As models were stored before volumes, services and checks had more to say.
#[test]
fn a_model_of_the_first_revisions_is_still_a_model() {
    let event: Value = serde_json::from_slice(include_bytes!("../events/app.revised.1.json")).unwrap();
    let model = stored::read(&event["model"]).expect("an outline").outline;
    let web = model.workloads.values().next().expect("its workload");
    assert_eq!((web.replicas, web.probes.len(), web.placement.rules.len()), (2, 1, 1));
    assert!(model.volumes.contains_key("data"), "a set of names became volumes");
}
