//! History is an API: a stored event of every kind and version decodes for ever. Called by a test of each service that keeps samples,
//! as `tests/events/<kind>.<version>.json`.

use std::collections::BTreeSet;
use std::path::Path;

use gantry_es::DecodeError;
use schemars::JsonSchema;
use serde_json::Value;

/// Has `decode` read every sample (kind, version, data) and give it as it is written today, which has to be the same. The kinds there are.
///
/// # Panics
/// When a sample is not read, or comes back as something else.
pub fn samples(folder: impl AsRef<Path>, decode: impl Fn(&str, u16, Value) -> Result<Value, DecodeError>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the samples' folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".json")).unwrap_or_else(|| panic!("{}: no sample", path.display()));
        let (kind, version) = name.rsplit_once('.').unwrap_or_else(|| panic!("{name}: no version"));
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let data: Value = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let version = version.parse::<u16>().unwrap_or_else(|e| panic!("{name}: {e}"));
        let read = decode(kind, version, data.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(read, data, "{name}");
        seen.insert(kind.to_owned());
    }
    seen
}

/// The kinds that an enum of events knows, by its schema.
///
/// # Panics
/// When it is no such enum.
pub fn kinds<E: JsonSchema>() -> BTreeSet<String> {
    let schema = schemars::schema_for!(E).to_value();
    let variants = schema["oneOf"].as_array().expect("an enum");
    variants.iter().map(|v| v["properties"]["kind"]["const"].as_str().expect("tagged by its kind").to_owned()).collect()
}
