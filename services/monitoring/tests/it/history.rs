//! A stored event of every kind and version decodes for ever: `tests/events/<kind>.<version>.json`.

use gantry_contract::monitoring::AlertRuleEvent;
use gantry_es::EventData;
use gantry_testkit::history::{kinds, samples};
use serde_json::Value;

fn decode(kind: &str, version: u16, data: Value) -> Result<Value, gantry_es::DecodeError> {
    let encoded = AlertRuleEvent::decode(kind, version, data)?.encode();
    assert_eq!(encoded.kind, kind);
    Ok(encoded.data.value())
}

#[test]
fn every_stored_event_decodes_and_every_kind_has_a_sample() {
    let seen = samples(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/events"), decode);
    assert_eq!(seen, kinds::<AlertRuleEvent>());
}
