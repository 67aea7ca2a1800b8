//! Settings that a newer program has written, as while replicas are updated one after the other: what of them this program understands. Changes
//! are refused meanwhile. Where what was left out could decide something, its place is in [`Settings::beyond`], and whoever decides by it waits
//! for the newer program.

use std::cell::Cell;

use gantry_contract::registry::settings::{Change, Policy, Retention};
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

use super::Settings;

/// The place of retention's rules in [`Settings::beyond`].
pub const RETENTION: &str = "retention";

/// The place of a policy in [`Settings::beyond`].
pub fn of_policy(name: &str) -> String {
    format!("policies/{name}")
}

/// What a change sets, where something left out of it could decide what is deleted or handed out.
pub(super) fn place(change: &Change) -> Option<String> {
    match change {
        Change::Retention(_) => Some(RETENTION.into()),
        Change::PolicySet(policy) => Some(of_policy(&policy.name)),
        Change::PolicyRemoved(name) => Some(of_policy(name)),
        _ => None,
    }
}

/// Whether something cannot be read only because this program does not know all of it. serde tells it in words only.
pub fn is_newer(error: &Error) -> bool {
    let text = error.to_string();
    ["unknown field `", "unknown variant `"].iter().any(|word| text.starts_with(word))
}

/// Applies a stored change as far as it is understood.
///
/// # Errors
/// It is damaged, or has values that this program does not know.
pub fn apply(settings: &mut Settings, change: &Value) -> Result<(), Error> {
    let part = change["part"].as_str().unwrap_or_default();
    let (change, left_out) = match lenient::<Change>(change.clone()) {
        Ok(read) => read,
        // On a part that this program does not have, nothing that it does depends.
        Err(error) if error.to_string().starts_with(&format!("unknown variant `{part}`,")) => return Ok(()),
        Err(error) => return Err(error),
    };
    settings.apply(&change);
    if left_out {
        settings.beyond.extend(place(&change));
    }
    Ok(())
}

/// A project's settings from the read model, whole: for who writes them back, or acts by all of them.
///
/// # Errors
/// They are damaged, or a newer program has written what this one does not know.
pub fn whole(kept: Value) -> Result<Settings, Error> {
    let known = serde_json::to_value(Settings::default())?;
    if let Some(other) = kept.as_object().and_then(|parts| parts.keys().find(|part| known.get(part.as_str()).is_none())) {
        return Err(Error::custom(format_args!("unknown field `{other}`")));
    }
    serde_json::from_value(kept)
}

/// A project's settings from the read model, as far as they are understood.
///
/// # Errors
/// They are damaged, or have values that this program does not know.
pub fn read(kept: &Value) -> Result<Settings, Error> {
    let (mut settings, _) = lenient::<Settings>(kept.clone())?;
    if is_partial::<Retention>(&kept["retention"]) {
        settings.beyond.insert(RETENTION.into());
    }
    let policies = kept["policies"].as_object().into_iter().flatten();
    settings.beyond.extend(policies.filter(|(_, policy)| is_partial::<Policy>(policy)).map(|(name, _)| of_policy(name)));
    Ok(settings)
}

fn is_partial<T: for<'de> Deserialize<'de>>(value: &Value) -> bool {
    lenient::<T>(value.clone()).is_ok_and(|(_, left_out)| left_out)
}

/// The value without fields that its structs do not have, and whether there were any.
fn lenient<T: for<'de> Deserialize<'de>>(value: Value) -> Result<(T, bool), Error> {
    let left_out = Cell::new(false);
    let read = T::deserialize(Known { value, left_out: &left_out })?;
    Ok((read, left_out.get()))
}

/// JSON in which a struct finds the fields that it knows and no others, also one that refuses others.
struct Known<'s> {
    value: Value,
    left_out: &'s Cell<bool>,
}

impl<'de> Deserializer<'de> for Known<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Self { value, left_out } = self;
        match value {
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(|value| Known { value, left_out }))),
            Value::Object(fields) => visitor.visit_map(MapDeserializer::new(fields.into_iter().map(|(name, value)| (name, Known { value, left_out })))),
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(mut self, _: &'static str, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        if let Value::Object(found) = &mut self.value {
            let before = found.len();
            found.retain(|name, _| fields.contains(&name.as_str()));
            if found.len() < before {
                self.left_out.set(true);
            }
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, name: &'static str, variants: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Known<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gantry_contract::registry::settings::Keep;
    use serde_json::json;

    use super::*;

    fn after(changes: &[Value]) -> Settings {
        let mut settings = Settings::default();
        changes.iter().for_each(|change| apply(&mut settings, change).unwrap());
        settings
    }

    fn policy(more: Value) -> Value {
        let mut policy = json!({ "name": "release", "signed_by": ["*"] });
        policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "part": "policy_set", "value": policy })
    }

    #[test]
    fn what_a_newer_program_has_added_is_left_out_and_the_rest_counts() {
        let rules = json!([{ "repositories": "web", "keep": { "newest": 3 }, "unless": "x" }]);
        let settings = after(&[
            json!({ "part": "quota", "value": 5 }),
            json!({ "part": "retention", "value": { "rules": rules, "every_hours": 24 } }),
            json!({ "part": "upstream_set", "value": { "upstream": { "name": "hub", "endpoint": { "url": "https://r.example", "via": "x" } }, "secret": "abc" } }),
            json!({ "part": "finding_allowed", "value": { "id": "CVE-1", "reason": "x", "until": "2027-01-01T00:00:00Z", "by": "ada" } }),
            json!({ "part": "quarantine", "value": { "days": 3 } }),
        ]);
        assert_eq!(settings.quota_bytes, Some(5));
        assert_eq!((&settings.retention.rules[0].keep, settings.retention.every_hours), (&Keep::Newest(3), Some(24)));
        assert_eq!(settings.upstreams["hub"].upstream.endpoint.url, "https://r.example");
        assert_eq!(settings.allowances["CVE-1"].until.unwrap().year(), 2027);
        assert_eq!(settings.beyond, BTreeSet::from(["retention".to_owned()]), "an image that is to stay may be in what was left out");
    }

    #[test]
    fn what_is_understood_again_is_not_beyond_any_more() {
        let newer = || policy(json!({ "must_have_sbom": true }));
        assert_eq!(after(&[newer()]).beyond, BTreeSet::from(["policies/release".to_owned()]));
        assert_eq!(after(&[newer()]).policies["release"].signed_by, ["*"]);
        assert!(after(&[newer(), policy(json!({}))]).beyond.is_empty());
        assert!(after(&[newer(), json!({ "part": "policy_removed", "value": "release" })]).beyond.is_empty());
    }

    #[test]
    fn what_is_damaged_or_has_unknown_values_is_no_setting() {
        for bad in [policy(json!({ "at": ["build"] })), json!({ "part": "quota", "value": "much" }), json!({}), json!(null)] {
            let error = apply(&mut Settings::default(), &bad).unwrap_err();
            assert_eq!(is_newer(&error), bad["part"] == "policy_set", "{error}");
        }
    }

    #[test]
    fn the_read_model_of_a_newer_program_is_read_as_far_as_it_is_understood() {
        let mut settings = after(&[policy(json!({})), json!({ "part": "quota", "value": 7 })]);
        let mut kept = serde_json::to_value(&settings).unwrap();
        assert_eq!(read(&kept).unwrap(), settings);
        assert_eq!(whole(kept.clone()).unwrap(), settings);
        kept["quarantine"] = json!({ "days": 3 });
        assert!(is_newer(&whole(kept.clone()).unwrap_err()), "written back, it would be lost");
        kept["scanning"]["depth"] = json!(2);
        assert_eq!(read(&kept).unwrap(), settings);
        kept["policies"]["release"]["must_have_sbom"] = json!(true);
        settings.beyond.insert(of_policy("release"));
        assert_eq!(read(&kept).unwrap(), settings);
    }
}
