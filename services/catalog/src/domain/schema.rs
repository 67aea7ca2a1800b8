//! Parameters of an offering: the part of JSON Schema (2020-12) that describes flat objects. Whatever is written in a schema is
//! checked, because keywords outside this part are refused when the offering is read.

use std::collections::BTreeMap;

use gantry_kernel::FieldFault;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Texts longer than this are no parameters.
const LONGEST: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    #[serde(rename = "type")]
    kind: ObjectType,
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    required: Vec<String>,
    /// Always false; written out so that forms made from the schema know.
    #[serde(rename = "additionalProperties", default)]
    additional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ObjectType {
    Object,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Integer,
    Boolean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// An image's name (OCI distribution: host, path, tag or digest).
    Image,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Property {
    #[serde(rename = "type")]
    kind: Type,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    #[serde(rename = "enum", default, skip_serializing_if = "Option::is_none")]
    choices: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maximum: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
}

impl Schema {
    /// The parameters with defaults filled in.
    ///
    /// # Errors
    /// Every fault, with its field.
    pub fn check(&self, given: &Map<String, Value>) -> Result<Map<String, Value>, Vec<FieldFault>> {
        let mut faults = Vec::new();
        let mut fault = |name: &str, detail: String| faults.push(FieldFault { field: format!("parameters.{name}"), detail });
        let mut out = Map::new();
        for name in given.keys().filter(|n| !self.properties.contains_key(*n)) {
            let known: Vec<_> = self.properties.keys().map(String::as_str).collect();
            fault(name, format!("is no parameter of this offering; there are: {}", known.join(", ")));
        }
        for (name, property) in &self.properties {
            match given.get(name).or(property.default.as_ref()) {
                Some(value) => match property.check(value) {
                    Ok(()) => {
                        out.insert(name.clone(), value.clone());
                    }
                    Err(detail) => fault(name, detail),
                },
                None if self.required.contains(name) => fault(name, "is needed".into()),
                None => {}
            }
        }
        if faults.is_empty() { Ok(out) } else { Err(faults) }
    }
}

impl Property {
    fn check(&self, value: &Value) -> Result<(), String> {
        match (self.kind, value) {
            (Type::String, Value::String(text)) => {
                if text.len() > LONGEST || text.chars().any(char::is_control) {
                    return Err(format!("must be a text of at most {LONGEST} printable characters"));
                }
                if self.format == Some(Format::Image) && !is_image(text) {
                    return Err("must be an image such as registry.example/acme/shop/redis:7".into());
                }
            }
            (Type::Integer, Value::Number(number)) => {
                let number = number.as_i64().ok_or("must be a whole number")?;
                let (low, high) = (self.minimum.unwrap_or(i64::MIN), self.maximum.unwrap_or(i64::MAX));
                if !(low..=high).contains(&number) {
                    return Err(format!("must be {low} to {high}"));
                }
            }
            (Type::Boolean, Value::Bool(_)) => {}
            (kind, _) => return Err(format!("must be a{} {}", if kind == Type::Integer { "n" } else { "" }, format!("{kind:?}").to_lowercase())),
        }
        match &self.choices {
            Some(choices) if !choices.contains(value) => Err(format!("must be one of {}", Value::from(choices.clone()))),
            _ => Ok(()),
        }
    }
}

fn is_image(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | ':' | '_' | '@' | '-');
    (1..=400).contains(&text.len()) && text.chars().all(fits) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> Schema {
        let text = json!({"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "image": {"type": "string", "format": "image"},
            "fast": {"type": "boolean"},
        }});
        serde_json::from_value(text).unwrap()
    }

    fn check(value: Value) -> Result<Map<String, Value>, Vec<String>> {
        let Value::Object(map) = value else { panic!("an object") };
        schema().check(&map).map_err(|faults| faults.into_iter().map(|f| f.field).collect())
    }

    #[test]
    fn defaults_are_filled_in_and_every_fault_is_named() {
        assert_eq!(Value::Object(check(json!({"size": 3})).unwrap()), json!({"size": 3, "mode": "a"}));
        assert_eq!(check(json!({})).unwrap_err(), ["parameters.size"]);
        assert_eq!(
            check(json!({"size": 10, "mode": "c", "x": 1, "fast": 1})).unwrap_err(),
            ["parameters.x", "parameters.fast", "parameters.mode", "parameters.size"]
        );
        for bad in ["", "a b", "$(reboot)", "a\"b", "-x", "a\nb"] {
            assert_eq!(check(json!({"size": 1, "image": bad})).unwrap_err(), ["parameters.image"], "{bad}");
        }
        assert!(check(json!({"size": 1, "image": "localhost:7443/acme/shop/redis@sha256:0a"})).is_ok());
    }

    #[test]
    fn a_keyword_that_would_not_be_checked_is_refused() {
        let text = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}});
        assert!(serde_json::from_value::<Schema>(text).is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_image_has_no_character_that_a_shell_or_yaml_would_read(text in ".{0,40}") {
            if is_image(&text) {
                let dangerous = text.contains(|c: char| c.is_whitespace() || "$`\"'\\{}[]&|;<>()#!*?".contains(c));
                prop_assert!(!dangerous);
            }
        }
    }
}
