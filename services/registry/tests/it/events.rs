//! History is an API: a stored event of every kind and version must decode for ever.

use std::collections::BTreeSet;

use gantry_contract::registry::RepositoryEvent;
use gantry_contract::registry::settings::SettingsEvent;
use gantry_es::EventData;
use serde_json::Value;

#[test]
fn every_stored_event_still_decodes_to_the_same() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events");
    let mut kinds = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let stored: Value = serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let kind = stored["kind"].as_str().unwrap();
        let version = stored["version"].as_u64().unwrap() as u16;
        let again = match kind.split_once('.').unwrap().0 {
            "settings" => SettingsEvent::decode(kind, version, stored["data"].clone()).unwrap().encode(),
            _ => RepositoryEvent::decode(kind, version, stored["data"].clone()).unwrap().encode(),
        };
        assert_eq!(again.kind, kind);
        if version == again.kind_version {
            assert_eq!(again.data.value(), stored["data"]);
        }
        kinds.insert(kind.to_owned());
    }
    let all = [
        "repository.manifest-deleted",
        "repository.manifest-pushed",
        "repository.scanned",
        "repository.tag-deleted",
        "repository.tag-moved",
        "settings.changed",
    ];
    assert!(kinds.iter().map(String::as_str).eq(all), "{kinds:?}");
}
